"""The generated data sets by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from astseg._core.errors import AstSegError, unknown_name
from astseg.data.catalog import DATASETS, SPELLINGS
from astseg.data.scenes import clevr, natural, rooms, textured, towers
from astseg.data.scenes.description import Scene
from astseg.data.scenes.materials.catalogue import TRAINING_MATERIALS, UNSEEN_MATERIALS
from astseg.data.scenes.materials.tiles import TileSource
from astseg.data.scenes.random_source import RandomSource


@dataclass(frozen=True)
class SceneSet:
    """A data set that can be generated."""

    name: str
    image_size: int
    """Height and width in pixels, unless another size is asked for."""
    max_objects: int
    """Maximum number of objects in an image: the K that a model needs."""
    version: int
    """Incremented whenever the images of a seed change."""
    compose: Callable[[RandomSource], Scene]
    compose_in: Callable[[Sequence[TileSource], RandomSource], Scene] | None = None
    """Likewise in other materials than the set's own, for sets that can."""

    def dressed_in(self, materials: Sequence[TileSource]) -> "SceneSet":
        """Return the set in other materials.

        Raises:
            AstSegError: the set's materials cannot be replaced.
        """
        if self.compose_in is None:
            able = ", ".join(name for name, scenes in SCENES.items() if scenes.compose_in)
            raise AstSegError(f"Your own textures can be the materials of {able}, but not of {self.name}.")
        return replace(self, compose=partial(self.compose_in, materials))


_PATTERNED = {
    spec.look_alike: SceneSet(spec.look_alike, spec.image_size, spec.num_slots, version, compose)
    for spec, version, compose in (
        (DATASETS["objectsroom"], 1, rooms.compose),
        (DATASETS["shapestacks"], 1, towers.compose),
        (DATASETS["clevr"], 1, clevr.compose),
        (DATASETS["clevrtex"], 1, textured.compose),
        (DATASETS["clevrtex-ood"], 1, textured.compose_unseen),
        (DATASETS["clevrtex-camo"], 1, textured.compose_camouflaged),
    )
}

_NATURAL = {
    spec.natural_look_alike: SceneSet(
        spec.natural_look_alike,
        spec.image_size,
        spec.num_slots,
        version,
        partial(compose_in, materials),
        compose_in,
    )
    for spec, version, compose_in, materials in (
        (DATASETS["clevrtex"], 1, natural.compose, TRAINING_MATERIALS),
        (DATASETS["clevrtex-ood"], 1, natural.compose_unseen, UNSEEN_MATERIALS),
        (DATASETS["clevrtex-camo"], 1, natural.compose_camouflaged, TRAINING_MATERIALS),
    )
}

SCENES: Mapping[str, SceneSet] = MappingProxyType(_PATTERNED | _NATURAL)


def get_scene_set(name: str) -> SceneSet:
    """Return a generated data set by its name, or by a name of the data set that it resembles.

    Raises:
        AstSegError: there is no generated data set of this name.
    """
    look_alike = SPELLINGS[name].look_alike if name in SPELLINGS else name
    if look_alike not in SCENES:
        like = (spec.name for spec in DATASETS.values() if spec.look_alike)
        raise unknown_name("generated data set", name, dict.fromkeys((*SCENES, *like)))
    return SCENES[look_alike]
