"""Resizing of images."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def resized(
    images: Float[Tensor, "batch channels _ _"], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "batch channels height width"]:
    """Return images resized to a height and width, bilinear with antialiasing; the same tensor if they have it."""
    if images.shape[-2:] == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", align_corners=False, antialias=True)
