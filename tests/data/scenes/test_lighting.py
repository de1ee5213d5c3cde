import pytest
import torch
from tests.data.scenes.scene_builders import ball, make_scene
from torch import Tensor

from astseg.data.scenes.description import Material, Scene
from astseg.data.scenes.lighting import diffuse, highlight
from astseg.data.scenes.packing import FIRST_BODY, pack
from astseg.data.scenes.vectors import Vector

SCENE = torch.zeros(1, dtype=torch.long)
UP = torch.tensor([[0.0], [0.0], [1.0]])


def light_at(scene: Scene, point: Vector, normal: Tensor = UP, visible: float = 1.0) -> list[float]:
    light = diffuse(pack([scene]), SCENE, torch.tensor(point)[:, None], normal, torch.tensor([visible]))
    return [float(part) for part in light[:, 0]]


def test_the_lamp_has_its_strength_at_the_origin_and_falls_with_the_square() -> None:
    scene = make_scene(ball(), position=(0.0, 0.0, 10.0), key=(1.0, 0.5, 0.25))
    assert light_at(scene, (0.0, 0.0, 0.0)) == pytest.approx([1, 0.5, 0.25])
    assert light_at(scene, (0.0, 0.0, 5.0)) == pytest.approx([4, 2, 1])
    # 10 aside: twice the square of the distance, and the light comes at 45 degrees.
    assert light_at(scene, (10.0, 0.0, 0.0)) == pytest.approx([0.5 * 0.5**0.5 * part for part in (1, 0.5, 0.25)])


def test_hidden_and_turned_away_surfaces_get_nothing_from_the_lamp() -> None:
    assert light_at(make_scene(ball()), (0.0, 0.0, 0.0), visible=0.0) == [0, 0, 0]
    assert light_at(make_scene(ball()), (0.0, 0.0, 0.0), normal=-UP) == [0, 0, 0]
    assert light_at(make_scene(ball()), (0.0, 0.0, 0.0), visible=0.25) == pytest.approx([0.25] * 3)


def test_fill_and_ambient_light_reach_shadows() -> None:
    scene = make_scene(
        ball(),
        fill=(0.5, 0.5, 0.5),
        fill_direction=(0.6, 0.0, 0.8),
        ambient_sky=(0.3, 0.3, 0.3),
        ambient_ground=(0.1, 0.1, 0.1),
    )
    assert light_at(scene, (0.0, 0.0, 0.0), visible=0.0) == pytest.approx([0.5 * 0.8 + 0.3] * 3)
    assert light_at(scene, (0.0, 0.0, 0.0), normal=-UP) == pytest.approx([0.1] * 3)
    sideways = torch.tensor([[1.0], [0.0], [0.0]])
    assert light_at(scene, (0.0, 0.0, 0.0), sideways, 0.0) == pytest.approx([0.5 * 0.6 + 0.2] * 3)


def test_back_light_reaches_surfaces_that_face_it() -> None:
    scene = make_scene(ball(), back=(0.5, 0.25, 0.0), back_direction=(0.6, 0.0, 0.8))
    assert light_at(scene, (0.0, 0.0, 0.0), visible=0.0) == pytest.approx([0.4, 0.2, 0.0])
    assert light_at(scene, (0.0, 0.0, 0.0), -UP) == [0, 0, 0]


@pytest.mark.parametrize(("gloss", "exponent"), [(0, 1), (3, 8), (6, 64)])
def test_highlight_is_blinn_and_phongs(gloss: int, exponent: int) -> None:
    material = Material((0.0, 0.0, 0.0), specular=0.5, gloss=gloss)
    packed = pack([make_scene(ball(material=material), position=(0.0, 0.0, 10.0))])
    view = torch.tensor([[0.6], [0.0], [-0.8]])  # looks down from the left
    origin = torch.zeros(3, 1)
    shine = highlight(packed, torch.tensor([FIRST_BODY]), origin, UP, view, torch.ones(1))
    half = torch.nn.functional.normalize(UP - view, dim=0)
    assert shine[:, 0].tolist() == pytest.approx([0.5 * half[2].item() ** exponent] * 3, rel=1e-4)
    hidden = highlight(packed, torch.tensor([FIRST_BODY]), origin, UP, view, torch.zeros(1))
    assert hidden.abs().max() == 0
