import numpy as np
import pytest
from tests.data.scenes.scene_builders import GREY, PARAMETERS, solid_level

from astseg.data.scenes.description import Body, Camera, Shape


@pytest.mark.parametrize("shape", Shape)
def test_radius_holds_the_body_tightly(shape: Shape) -> None:
    half = (0.7, 0.7, 0.7) if shape in (Shape.CAPSULE, Shape.TORUS) else (0.5, 0.9, 0.7)
    body = Body(shape, (0.0, 0.0, 0.0), half, GREY, parameter=PARAMETERS[shape])
    grid = np.stack(np.meshgrid(*[np.linspace(-2, 2, 81)] * 3))
    inside = solid_level(shape, grid, body.parameter) <= 0
    reach = np.linalg.norm(grid[:, inside] * np.array(half)[:, None], axis=0).max()
    assert 0.9 * body.radius <= reach <= body.radius + 1e-9


def test_axes_follow_the_turn_unless_given() -> None:
    body = Body(Shape.BOX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), GREY, turn=(0.6, 0.8))
    axes = np.array(body.local_axes)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert body.local_axes[0] == (0.6, 0.8, 0.0)
    given = ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
    assert Body(Shape.BOX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), GREY, axes=given).local_axes == given


def test_moved_changes_the_place_alone() -> None:
    body = Body(Shape.BOX, (1.0, 2.0, 3.0), (1.0, 1.0, 1.0), GREY)
    assert body.moved((0.5, 0.0, -1.0)).center == (1.5, 2.0, 2.0)
    assert body.moved((0.5, 0.0, -1.0)).half == body.half


def test_camera_sees_its_target_in_the_middle_and_right_on_the_right() -> None:
    camera = Camera((0.0, -10.0, 0.0), (0.0, 0.0, 0.0), 0.5)
    assert camera.project((0.0, 0.0, 0.0)) == pytest.approx((0, 0, 10))
    assert camera.project((5.0, 0.0, 0.0)) == pytest.approx((1, 0, 10))
    assert camera.project((0.0, 10.0, 10.0)) == pytest.approx((0, 1, 20))


def test_camera_places_points_along_the_floor() -> None:
    camera = Camera((3.0, -4.0, 6.0), (0.0, 0.0, 1.0), 0.5)
    place = np.array(camera.place(1.5, 4.0, 0.25))
    assert place[2] == 0.25
    offset = place[:2] - np.array(camera.position[:2])
    ahead = np.array([-0.6, 0.8])
    assert offset @ ahead == pytest.approx(4.0)
    assert offset @ np.array([0.8, 0.6]) == pytest.approx(1.5)
