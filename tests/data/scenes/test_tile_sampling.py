from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tests.data.scenes.scene_builders import ball, make_scene

from astseg.data.scenes.description import Body, Material, Shape
from astseg.data.scenes.materials.fields import SIDE, X, Y
from astseg.data.scenes.materials.tiles import LEVEL_STARTS, Tile, tile_of
from astseg.data.scenes.packing import FIRST_BODY, FLOOR, PackedScenes, pack
from astseg.data.scenes.surfaces import appearance
from astseg.data.scenes.tile_sampling import sample


@dataclass(frozen=True)
class Slope:
    """A material whose red grows to the right and green downwards, on a surface that rises to the right."""

    rise: float = 0.0
    specular: float = 0.0
    gloss: int = 0

    def paint(self) -> Tile:
        return tile_of(np.stack((X, Y, np.full_like(X, 0.5)), -1), self.rise * X)


def read(tile: Tile, x: float, y: float, width: float) -> list[float]:
    place = [torch.tensor([value]) for value in (x, y, width)]
    return (sample(torch.from_numpy(tile.texels), torch.zeros(1, dtype=torch.long), *place)[:, 0]).tolist()


def seen(
    packed: PackedScenes, surface: int, point: list[float], normal: list[float]
) -> tuple[list[float], list[float]]:
    at, out = (torch.tensor(value)[:, None] for value in (point, normal))
    found = appearance(packed, torch.tensor([surface]), at, out, torch.tensor([1e-4]))
    return torch.sqrt(found.color[:, 0]).tolist(), found.normal[:, 0].tolist()


def test_texels_are_interpolated_and_repeat() -> None:
    tile = Slope().paint()
    for x, y in ((0.3, 0.7), (0.123, 0.456), (5.3, -2.3)):
        red, green, *_ = read(tile, x, y, 0.0)
        assert (red / 255, green / 255) == pytest.approx((x % 1, y % 1), abs=0.004)
    assert read(tile, 0.0, 0.5, 0.0)[0] == pytest.approx(127.5, abs=1)  # half of the last and half of the first column


def test_wide_patches_are_averaged() -> None:
    tile = tile_of(np.random.default_rng(0).random((SIDE, SIDE, 3)))
    sizes = [tile.texels[LEVEL_STARTS[i] : LEVEL_STARTS[i + 1], 0].astype(float) for i in range(9)]
    assert read(tile, 0.2, 0.9, 7.0)[0] == sizes[8][0]
    at_texel = 0.5 / 64  # the center of the first of 64 x 64 texels
    assert read(tile, at_texel, at_texel, 1 / 64)[0] == pytest.approx(sizes[2][0], abs=1e-3)
    between = read(tile, at_texel, at_texel, 1.5 / 64)[0]
    coarse = sizes[3].reshape(32, 32)
    corner = 0.0625 * (9 * coarse[0, 0] + 3 * coarse[0, -1] + 3 * coarse[-1, 0] + coarse[-1, -1])
    assert between == pytest.approx(0.5 * sizes[2][0] + 0.5 * corner, abs=1e-3)


def test_the_tile_lies_on_each_side_of_a_box() -> None:
    material = Material((1.0, 1.0, 1.0), tile=Slope(), frequency=0.25, offset=(0.5, 0.5, 0.5))
    packed = pack([make_scene(Body(Shape.BOX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), material))])
    point = [0.4, -0.8, 0.6]
    place = [0.5 + 0.25 * part for part in point]
    for normal, expected in (([0.0, 0, 1], place[:2]), ([0.0, -1, 0], place[::2]), ([1.0, 0, 0], place[1:])):
        color, _ = seen(packed, FIRST_BODY, point, normal)
        assert color[:2] == pytest.approx(expected, abs=0.004)


def test_sides_are_blended_between_them_but_not_on_an_octahedron() -> None:
    material = Material((1.0, 1.0, 1.0), tile=Slope(), frequency=0.25, offset=(0.5, 0.5, 0.5))
    packed = pack([make_scene(ball((0.0, 0.0, 0.0), material=material))])
    half = 0.5**0.5
    color, _ = seen(packed, FIRST_BODY, [half, 0.0, half], [half, 0.0, half])
    assert color[0] == pytest.approx(0.5 + 0.25 * half, abs=0.01)  # z has more weight: seen from above alone
    even = torch.nn.functional.normalize(torch.tensor([1.2, 0.0, 1.0]), dim=0).tolist()
    above, aside = 0.5 + 0.25 * even[0], 0.5
    color, _ = seen(packed, FIRST_BODY, even, even)
    assert color[0] == pytest.approx((0.5 * above**2 + 0.5 * aside**2) ** 0.5, abs=0.01)
    third = 3**-0.5
    color, _ = seen(packed, FIRST_BODY, [0.2, 0.4, 0.1], [third, third, third])
    assert color[:2] == pytest.approx((0.55, 0.6), abs=0.01)


@pytest.mark.parametrize("turn", [(1.0, 0.0), (0.6, 0.8)])
def test_relief_leans_normals_away_from_the_rise(turn: tuple[float, float]) -> None:
    material = Material((1.0, 1.0, 1.0), tile=Slope(rise=0.5), tile_turn=turn, frequency=0.25)
    packed = pack([make_scene(ball((0.0, 0.0, 0.0), material=material))])
    middle = [0.5 * turn[0] / 0.25, 0.5 * turn[1] / 0.25, 1.0]  # far from the tile's border
    _, normal = seen(packed, FIRST_BODY, middle, [0.0, 0.0, 1.0])
    expected = torch.nn.functional.normalize(torch.tensor([-0.5 * turn[0], -0.5 * turn[1], 1.0]), dim=0)
    assert normal == pytest.approx(expected.tolist(), abs=1e-4)


def test_surfaces_without_a_tile_keep_color_and_normal() -> None:
    packed = pack([make_scene(ball(material=Material((0.5, 0.5, 0.5), tile=Slope(rise=0.5))))])
    assert seen(packed, FLOOR, [0.3, 0.2, 0.0], [0.0, 0.0, 1.0]) == ([1, 1, 1], [0, 0, 1])


def test_each_surface_has_its_own_tile() -> None:
    black, white = Material((0.0, 0.0, 0.0), tile=Slope()), Material((0.0, 0.0, 0.0), tile=Slope(rise=0.1))
    packed = pack([make_scene(ball(material=black), ball(material=white), ball(material=black))])
    assert packed.surfaces.tile[0].tolist() == [-1, -1, -1, 0, LEVEL_STARTS[-1], 0]
    assert len(packed.surfaces.texels) == 2 * LEVEL_STARTS[-1]
