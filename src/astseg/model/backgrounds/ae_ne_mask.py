"""Foreground masks from the background network alone, by AE-NE's rule.

The network predicts its own error, and a pixel is foreground if it differs by more than seven times that. After the
published schedule the prediction is right. After a minute of training it is still many times too large, and almost
nothing is foreground: the measured noise (`noise`) is then a better measure.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from astseg.model.backgrounds.base import BackgroundReconstruction
from astseg.model.resizing import resized


def ae_ne_foreground_mask(
    images: Float[Tensor, "batch 3 height width"],
    reconstruction: BackgroundReconstruction,
    size: tuple[int, int] | None = None,
) -> Bool[Tensor, "batch mask_height mask_width"]:
    """Return the foreground by AE-NE's rule.

    A pixel is foreground if its distance from the background exceeds seven times the error that the network predicts
    there, plus a margin for the background's brightness. Masks with a side of 400 pixels or more are cleaned by a
    closing and an opening.

    Args:
        images: images in [0, 1], as the network saw them.
        reconstruction: the network's output for them.
        size: height and width of the masks, by default the images'. For images reduced for the network, give the
            original size: masks are then enlarged, because an enlarged background would lack fine detail.
    """
    distance = 255 * (images - reconstruction.image).abs().mean(1)
    excess = 3 * F.relu(distance - 7 * 255 * reconstruction.error[:, 0])
    threshold = 96 * reconstruction.image.mean((1, 2, 3))
    beyond = excess - threshold[:, None, None]
    mask = resized(beyond[:, None], size or images.shape[-2:])[:, 0] > 0
    if max(mask.shape[-2:]) < 400:
        return mask
    return torch.stack([_close_and_open(single) for single in mask])


def _close_and_open(mask: Bool[Tensor, "height width"]) -> Bool[Tensor, "height width"]:
    # The mask is continued beyond its border, so that the filters do not erode it there.
    margin = 10  # more than the reach of both filters together
    padded = F.pad(mask[None, None].float(), [margin] * 4, mode="replicate")[0, 0].bool().cpu().numpy()
    closed = ndimage.binary_closing(padded, structure=torch.ones(5, 5).numpy())
    opened = ndimage.binary_opening(closed, structure=torch.ones(7, 7).numpy())
    return torch.from_numpy(opened[margin:-margin, margin:-margin].copy()).to(mask.device)
