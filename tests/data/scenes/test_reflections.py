import torch
from tests.data.scenes.scene_builders import ball, make_scene
from torch import Tensor

from astseg.data.scenes.description import Body, Material, Shape
from astseg.data.scenes.packing import FIRST_BODY, PackedScenes, pack
from astseg.data.scenes.reflections import mirrored_light

MIRROR = Material((1.0, 1.0, 1.0), mirror=0.5)
RED = Material((1.0, 0.0, 0.0))
AHEAD = torch.tensor([[0.0], [1.0], [0.0]])


def seen_in(packed: PackedScenes, normal: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
    point = torch.tensor([[0.0], [0.0], [1.0]])
    light, mirror = mirrored_light(packed, torch.tensor([FIRST_BODY]), point, normal, view)
    return light[:, 0], mirror[0]


def test_a_mirror_shows_the_body_in_front_of_it() -> None:
    body = Body(Shape.BOX, (0.0, 1.0, 1.0), (1.0, 1.0, 1.0), MIRROR)
    red_ball = ball((0.0, -4.0, 1.0), 0.8, RED)
    packed = pack([make_scene(body, red_ball, ambient_sky=(0.5, 0.5, 0.5), ambient_ground=(0.5, 0.5, 0.5))])
    light, mirror = seen_in(packed, -AHEAD, AHEAD)
    assert mirror == 0.5
    assert light[0] > 0.2
    assert light[1:].abs().max() == 0


def test_a_mirror_shows_floor_and_sky() -> None:
    body = Body(Shape.BOX, (0.0, 1.0, 1.0), (1.0, 1.0, 1.0), MIRROR)
    packed = pack([make_scene(body, ambient_sky=(0.5, 0.5, 0.5))])
    down = torch.tensor([[0.0], [0.6], [-0.8]])
    floor, _ = seen_in(packed, -AHEAD, down)
    assert torch.allclose(floor, floor[0].expand(3))  # the floor is white
    assert floor[0] > 0.25
    up = down * torch.tensor([[1.0], [1.0], [-1.0]])
    sky, _ = seen_in(packed, -AHEAD, up)
    assert sky[2] > sky[1] > sky[0] > 0  # the sky is blue


def test_matt_bodies_mirror_nothing() -> None:
    packed = pack([make_scene(ball(material=RED))])
    light, mirror = seen_in(packed, -AHEAD, AHEAD)
    assert mirror == 0
    assert light.abs().max() == 0
