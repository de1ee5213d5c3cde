import pytest
from tests.data.scenes.scene_builders import sample_scenes

from astseg.data.scenes import rooms
from astseg.data.scenes.description import Shape
from astseg.data.scenes.placement import clear_of, color_distance, within_frame

SCENES = sample_scenes(rooms.compose, 150)


def test_one_to_three_objects_of_every_shape() -> None:
    assert {len(scene.bodies) for scene in SCENES} == {1, 2, 3}
    assert {body.shape for scene in SCENES for body in scene.bodies} == set(rooms.SHAPES)


def test_objects_stand_on_the_floor_in_view_and_apart() -> None:
    for scene in SCENES:
        for number, body in enumerate(scene.bodies):
            height = body.half[2] * (1 + body.parameter if body.shape is Shape.CAPSULE else 1)
            assert body.center[2] == pytest.approx(height)
            assert max(map(abs, body.center[:2])) + body.radius < rooms.HALF_WIDTH
            assert within_frame(scene.camera, body, 0.8)
            assert clear_of(body, scene.bodies[:number], 0.15)


def test_colors_stand_out() -> None:
    for scene in SCENES:
        colors = [body.material.color for body in scene.bodies]
        around = [scene.room.floor.color, scene.room.walls.color]
        for number, color in enumerate(colors):
            assert all(color_distance(color, other) >= 0.3 for other in around + colors[:number])


def test_camera_stands_in_the_room() -> None:
    assert all(max(map(abs, scene.camera.position[:2])) < rooms.HALF_WIDTH for scene in SCENES)
