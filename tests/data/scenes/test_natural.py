from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import pytest
from tests.data.scenes.scene_builders import sample_scenes

from astseg.data.scenes import natural, textured
from astseg.data.scenes.description import Scene
from astseg.data.scenes.materials.catalogue import TRAINING_MATERIALS, UNSEEN_MATERIALS
from astseg.data.scenes.materials.tiles import TileSource
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.scene_sets import SCENES

Compose: TypeAlias = Callable[[RandomSource], Scene]


def tiles(scene: Scene) -> set[TileSource | None]:
    return {scene.room.floor.tile, *(body.material.tile for body in scene.bodies)}


def test_every_material_is_worn() -> None:
    for name, materials in (("clevrtex-2", TRAINING_MATERIALS), ("ood-2", UNSEEN_MATERIALS)):
        worn = set().union(*(tiles(scene) for scene in sample_scenes(SCENES[name].compose, 100)))
        assert worn == set(materials)
    assert not set(TRAINING_MATERIALS) & set(UNSEEN_MATERIALS)


def test_unseen_scenes_share_no_shape() -> None:
    known, unseen = (
        {body.shape for scene in sample_scenes(SCENES[name].compose, 60) for body in scene.bodies}
        for name in ("clevrtex-2", "ood-2")
    )
    assert (known, unseen) == (set(textured.SHAPES), set(textured.UNSEEN_SHAPES))
    assert not known & unseen


def test_camouflaged_objects_are_of_the_grounds_material() -> None:
    scenes = sample_scenes(SCENES["camo-2"].compose, 40)
    assert all(len(tiles(scene)) == 1 for scene in scenes)
    assert len(set().union(*map(tiles, scenes))) > 20
    for scene in scenes:
        assert len({body.material.offset for body in scene.bodies}) == len(scene.bodies)
        assert {body.material.frequency for body in scene.bodies} == {scene.room.floor.frequency}


@pytest.mark.parametrize("compose", [SCENES[name].compose for name in ("clevrtex-2", "ood-2", "camo-2")])
def test_three_to_ten_objects_of_several_sizes(compose: Compose) -> None:
    scenes = sample_scenes(compose, 100)
    assert {len(scene.bodies) for scene in scenes} == set(range(3, 11))
    radii = [body.half[0] for scene in scenes for body in scene.bodies]
    assert max(radii) > 2 * min(radii)


def test_lamps_differ_and_come_from_three_sides() -> None:
    lights = [scene.light for scene in sample_scenes(partial(natural.compose, TRAINING_MATERIALS), 30)]
    assert len({light.position for light in lights}) == len({light.back for light in lights}) == 30
    for light in lights:
        assert sum(light.key) > 2 * sum(light.fill)
        towards = np.array([light.position, light.fill_direction, light.back_direction])
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        assert (towards @ towards.T)[np.triu_indices(3, 1)].max() < 0.8
        assert towards[:, 2].min() > 0.2
