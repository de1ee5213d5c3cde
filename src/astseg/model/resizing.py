"""Resizing of images."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from astseg.model.layer_owners import layer_owners

STRIP_PIXELS = 2**20
"""The largest strip of rows that is enlarged at once, in pixels."""


def resized(
    images: Float[Tensor, "batch channels _ _"],
    size: tuple[int, int] | torch.Size,
    mode: Literal["bilinear", "bicubic"] = "bilinear",
) -> Float[Tensor, "batch channels height width"]:
    """Return images resized to a height and width with antialiasing; the same tensor if they have it.

    Numbers of 16 bits are computed with as 32: on a CPU, torch resizes no others with antialiasing.
    """
    if images.shape[-2:] == tuple(size):
        return images
    numbers = images.float() if images.element_size() < 4 else images
    found = F.interpolate(numbers, tuple(size), mode=mode, align_corners=False, antialias=True)
    return found.to(images.dtype)


def moved_and_resized(
    maps: Float[Tensor, "batch channels _ _"], size: tuple[int, int] | torch.Size, displacement: float
) -> Float[Tensor, "batch channels height width"]:
    """Return maps resized as by `resized`, after moving each cell's values to the place that they describe.

    Args:
        maps: their cells describe places beside their centers.
        size: height and width.
        displacement: how far to the right of a cell's center, and below it, lies the place that it describes, in cells.
    """
    if not displacement:
        return resized(maps, size)
    # Moved at the larger of both sizes: moving and enlarging are then one interpolation, which blurs only once.
    rows, columns = (max(pair) for pair in zip(maps.shape[-2:], size, strict=True))
    down = _cell_centers(rows, maps) - 2 * displacement / maps.shape[-2]
    across = _cell_centers(columns, maps) - 2 * displacement / maps.shape[-1]
    return resized(_sampled(maps, down, across), size)


def enlarged_argmax(
    maps: Float[Tensor, "channels rows columns"], size: tuple[int, int] | torch.Size
) -> Int64[Tensor, "height width"]:
    """Return the channel that is largest at each pixel once the maps are enlarged to a size, as by `resized`.

    Strip by strip, so that the enlarged maps need never be in memory as a whole.
    """
    height, width = size
    if height * width <= STRIP_PIXELS:
        return layer_owners(resized(maps[None], size))[0]
    across = _cell_centers(width, maps)
    strips = torch.split(_cell_centers(height, maps), max(1, STRIP_PIXELS // width))
    return torch.cat([layer_owners(_sampled(maps[None], down, across))[0] for down in strips])


def _sampled(
    maps: Float[Tensor, "batch channels _ _"], down: Float[Tensor, "height"], across: Float[Tensor, "width"]
) -> Float[Tensor, "batch channels height width"]:
    """Return maps sampled bilinearly at a grid of places, given by its rows and columns: -1 and 1 are the borders."""
    size = (len(down), len(across))
    grid = torch.stack((across.expand(size), down[:, None].expand(size)), -1)
    return F.grid_sample(maps, grid.expand(len(maps), -1, -1, -1), padding_mode="border", align_corners=False)


def _cell_centers(count: int, like: Tensor) -> Float[Tensor, "count"]:
    """Return the centers of a row of cells, where -1 and 1 are the borders of the first and the last."""
    return (2 * torch.arange(count, dtype=like.dtype, device=like.device) + 1) / count - 1
