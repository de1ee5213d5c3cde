import numpy as np
import pytest

from astseg.data.scenes.materials.fields import SIDE, X, Y
from astseg.data.scenes.materials.tiles import (
    LEVEL_STARTS,
    NUM_LEVELS,
    SLOPE_ZERO,
    SLOPES_PER_UNIT,
    Tile,
    tile_of,
)


def level(tile: Tile, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    side = SIDE >> number
    return tile.texels[LEVEL_STARTS[number] : LEVEL_STARTS[number + 1]].reshape(side, side, 5)


def test_every_size_is_there() -> None:
    tile = tile_of(np.full((SIDE, SIDE, 3), (0.2, 0.4, 1.0)))
    assert tile.texels.shape == (LEVEL_STARTS[-1], 5)
    assert NUM_LEVELS == 9
    for number in range(NUM_LEVELS):
        assert (level(tile, number) == (51, 102, 255, SLOPE_ZERO, SLOPE_ZERO)).all()


def test_coarser_sizes_hold_the_mean_light() -> None:
    colors = np.random.default_rng(0).random((SIDE, SIDE, 3))
    tile = tile_of(colors)
    light = (level(tile, 0)[..., :3] / 255.0) ** 2
    expected = np.sqrt(light.reshape(64, 4, 64, 4, 3).mean((1, 3)))
    np.testing.assert_allclose(level(tile, 2)[..., :3] / 255, expected, atol=1.5 / 255)
    assert level(tile, 8)[0, 0, 0] / 255 == pytest.approx(light[..., 0].mean() ** 0.5, abs=0.02)


def test_slopes_are_those_of_the_height() -> None:
    """Of a surface that rises to the right and falls to the bottom, but for the border, where it wraps."""
    tile = tile_of(np.zeros((SIDE, SIDE, 3)), 0.5 * X - 0.25 * Y)
    inside = level(tile, 0)[2:-2, 2:-2, 3:].astype(int)
    assert (inside == (SLOPE_ZERO + 0.5 * SLOPES_PER_UNIT, SLOPE_ZERO - 0.25 * SLOPES_PER_UNIT)).all()
