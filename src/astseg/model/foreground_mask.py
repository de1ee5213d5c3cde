"""Which pixels are foreground, told by the background alone: AE-NE's rule."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from astseg.model.background import BackgroundReconstruction
from astseg.model.resizing import resized


def background_foreground_mask(
    images: Float[Tensor, "batch 3 height width"],
    reconstruction: BackgroundReconstruction,
    size: tuple[int, int] | None = None,
) -> Bool[Tensor, "batch mask_height mask_width"]:
    """The pixels that the background network alone takes for foreground (AE-NE).

    A pixel is foreground where it is further from the background than seven times the error that the network
    expects of itself there. Masks of 400 pixels a side and more are cleaned by a closing and an opening.

    Args:
        images: pictures in [0, 1], as the network saw them.
        reconstruction: what it painted.
        size: height and width of the masks, by default the pictures'. Where pictures were made smaller for the network
            it is what they had before: beside themselves, a background made larger would lack all that is fine.
    """
    distance = 255 * (images - reconstruction.image).abs().mean(1)
    excess = 3 * F.relu(distance - 7 * 255 * reconstruction.error[:, 0])
    threshold = 96 * reconstruction.image.mean((1, 2, 3))
    beyond = excess - threshold[:, None, None]
    mask = resized(beyond[:, None], size or images.shape[-2:])[:, 0] > 0
    if max(mask.shape[-2:]) < 400:
        return mask
    cleaned = [_clean(single) for single in mask]
    return torch.stack(cleaned)


def _clean(mask: Bool[Tensor, "height width"]) -> Bool[Tensor, "height width"]:
    # Closed and opened beyond the border as if the picture went on as its edge does, so that edges are kept.
    margin = 10  # more than the two filters reach together
    padded = F.pad(mask[None, None].float(), [margin] * 4, mode="replicate")[0, 0].bool().cpu().numpy()
    closed = ndimage.binary_closing(padded, structure=torch.ones(5, 5).numpy())
    opened = ndimage.binary_opening(closed, structure=torch.ones(7, 7).numpy())
    return torch.from_numpy(opened[margin:-margin, margin:-margin].copy()).to(mask.device)
