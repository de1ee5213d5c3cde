"""Shades of the background: its colors in less light, which still count as background."""

import torch
from jaxtyping import Float
from torch import Tensor


def nearest_shade(
    images: Float[Tensor, "batch 3 height width"], backgrounds: Float[Tensor, "batch 3 height width"], max_shade: float
) -> Float[Tensor, "batch 3 height width"]:
    """Return the backgrounds, with each pixel darkened to fit the image's best, by least squares over the channels.

    Args:
        images: images in [0, 1].
        backgrounds: their backgrounds.
        max_shade: the largest share of its light that a background may lose, below 1.
    """
    brightness = backgrounds.square().sum(1, keepdim=True).clamp(min=torch.finfo(backgrounds.dtype).eps)
    light = ((images * backgrounds).sum(1, keepdim=True) / brightness).clamp(1 - max_shade, 1.0)
    shaded: Tensor = light * backgrounds
    return shaded
