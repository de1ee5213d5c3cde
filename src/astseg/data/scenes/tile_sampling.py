"""Look up materials' tiles where rays hit surfaces."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from astseg.data.scenes.materials.fields import SIDE
from astseg.data.scenes.materials.tiles import LEVEL_STARTS, NUM_LEVELS, SLOPE_ZERO, SLOPES_PER_UNIT
from astseg.data.scenes.packing import PackedSurfaces

SIDE_AXES = ((1, 2), (0, 2), (0, 1))
"""For the sides that face along x, y and z: the axes along which the tile lies on them."""

PREFERENCES = (1.0, 1.0, 1.2)
"""Weights of the axes in choosing a surface's side. One is larger, so that an octahedron's faces have one side each."""

BLEND_FROM = 0.85
"""A side is blended in from this share of the weight of the main one."""


def sample_sides(
    surfaces: PackedSurfaces,
    row: Int[Tensor, " rays"],
    place: Float[Tensor, "3 rays"],
    normal: Float[Tensor, "3 rays"],
    width: Float[Tensor, " rays"],
) -> tuple[Float[Tensor, "3 rays"], Float[Tensor, "3 rays"]]:
    """Return linear colors, and how steeply the surface rises along each axis of its own.

    The tile lies on each surface as on the sides of a box around it; between two sides both are blended.

    Args:
        surfaces: the materials.
        row: the surfaces' indices; all of them have tiles.
        place: points in tiles.
        normal: unit vectors out of the surfaces, in the same axes.
        width: width of the surface patch of a sample, in tiles; the tile is averaged over it.
    """
    start = surfaces.tile.flatten()[row]
    cosine, sine = surfaces.tile_turn.flatten(1)[:, row]
    lean = torch.stack([part * weight for part, weight in zip(normal.abs(), PREFERENCES, strict=True)])
    share = ((lean / lean.amax(0) - BLEND_FROM) / (1 - BLEND_FROM)).clamp(min=0)
    share = share / (share[0] + share[1] + share[2])
    color, slope = torch.zeros_like(place), torch.zeros_like(place)
    for axis, (across, along) in enumerate(SIDE_AXES):
        some = (share[axis] > 0).nonzero()[:, 0]
        x, y, c, s = place[across, some], place[along, some], cosine[some], sine[some]
        texel = sample(surfaces.texels, start[some], c * x + s * y, c * y - s * x, width[some])
        weight = share[axis, some]
        display = texel[:3] * (1 / 255)
        color[:, some] += display * display * weight
        right, down = (texel[3:] - SLOPE_ZERO) * (weight * (1 / SLOPES_PER_UNIT))
        slope[across, some] += c * right - s * down
        slope[along, some] += s * right + c * down
    return color, slope


def sample(
    texels: Tensor,
    start: Int[Tensor, " rays"],
    x: Float[Tensor, " rays"],
    y: Float[Tensor, " rays"],
    width: Float[Tensor, " rays"],
) -> Float[Tensor, "5 rays"]:
    """Return tiles' values, averaged over a patch of the given width: mixed from the two nearest sizes of each tile.

    Args:
        texels: all tiles, T x 5.
        start: where each ray's tile begins among them.
        x: where in the tile, in its sides; it repeats.
        y: likewise, down.
        width: width of the patch, in sides of the tile.
    """
    mantissa, exponent = torch.frexp((width * SIDE).clamp(1, SIDE))
    level, share = exponent.long() - 1, mantissa * 2 - 1
    fine = _interpolated(texels, start, x, y, level)
    coarse = _interpolated(texels, start, x, y, (level + 1).clamp(max=NUM_LEVELS - 1))
    return fine + (coarse - fine) * share


def _interpolated(texels: Tensor, start: Tensor, x: Tensor, y: Tensor, level: Tensor) -> Tensor:
    """Interpolate between the four nearest texels of one size."""
    side = SIDE >> level
    start = start + torch.tensor(LEVEL_STARTS, device=start.device)[level]
    left, top = (part - torch.floor(part) for part in (x, y))
    left, top = left * side - 0.5, top * side - 0.5
    first_column, first_row = torch.floor(left), torch.floor(top)
    right_of, below = left - first_column, top - first_row
    columns = [(first_column.long() + i) & (side - 1) for i in (0, 1)]
    rows = [start + ((first_row.long() + i) & (side - 1)) * side for i in (0, 1)]
    upper, lower = (_mixed(texels[row + columns[0]], texels[row + columns[1]], right_of) for row in rows)
    return (upper + (lower - upper) * below[:, None]).T


def _mixed(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    first = first.to(share.dtype)
    return first + (second.to(share.dtype) - first) * share[:, None]
