import math

import pytest
from tests.data.scenes.scene_builders import GREY

from astseg.data.scenes.description import Body, Camera, Shape
from astseg.data.scenes.placement import clear_of, color_apart, color_distance, footprint, within_frame
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.vectors import Vector

CAMERA = Camera((0.0, -10.0, 0.0), (0.0, 0.0, 0.0), 0.5)  # sees x and z from -5 to 5 at the origin


def ball(x: float, radius: float = 1.0, z: float = 0.0) -> Body:
    return Body(Shape.SPHERE, (x, 0.0, z), (radius, radius, radius), GREY)


@pytest.mark.parametrize(
    ("x", "inside", "expected"), [(4.1, 1, False), (3.9, 1, True), (4.9, 0, True), (5.1, 0, False)]
)
def test_within_frame(x: float, inside: float, expected: bool) -> None:
    assert within_frame(CAMERA, ball(x), inside) is expected
    assert within_frame(CAMERA, ball(-x), inside) is expected
    assert within_frame(CAMERA, ball(0.0, z=x), inside) is expected


def test_clear_of_keeps_the_gap() -> None:
    others = [ball(0.0), ball(10.0, radius=3.0)]
    assert clear_of(ball(2.3), others, 0.2)
    assert not clear_of(ball(2.1), others, 0.2)
    assert not clear_of(ball(6.1), others, 0.2)
    assert clear_of(ball(0.0), [], 5.0)


def test_footprints() -> None:
    half = (0.3, 0.4, 9.0)
    assert footprint(Body(Shape.BOX, (0.0, 0.0, 0.0), half, GREY)) == pytest.approx(0.5)
    assert footprint(Body(Shape.CYLINDER, (0.0, 0.0, 0.0), half, GREY)) == 0.4
    torus = Body(Shape.TORUS, (0.0, 0.0, 0.0), (2.0, 2.0, 2.0), GREY, parameter=0.5)
    assert footprint(torus) == pytest.approx(3)
    assert math.isclose(footprint(ball(0.0, 0.7)), 0.7)


def test_colors_stay_apart() -> None:
    source = RandomSource("test", 1, 0, 0)
    taken: list[Vector] = []
    for _ in range(4):
        color = color_apart(source, taken, 0.3, (0.5, 1.0), (0.5, 1.0))
        assert all(color_distance(color, other) >= 0.3 for other in taken)
        taken.append(color)
