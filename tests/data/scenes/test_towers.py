"""Stability is checked against a linear programme: can upward forces in the contact patch hold what is above it?"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import linprog
from tests.data.scenes.scene_builders import GREY, sample_scenes

from astseg.data.scenes import towers
from astseg.data.scenes.description import Body, Shape
from astseg.data.scenes.placement import within_frame

SCENES = sample_scenes(towers.compose, 60)


def box(x: float, height: float, half: float = 0.5, shape: Shape = Shape.BOX) -> Body:
    return Body(shape, (x, 0.0, height), (half, half, 0.5), GREY)


def on_face(body: Body, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    x, y = points[0] - body.center[0], points[1] - body.center[1]
    angle = math.atan2(body.turn[1], body.turn[0])
    x, y = x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)
    if body.shape is Shape.BOX:
        inside: npt.NDArray[np.bool_] = (abs(x) <= body.half[0]) & (abs(y) <= body.half[1])
    else:
        inside = np.hypot(x, y) <= (body.half[0] if body.shape is Shape.CYLINDER else 1e-9)
    return inside


def held(blocks: Sequence[Body]) -> bool:
    """Return whether forces exist at every contact that balance the weight and the torque of all blocks above."""
    grid = np.linspace(-0.8, 0.8, 81)
    for number in range(1, len(blocks)):
        below, upper = blocks[number - 1], blocks[number]
        points = np.stack(np.meshgrid(upper.center[0] + grid, upper.center[1] + grid)).reshape(2, -1)
        points = np.concatenate((points, np.array(upper.center[:2])[:, None]), 1)
        points = points[:, on_face(below, points) & on_face(upper, points)]
        if not points.size:
            return False
        volume = {Shape.BOX: 8.0, Shape.CYLINDER: 2 * math.pi, Shape.SPHERE: 4 / 3 * math.pi}
        weights = np.array([volume[block.shape] * np.prod(block.half) for block in blocks[number:]])
        centers = np.array([block.center[:2] for block in blocks[number:]])
        balance = np.concatenate((points, np.ones((1, points.shape[1]))))
        load = np.append(weights @ centers, weights.sum())
        if linprog(np.zeros(points.shape[1]), A_eq=balance, b_eq=load, method="highs").status != 0:
            return False
    return True


@pytest.mark.parametrize(
    ("blocks", "stable"),
    [
        ([box(0.0, 0.5), box(0.3, 1.5)], True),
        ([box(0.0, 0.5), box(0.6, 1.5)], False),
        ([box(0.0, 0.5), box(0.4, 1.5), box(0.8, 2.5)], False),  # each is held by the next, but not both by the first
        ([box(0.0, 0.5), box(0.4, 1.5), box(0.0, 2.5)], True),
        ([box(0.0, 0.5, 0.2), box(0.0, 1.5), box(0.45, 2.5, 0.2)], True),
        ([box(0.0, 0.5), box(0.3, 1.5, shape=Shape.CYLINDER), box(0.3, 2.5, shape=Shape.SPHERE)], True),
        ([box(0.0, 0.5), box(0.2, 1.5, shape=Shape.SPHERE), box(0.3, 2.5)], False),
        ([box(0.0, 0.5)], True),
    ],
)
def test_known_towers(blocks: list[Body], stable: bool) -> None:
    assert towers.is_stable(blocks, margin=0.02) is stable
    assert held(blocks) is stable


def test_drawn_towers_stand_by_the_linear_programme_too() -> None:
    for scene in SCENES[:12]:
        assert held(scene.bodies)


def test_towers_pushed_apart_fall_by_both_rules() -> None:
    for scene in SCENES[:6]:
        top = scene.bodies[-1]
        pushed = (*scene.bodies[:-1], replace(top, center=(top.center[0] + 1.5, *top.center[1:])))
        assert not towers.is_stable(pushed)
        assert not held(pushed)


def test_blocks_rest_on_each_other_in_view() -> None:
    for scene in SCENES:
        height = 0.0
        for block in scene.bodies:
            assert block.center[2] - block.half[2] == pytest.approx(height)
            height += 2 * block.half[2]
            assert within_frame(scene.camera, block, 0.9)
        assert all(block.shape is not Shape.SPHERE for block in scene.bodies[:-1])


def test_all_heights_and_shapes_occur() -> None:
    counts = np.bincount([len(scene.bodies) for scene in SCENES], minlength=7)
    assert (counts[2:] > 3).all()
    assert counts.sum() == counts[2:].sum()
    assert {block.shape for scene in SCENES for block in scene.bodies} == {Shape.BOX, Shape.CYLINDER, Shape.SPHERE}


def test_centre_of_mass_weighs_by_volume() -> None:
    small, large = box(0.0, 0.5, 0.5), box(3.0, 0.5, 1.0)
    assert towers.center_of_mass([small, large]) == pytest.approx((3 * 4 / 5, 0))
