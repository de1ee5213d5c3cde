"""Random fields on a square tile that repeats without a seam.

A field is an array of 256 x 256 floats, sampled at the texels' centers. Everything is computed by IEEE 754's exactly
rounded operations, one element at a time, so that a field is the same to the bit on every machine.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from astseg.data.scenes.random_source import ULP_53_BITS

Field: TypeAlias = npt.NDArray[np.float64]

SIDE = 256
"""Texels along each side of a tile, a power of 2."""

FIELD_KEY = 0x7E87

CENTERS = (np.arange(SIDE) + 0.5) / SIDE
X: Field = np.broadcast_to(CENTERS, (SIDE, SIDE))
"""Where each texel is from left to right, 0 to 1."""
Y: Field = np.broadcast_to(CENTERS[:, None], (SIDE, SIDE))
"""Where each texel is from top to bottom, 0 to 1."""


@dataclass(frozen=True)
class Cells:
    """A tile divided into cells."""

    number: npt.NDArray[np.int64]
    """Which cell a texel is in, 0 to count - 1."""
    count: int
    center: Field
    """Distance to the cell's own point, in cells."""
    edge: Field
    """About twice the distance to the nearest other cell, in cells: 0 on the border."""


@dataclass(frozen=True)
class Bricks:
    """A tile divided into rows of equal rectangles."""

    number: npt.NDArray[np.int64]
    """Which rectangle a texel is in, 0 to count - 1."""
    count: int
    x: Field
    """Where the texel is in its rectangle, 0 to 1 from left to right."""
    y: Field
    """Likewise from top to bottom."""
    edge: Field
    """Distance to the nearest side, in heights of a row."""


class Fields:
    """A stream of random fields; the same seed gives the same fields in the same order."""

    def __init__(self, seed: int) -> None:
        self._philox = np.random.Philox(key=np.array([FIELD_KEY, seed], np.uint64))

    def values(self, *shape: int) -> Field:
        """Return independent values, 0 to 1."""
        words = self._philox.random_raw(int(np.prod(shape))) >> np.uint64(11)
        return np.asarray(words * ULP_53_BITS).reshape(shape)

    def smooth(self, across: int, down: int, x: Field = X, y: Field = Y) -> Field:
        """Return gradient noise about 0, of `across` x `down` random slopes a tile, at the given places."""
        slope_x, slope_y = self.values(2, down, across) * 2 - 1
        left, top = np.floor(x * across), np.floor(y * down)
        right_of, below = x * across - left, y * down - top
        column, row = left.astype(np.int64), top.astype(np.int64)

        def corner(i: int, j: int) -> Field:
            place = (row + j) % down, (column + i) % across
            return np.asarray(slope_x[place] * (right_of - i) + slope_y[place] * (below - j))

        ease_x, ease_y = ease(right_of), ease(below)
        upper = mixed(corner(0, 0), corner(1, 0), ease_x)
        return mixed(upper, mixed(corner(0, 1), corner(1, 1), ease_x), ease_y)

    def fractal(
        self,
        across: int,
        down: int | None = None,
        octaves: int = 5,
        x: Field = X,
        y: Field = Y,
        weight: float = 0.55,
    ) -> Field:
        """Return noise of several octaves, spread over 0 to 1.

        Args:
            across: random slopes from left to right in the coarsest octave; each further one has twice as many.
            down: likewise from top to bottom; None for the same number.
            octaves: their number, fewer if slopes would be closer than two texels.
            x: where to take the noise.
            y: likewise.
            weight: each octave's weight as a share of the one before.
        """
        down = across if down is None else down
        total, share = self.smooth(across, down, x, y), 1.0
        for octave in range(1, octaves):
            if max(across, down) << octave > SIDE // 2:
                break
            share *= weight
            total = total + share * self.smooth(across << octave, down << octave, x, y)
        return spread(total)

    def cells(self, across: int, jitter: float = 1.0, x: Field = X, y: Field = Y) -> Cells:
        """Divide the tile into the cells (Voronoi, Worley) of one point in each square of an even grid.

        Args:
            across: squares along each side; even, because every other row is moved by half a square.
            jitter: how far the points are from the middles of their squares, 0 to 1.
            x: where to look up the cells.
            y: likewise.
        """
        offset_x, offset_y = (self.values(2, across, across) - 0.5) * jitter + 0.5
        offset_x = offset_x + (np.arange(across) % 2 * 0.5)[:, None]
        column, row = np.floor(x * across), np.floor(y * across)
        first = np.full(x.shape, 9.0)
        second = np.full(x.shape, 9.0)
        number = np.zeros(x.shape, np.int64)
        for j in (-1, 0, 1):
            for i in (-2, -1, 0, 1):
                where_x, where_y = (column + i).astype(np.int64) % across, (row + j).astype(np.int64) % across
                aside = column + i + offset_x[where_y, where_x] - x * across
                ahead = row + j + offset_y[where_y, where_x] - y * across
                distance = np.sqrt(aside * aside + ahead * ahead)
                nearer = distance < first
                second = np.where(nearer, first, np.minimum(second, distance))
                first = np.where(nearer, distance, first)
                number = np.where(nearer, where_y * across + where_x, number)
        return Cells(number, across * across, first, second - first)

    def bricks(self, columns: int, rows: int, shift: float | None = 0.5, x: Field = X, y: Field = Y) -> Bricks:
        """Divide the tile into rows of rectangles.

        Args:
            columns: rectangles in a row.
            rows: number of rows.
            shift: how far each other row is moved, in rectangles; None moves every row at random.
            x: where to look up the rectangles.
            y: likewise.
        """
        down = y * rows
        row = np.floor(down).astype(np.int64) % rows
        moved = self.values(rows) if shift is None else np.arange(rows) % 2 * shift
        along = x * columns + moved[row]
        column = np.floor(along).astype(np.int64) % columns
        inside_x, inside_y = along - np.floor(along), down - np.floor(down)
        length = rows / columns
        edge = np.minimum(np.minimum(inside_x, 1 - inside_x) * length, np.minimum(inside_y, 1 - inside_y))
        return Bricks(row * columns + column, rows * columns, inside_x, inside_y, edge)

    def of_each(self, parts: Cells | Bricks) -> Field:
        """Return a random value, 0 to 1, for each cell or rectangle, at all of its texels."""
        return np.asarray(self.values(parts.count)[parts.number])


def ease(share: Field) -> Field:
    """Return a curve from 0 to 1 that is level at both ends, for a share within them."""
    return share * share * (3 - 2 * share)


def step(value: Field, low: float, high: float) -> Field:
    """Return 0 below `low`, 1 above `high`, and a smooth curve between them."""
    return ease(np.clip((value - low) / (high - low), 0, 1))


def mixed(first: Field, second: Field, share: Field) -> Field:
    """Return the first field with a share of the second, 0 to 1, in its place."""
    return first + (second - first) * share


def spread(value: Field) -> Field:
    """Stretch a field's middle 96 % over 0 to 1, and clip the rest."""
    ordered = np.sort(value, axis=None)
    low, high = ordered[value.size // 50], ordered[-(value.size // 50)]
    return np.asarray(np.clip((value - low) / (high - low), 0, 1))


def ridges(value: Field) -> Field:
    """Return 1 where a field of 0 to 1 is at its middle, falling to 0 at both ends."""
    return 1 - np.abs(2 * value - 1)


def wave(value: Field) -> Field:
    """Return a smooth wave of period 1 between 0 and 1."""
    return ease(np.abs((value - np.floor(value)) * 2 - 1))


def rounded(place: Field) -> Field:
    """Return the profile of a thread: 1 in the middle of 0 to 1, falling to 0 at both ends."""
    return 4 * place * (1 - place)
