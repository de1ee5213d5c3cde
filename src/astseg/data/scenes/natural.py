"""Sample scenes like those of CLEVRTEX and its test sets, in materials like photographs, lit by three lamps."""

from collections.abc import Sequence
from dataclasses import replace

from astseg.data.scenes.clevr import GROUND_HALF_WIDTH, MAX_OBJECTS, MIN_OBJECTS, scatter, studio_camera
from astseg.data.scenes.description import Body, Light, Material, Room, Scene, Shape
from astseg.data.scenes.materials.tiles import TileSource
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.textured import SHAPES, UNSEEN_SHAPES, standing_body
from astseg.data.scenes.vectors import add, scale, unit

GROUND_FREQUENCY = (0.2, 0.4)
"""Tiles per unit of length."""
BODY_FREQUENCY = (0.4, 0.85)
MAX_TILT = 0.35
"""Tangent of a tile's largest rotation, beside quarter turns."""


def compose(materials: Sequence[TileSource], source: RandomSource) -> Scene:
    """Sample a scene of known shapes, in any of the materials."""
    return _scene(source, SHAPES, materials, camouflaged=False)


def compose_unseen(materials: Sequence[TileSource], source: RandomSource) -> Scene:
    """Sample a scene of shapes that `compose` never uses."""
    return _scene(source, UNSEEN_SHAPES, materials, camouflaged=False)


def compose_camouflaged(materials: Sequence[TileSource], source: RandomSource) -> Scene:
    """Sample a scene in which the objects are of the ground's material."""
    return _scene(source, SHAPES, materials, camouflaged=True)


def _scene(source: RandomSource, shapes: Sequence[Shape], materials: Sequence[TileSource], camouflaged: bool) -> Scene:
    camera = studio_camera(source)
    ground = _material(source, source.choice(materials), GROUND_FREQUENCY)

    def draw(source: RandomSource) -> Body:
        if camouflaged:
            material = replace(ground, offset=_offset(source), tile_turn=_turn(source))
        else:
            material = _material(source, source.choice(materials), BODY_FREQUENCY)
        return standing_body(source, shapes, material)

    bodies = scatter(source, camera, source.integer(MIN_OBJECTS, MAX_OBJECTS), draw)
    room = Room(ground, ground, (0.3, 0.3, 0.3), GROUND_HALF_WIDTH, 0.0)
    return Scene(camera, room, _light(source), bodies)


def _material(source: RandomSource, tile: TileSource, frequency: tuple[float, float]) -> Material:
    return Material(
        color=(0.5, 0.5, 0.5),
        tile=tile,
        tile_turn=_turn(source),
        frequency=source.uniform(*frequency),
        offset=_offset(source),
        specular=tile.specular,
        gloss=tile.gloss,
    )


def _offset(source: RandomSource) -> tuple[float, float, float]:
    return source.uniform(), source.uniform(), source.uniform()


def _turn(source: RandomSource) -> tuple[float, float]:
    """Return the cosine and sine of a small angle, or of one near a quarter turn."""
    tilt = source.uniform(-MAX_TILT, MAX_TILT)
    along, aside, _ = unit((1.0, tilt, 0.0))
    return (along, aside) if source.chance(0.5) else (-aside, along)


def _light(source: RandomSource) -> Light:
    """Sample a large lamp on the right, weaker light from the left and from behind, and dim surroundings."""

    def jittered(x: float, y: float, z: float) -> tuple[float, float, float]:
        return add((x, y, z), (source.uniform(-1.0, 1.0), source.uniform(-1.0, 1.0), source.uniform(-1.0, 1.0)))

    return Light(
        position=jittered(5.5, -1.5, 8.0),
        half_size=1.3,
        key=scale((0.86, 0.82, 0.76), source.uniform(0.85, 1.15)),
        fill=scale((0.20, 0.21, 0.24), source.uniform(0.7, 1.3)),
        fill_direction=unit(jittered(-4.7, -4.0, 4.0)),
        back=scale((0.18, 0.18, 0.19), source.uniform(0.7, 1.3)),
        back_direction=unit(jittered(-3.0, 5.5, 4.5)),
        ambient_sky=(0.17, 0.17, 0.18),
        ambient_ground=(0.10, 0.09, 0.08),
    )
