from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest

from astseg.data.scenes.materials.fields import SIDE, Field, Fields, X, Y, spread

QUARTER = SIDE // 4
Draw: TypeAlias = Callable[[Fields, Field, Field], Field]

DRAWN: dict[str, Draw] = {
    "smooth": lambda fields, x, y: fields.smooth(3, 5, x, y),
    "fractal": lambda fields, x, y: fields.fractal(2, 3, 6, x, y),
    "cells": lambda fields, x, y: fields.cells(6, 1.0, x, y).edge,
    "cell values": lambda fields, x, y: fields.of_each(fields.cells(6, 0.5, x, y)),
    "bricks": lambda fields, x, y: fields.of_each(fields.bricks(3, 8, 0.5, x, y)),
    "loose bricks": lambda fields, x, y: fields.bricks(2, 5, None, x, y).edge,
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
@pytest.mark.parametrize("axis", [0, 1])
def test_moving_the_places_rolls_the_field(draw: Draw, axis: int) -> None:
    """So nothing differs where the tile ends and begins again."""
    still = draw(Fields(7), X, Y)
    moved = draw(Fields(7), X + 0.25 * (axis == 1), Y + 0.25 * (axis == 0))
    np.testing.assert_allclose(moved, np.roll(still, -QUARTER, axis), atol=1e-9)


def test_the_seed_decides() -> None:
    first, again, other = (Fields(seed).fractal(4) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.1


def test_cells_are_those_of_the_nearest_points() -> None:
    """Against the distances to all points and their copies around the tile; rows of points are half a square apart."""
    across = 4
    fields = Fields(3)
    found = fields.cells(across)
    x, y = (Fields(3).values(2, across, across) - 0.5) + 0.5
    points = np.stack((np.arange(across) + x + (np.arange(across) % 2 * 0.5)[:, None], np.arange(across)[:, None] + y))
    moves = [np.array([[i], [j]]) * across for i in (-1, 0, 1) for j in (-1, 0, 1)]
    copies = [np.add(points.reshape(2, -1), move) for move in moves]
    every = np.concatenate(copies, 1)
    places = np.stack((X[::16, ::16], Y[::16, ::16])).reshape(2, -1) * across
    distances = np.sqrt(((places[:, :, None] - every[:, None]) ** 2).sum(0))
    np.testing.assert_allclose(found.center[::16, ::16].ravel(), distances.min(1))
    np.testing.assert_array_equal(found.number[::16, ::16].ravel(), distances.argmin(1) % across**2)
    assert found.edge.min() >= 0


def test_bricks_are_numbered_by_row_and_moved_by_half() -> None:
    wall = Fields(0).bricks(2, 4)
    assert wall.number[0, 0] == 0
    assert wall.number[0, SIDE // 2] == 1
    assert wall.number[QUARTER, 0] == wall.number[QUARTER, -1] == 2  # the second row's first brick goes round
    assert wall.edge[SIDE // 8, QUARTER] == pytest.approx(0.5, abs=0.02)  # in the middle of a brick


def test_octaves_add_detail_until_two_texels() -> None:
    def roughness(field: Field) -> float:
        return float(np.abs(np.diff(field)).mean())

    assert roughness(Fields(5).fractal(2, octaves=6)) > 1.5 * roughness(Fields(5).fractal(2, octaves=1))
    np.testing.assert_array_equal(Fields(5).fractal(64, octaves=2), Fields(5).fractal(64, octaves=9))


def test_spreading_fills_the_range() -> None:
    field = spread(Fields(1).smooth(8, 8) * 0.01 + 5)
    assert (field.min(), field.max()) == (0, 1)
    assert 0.03 < (field <= 0).mean() + (field >= 1).mean() < 0.05
