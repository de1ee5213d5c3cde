import pytest
import torch
from tests.data.scenes.scene_builders import ball, make_scene

from astseg.data.scenes.description import Body, Material, Shape, Texture
from astseg.data.scenes.packing import FIRST_BODY, FLOOR, SKY, WALL, pack
from astseg.data.scenes.surfaces import appearance, body_indices, body_normals, footprints, room_normals


def test_floor_faces_up_and_walls_face_inwards() -> None:
    point = torch.tensor([[12.0, -12.0, 1.0, 3.0], [1.0, 2.0, -12.0, 4.0], [1.0, 1.0, 1.0, 0.0]])
    normal = room_normals(point, torch.tensor([WALL, WALL, WALL, FLOOR]))
    assert normal.T.tolist() == [[-1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_normals_of_a_stretched_and_turned_body() -> None:
    body = Body(Shape.SPHERE, (1.0, 0.0, 2.0), (2.0, 1.0, 1.0), Material((1.0, 1.0, 1.0)), turn=(0.0, 1.0))
    packed = pack([make_scene(body)])
    # The long axis points along y now. On an ellipsoid the normal is (x/a^2, y/b^2, z/c^2).
    point = torch.tensor([[1 + 0.6], [2 * 0.8], [2.0]])
    expected = torch.nn.functional.normalize(torch.tensor([[0.6], [1.6 / 4], [0.0]]), dim=0)
    torch.testing.assert_close(body_normals(packed, torch.tensor([0]), point), expected)


def test_body_numbers_count_over_all_scenes() -> None:
    packed = pack([make_scene(ball(), ball()), make_scene(ball(), ball())])
    rows = torch.tensor([FIRST_BODY, FIRST_BODY + 1, 5 + FIRST_BODY, 5 + FIRST_BODY + 1])
    assert body_indices(packed, rows).tolist() == [0, 1, 2, 3]


def test_a_texture_mixes_the_two_colors_by_the_texture() -> None:
    red, blue = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    material = Material(red, blue, Texture.DOTS, frequency=0.5)
    packed = pack([make_scene(ball((0.0, 0.0, 0.0), material=material))])
    row = torch.tensor([FIRST_BODY, FIRST_BODY, FIRST_BODY, SKY])
    # Dots of radius 0.34 periods, two lengths apart, about the body's center.
    point = torch.tensor([[0.0, 0.5, 1.0, 0.0], [0.0] * 4, [0.0] * 4])
    up = torch.tensor([[0.0], [0.0], [1.0]]).expand(3, 4)
    seen = appearance(packed, row, point, up, torch.full((4,), 1e-3))
    torch.testing.assert_close(
        seen.color.T, torch.tensor([[0.0, 0, 1], [0, 0, 1], [1, 0, 0], [0.04, 0.16, 0.64]]), atol=1e-6, rtol=0
    )


def test_footprints_grow_with_distance_and_slant() -> None:
    packed = pack([make_scene(ball())])
    direction = packed.forward[:, [0, 0, 0]]
    depth = torch.tensor([5.0, 10.0, 10.0])
    aslant = torch.nn.functional.normalize(packed.right[:, 0] * 3**0.5 / 0.6 - packed.forward[:, 0], dim=0)
    normal = torch.stack((-packed.forward[:, 0], -packed.forward[:, 0], aslant), 1)
    width = footprints(packed, torch.zeros(3, dtype=torch.long), 64, direction, depth, normal)
    assert width[0].item() == pytest.approx(5 * 0.6 / 64)  # half of a pixel, which is 2 * 5 * 0.6 / 64 wide
    assert width[1].item() == pytest.approx(2 * width[0].item())
    assert width[2].item() == pytest.approx(width[1].item() * 2**0.5, rel=1e-4)  # at 60 degrees
