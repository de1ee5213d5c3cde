from collections import Counter

import pytest
from tests.data.scenes.scene_builders import ball, sample_scenes

from astseg.data.scenes import clevr
from astseg.data.scenes.placement import clear_of, within_frame
from astseg.data.scenes.random_source import RandomSource

SCENES = sample_scenes(clevr.compose, 160)
BODIES = [body for scene in SCENES for body in scene.bodies]


def test_three_to_ten_objects_equally_often() -> None:
    counts = Counter(len(scene.bodies) for scene in SCENES)
    assert set(counts) == set(range(3, 11))
    assert min(counts.values()) > 5


def test_two_sizes_two_materials_three_shapes_eight_colors() -> None:
    assert {body.shape for body in BODIES} == set(clevr.SHAPES)
    assert len({round(body.half[0], 6) for body in BODIES}) == 4  # boxes are narrower than balls of the same size
    assert {body.material.mirror > 0 for body in BODIES} == {True, False}
    assert len({body.material.color for body in BODIES}) == 2 * len(clevr.COLORS)


def test_objects_stand_on_the_ground_in_view_and_apart() -> None:
    for scene in SCENES:
        for number, body in enumerate(scene.bodies):
            assert body.center[2] == pytest.approx(body.half[2])
            assert within_frame(scene.camera, body, 0.75)
            assert clear_of(body, scene.bodies[:number], 0.15)


def test_a_full_ground_is_started_again() -> None:
    """Ten large balls hardly fit: the drawing must still end, with all of them placed."""
    source = RandomSource("test", 1, 0, 0)

    bodies = clevr.scatter(source, clevr.studio_camera(source), 10, lambda _: ball((0.0, 0.0, 0.7), 0.7))
    assert len(bodies) == 10
    assert all(clear_of(body, bodies[:number], 0.15) for number, body in enumerate(bodies))
