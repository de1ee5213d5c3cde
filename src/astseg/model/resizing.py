"""Images at another size."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def resized(
    images: Float[Tensor, "batch channels _ _"], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "batch channels height width"]:
    """Images at another height and width, bilinear with antialiasing; untouched where they have it."""
    if images.shape[-2:] == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", align_corners=False, antialias=True)
