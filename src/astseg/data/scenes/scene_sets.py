"""The generated data sets by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from astseg._core.errors import unknown_name
from astseg.data.catalog import DATASETS, SPELLINGS
from astseg.data.scenes import clevr, rooms, textured, towers
from astseg.data.scenes.description import Scene
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


SCENES: Mapping[str, SceneSet] = MappingProxyType(
    {
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
)


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
