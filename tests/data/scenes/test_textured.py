from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import pytest
from tests.data.scenes.scene_builders import sample_scenes, solid_level

from astseg.data.scenes import textured
from astseg.data.scenes.description import Material, Scene, Shape, Texture
from astseg.data.scenes.random_source import RandomSource

Compose: TypeAlias = Callable[[RandomSource], Scene]


def materials(scenes: Sequence[Scene]) -> list[Material]:
    return [body.material for scene in scenes for body in scene.bodies] + [scene.room.floor for scene in scenes]


def test_everything_is_textured_with_every_texture() -> None:
    assert {material.texture for material in materials(sample_scenes(textured.compose, 60))} == set(textured.TEXTURES)


def test_unseen_scenes_share_no_shape_and_no_texture() -> None:
    known, unseen = sample_scenes(textured.compose, 60), sample_scenes(textured.compose_unseen, 60)
    shapes = [{body.shape for scene in scenes for body in scene.bodies} for scenes in (known, unseen)]
    textures = [{material.texture for material in materials(scenes)} for scenes in (known, unseen)]
    assert shapes == [set(textured.SHAPES), set(textured.UNSEEN_SHAPES)]
    assert textures == [set(textured.TEXTURES), set(textured.UNSEEN_TEXTURES)]
    assert not shapes[0] & shapes[1]
    assert not textures[0] & textures[1]
    assert Texture.PLAIN not in textures[0] | textures[1]


def test_camouflaged_objects_wear_the_grounds_texture() -> None:
    for scene in sample_scenes(textured.compose_camouflaged, 20):
        ground = scene.room.floor
        for body in scene.bodies:
            for name in ("texture", "color", "second_color", "frequency"):
                assert getattr(body.material, name) == getattr(ground, name)


@pytest.mark.parametrize("compose", [textured.compose, textured.compose_unseen])
def test_bodies_touch_the_ground_from_above(compose: Compose) -> None:
    """The lowest point of each body, found among many points of its surface, is at height 0."""
    grid = np.stack(np.meshgrid(*[np.linspace(-2, 2, 61)] * 3)).reshape(3, -1)
    for scene in sample_scenes(compose, 12):
        for body in scene.bodies:
            inside = grid[:, solid_level(body.shape, grid, body.parameter) <= 0]
            heights = np.array(body.local_axes)[:, 2] * np.array(body.half) @ inside + body.center[2]
            assert -0.01 < heights.min() < 0.12


def test_axes_of_all_bodies_are_at_right_angles() -> None:
    for scene in sample_scenes(textured.compose_unseen, 60):
        for body in scene.bodies:
            axes = np.array(body.local_axes)
            np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
            if body.shape is Shape.OCTAHEDRON:
                np.testing.assert_allclose(axes[:, 2], -(3**-0.5), atol=1e-9)
