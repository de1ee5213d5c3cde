"""Resizing of images."""

from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from astseg.model.layer_owners import layer_owners

MAX_INTERPOLATED_PIXELS = 2**18
"""Pixels of an enlarged map that are interpolated at once; more are done in turns, so that memory stays small."""


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
    """Return the channel that is largest at each pixel once the maps are resized to a size, as by `resized`.

    Of four neighboring cells with the same largest channel, any mean has that too. So pixels are interpolated only
    where these cells differ, and the enlarged maps are never in memory.
    """
    if maps.shape[-2:] == tuple(size):
        return layer_owners(maps, 0)
    maps, down, across = place_between_cells(maps, size)
    owners = layer_owners(maps, 0)
    below = torch.cat((owners[1:], owners[-1:]))
    alike = owners == below
    for each in (owners, below):
        alike[:, :-1] &= each[:, 1:] == owners[:, :-1]
    labels = torch.where(alike, owners, -1)[down.before].index_select(1, across.before)
    between = (labels.flatten() < 0).nonzero().squeeze(1)
    for pixels in torch.split(between, MAX_INTERPOLATED_PIXELS):
        rows, columns = down.at(pixels // size[1]), across.at(pixels % size[1])
        upper, lower = (
            torch.lerp(maps[:, row, columns.before], maps[:, row, columns.after], columns.share)
            for row in (rows.before, rows.after)
        )
        labels.view(-1)[pixels] = layer_owners(upper.lerp(lower, rows.share), 0)
    return labels


class PixelsBetweenCells(NamedTuple):
    """Where the pixels of a row lie that a row of cells is enlarged to."""

    before: Int64[Tensor, "size"]
    """The cell before each pixel's center."""
    after: Int64[Tensor, "size"]
    """The cell behind it; the same at the border."""
    share: Float[Tensor, "size"]
    """The share of the cell behind in their mean."""

    @classmethod
    def of(cls, cells: int, size: int, like: Tensor) -> Self:
        """Return the places of a number of pixels, at least as many as the cells, on the device of a tensor."""
        # In double precision on the CPU, since not every device has it.
        places = ((torch.arange(size, dtype=torch.float64) + 0.5) * (cells / size) - 0.5).clamp(0, cells - 1)
        before = places.long()
        after = (before + 1).clamp(max=cells - 1)
        return cls(before.to(like.device), after.to(like.device), (places - before).to(like))

    def at(self, pixels: Int64[Tensor, "chosen"] | slice) -> Self:
        """Return the places of some of the pixels."""
        return type(self)(*(each[pixels] for each in self))


def place_between_cells(
    maps: Float[Tensor, "channels _ _"], size: tuple[int, int] | torch.Size
) -> tuple[Float[Tensor, "channels rows columns"], PixelsBetweenCells, PixelsBetweenCells]:
    """Return maps that a size enlarges, reduced where they were larger, and where its rows and its columns then lie."""
    maps = resized(maps[None], torch.Size(map(min, maps.shape[-2:], size)))[0]
    down, across = (PixelsBetweenCells.of(*pair, maps) for pair in zip(maps.shape[-2:], size, strict=True))
    return maps, down, across


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
