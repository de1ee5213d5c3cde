import numpy as np
import numpy.typing as npt
import torch
from tests.data.scenes.scene_builders import ball, make_scene

from astseg.data.scenes.description import Body, Material, Shape, Texture
from astseg.data.scenes.packing import FIRST_BODY, SKY, pack


def test_scenes_with_fewer_bodies_are_padded() -> None:
    packed = pack([make_scene(ball()), make_scene(ball(), ball((3.0, 0.0, 1.0)))])
    assert len(packed) == 2
    assert packed.bodies.present.tolist() == [[True, False], [True, True]]
    assert packed.surfaces_per_scene == FIRST_BODY + 2
    assert packed.bodies.center[:, 1, 1].tolist() == [3, 0, 1]


def test_colors_become_linear() -> None:
    packed = pack([make_scene(ball(material=Material((0.5, 1.0, 0.0))))])
    assert packed.surfaces.color[:, 0, FIRST_BODY].tolist() == [0.25, 1, 0]
    torch.testing.assert_close(packed.surfaces.color[:, 0, SKY], torch.tensor([0.04, 0.16, 0.64]))


def test_matrix_maps_the_ends_of_the_axes_to_one() -> None:
    body = Body(Shape.BOX, (1.0, 2.0, 3.0), (0.5, 2.0, 4.0), Material((1.0, 1.0, 1.0)), turn=(0.6, 0.8))
    packed = pack([make_scene(body)])
    matrix = packed.bodies.matrix[:, :, 0, 0].double().numpy()
    ends = np.array(body.local_axes) * np.array(body.half)[:, None]
    np.testing.assert_allclose(matrix @ ends.T, np.eye(3), atol=1e-6)


def test_textures_move_and_turn_with_their_body() -> None:
    material = Material((1.0, 1.0, 1.0), texture=Texture.DOTS, frequency=2.0, offset=(0.1, 0.2, 0.3))
    body = Body(Shape.BOX, (1.0, 2.0, 3.0), (0.5, 0.5, 0.5), material, turn=(0.0, 1.0))
    surfaces = pack([make_scene(body)]).surfaces

    def place(*point: float) -> npt.NDArray[np.float64]:
        matrix = surfaces.texture_matrix[:, :, 0, FIRST_BODY].double().numpy()
        origin = surfaces.texture_origin[:, 0, FIRST_BODY].double().numpy()
        return np.asarray(matrix @ np.array(point) + origin)

    np.testing.assert_allclose(place(1, 2, 3), [0.1, 0.2, 0.3], atol=1e-6)
    np.testing.assert_allclose(place(1, 2.5, 3), [1.1, 0.2, 0.3], atol=1e-6)


def test_camera_axes_reach_the_edge_of_the_image() -> None:
    packed = pack([make_scene(ball())])
    assert packed.right[:, 0].norm().item() == np.float32(0.6)
    assert abs((packed.forward[:, 0] @ packed.up[:, 0]).item()) < 1e-6
    assert packed.up[2, 0] > 0
