"""Tiles: square images of a material that repeat without a seam, in all sizes from 256 to 1."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from astseg.data.scenes.materials.fields import SIDE, Field
from astseg.data.store import Bytes

NUM_LEVELS = SIDE.bit_length()
"""Sizes of a tile: 256, 128, ... 1."""
LEVEL_STARTS = tuple(sum((SIDE >> finer) ** 2 for finer in range(level)) for level in range(NUM_LEVELS + 1))
"""Where each size begins among the texels of all sizes; the last is their number."""

SLOPE_ZERO = 128
SLOPES_PER_UNIT = 64
"""Slopes are kept as bytes: SLOPE_ZERO is level, and this many more a rise of one in one."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A material's colors and slopes."""

    texels: Bytes
    """All sizes one after another, row by row: T x 5, red, green, blue (sRGB) and the slopes to the right and down."""


class TileSource(Protocol):
    """A material that a tile can be made of; equal ones have equal tiles."""

    @property
    def specular(self) -> float:
        """Strength of the highlights."""

    @property
    def gloss(self) -> int:
        """The highlights' exponent is 2 to the power of this."""

    def paint(self) -> Tile:
        """Return the tile."""

    def __hash__(self) -> int:
        """Return a hash, by which a tile is painted once."""


@lru_cache(maxsize=256)
def painted(source: TileSource) -> Tile:
    """Paint a tile, or return it if it has been painted before."""
    return source.paint()


def tile_of(colors: npt.NDArray[np.float64], height: Field | None = None) -> Tile:
    """Make a tile in all sizes.

    Args:
        colors: 256 x 256 x 3, 0 to 1.
        height: 256 x 256, in sides of the tile; None for a level surface.
    """
    slopes = np.zeros((SIDE, SIDE, 2)) if height is None else _slopes(height)
    texels = np.concatenate((colors * 255, slopes * SLOPES_PER_UNIT + SLOPE_ZERO), -1)
    levels = [np.floor(np.clip(texels, 0, 255) + 0.5).astype(np.uint8)]
    while len(levels) < NUM_LEVELS:
        levels.append(_halved(levels[-1]))
    return Tile(np.concatenate([level.reshape(-1, 5) for level in levels]))


def _slopes(height: Field) -> npt.NDArray[np.float64]:
    """Return how steeply the surface rises to the right and down, by differences across two texels."""
    rise = [np.roll(height, -1, axis) - np.roll(height, 1, axis) for axis in (1, 0)]
    return np.stack(rise, -1) * (SIDE / 2)


def _halved(texels: Bytes) -> Bytes:
    """Average squares of four texels: colors as light, whose display gamma is 2, slopes as they are."""
    values = texels.astype(np.float64)
    values[..., :3] *= values[..., :3]
    mean = (values[::2, ::2] + values[::2, 1::2] + values[1::2, ::2] + values[1::2, 1::2]) * 0.25
    mean[..., :3] = np.sqrt(mean[..., :3])
    return np.floor(mean + 0.5).astype(np.uint8)
