"""The data sets by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from astseg.data.scenes import clevr, rooms, textured, towers
from astseg.data.scenes.description import Scene
from astseg.data.scenes.random_source import RandomSource
from astseg.errors import AstSegError


@dataclass(frozen=True)
class SceneSet:
    """One data set that can be generated."""

    name: str
    description: str
    """One line."""
    image_size: int
    """Height and width in pixels, unless another size is asked for."""
    objects: int
    """The most objects in a picture: the K that a model needs."""
    version: int
    """Grows with every change of what a seed stands for."""
    compose: Callable[[RandomSource], Scene]


SCENES: Mapping[str, SceneSet] = MappingProxyType(
    {
        scene_set.name: scene_set
        for scene_set in (
            SceneSet(
                "rooms",
                "1 to 3 coloured objects in a room; floor, walls and sky of random colours (like ObjectsRoom)",
                64,
                rooms.MAX_OBJECTS,
                1,
                rooms.compose,
            ),
            SceneSet(
                "towers",
                "Towers of 2 to 6 blocks that stand by themselves (like ShapeStacks)",
                64,
                towers.MAX_BLOCKS,
                1,
                towers.compose,
            ),
            SceneSet(
                "clevr",
                "3 to 10 boxes, balls and cylinders, rubber or metal, on a grey floor with soft shadows (like CLEVR)",
                128,
                clevr.MAX_OBJECTS,
                1,
                clevr.compose,
            ),
            SceneSet(
                "clevrtex",
                "3 to 10 objects, textures on everything (like CLEVRTEX)",
                128,
                clevr.MAX_OBJECTS,
                1,
                textured.compose,
            ),
            SceneSet(
                "ood",
                "As clevrtex with shapes and textures that it never has (like CLEVRTEX-OOD)",
                128,
                clevr.MAX_OBJECTS,
                1,
                textured.compose_unseen,
            ),
            SceneSet(
                "camo",
                "As clevrtex with objects that wear the ground's texture (like CLEVRTEX-CAMO)",
                128,
                clevr.MAX_OBJECTS,
                1,
                textured.compose_camouflaged,
            ),
        )
    }
)


def scene_set(name: str) -> SceneSet:
    """A data set by its name.

    Raises:
        AstSegError: there is none of this name.
    """
    if name not in SCENES:
        raise AstSegError(f"There is no generated data set '{name}'. There are: {', '.join(SCENES)}.")
    return SCENES[name]
