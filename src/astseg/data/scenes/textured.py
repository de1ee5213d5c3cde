"""Sample scenes like those of CLEVRTEX and its test sets: textured, with unseen shapes, and camouflaged."""

from collections.abc import Sequence
from dataclasses import replace

from astseg.data.scenes.clevr import (
    GROUND_HALF_WIDTH,
    MAX_OBJECTS,
    MIN_OBJECTS,
    scatter,
    studio_camera,
    studio_light,
)
from astseg.data.scenes.description import Body, Material, Room, Scene, Shape, Texture
from astseg.data.scenes.placement import color_apart
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.vectors import Vector

SHAPES = (Shape.SPHERE, Shape.BOX, Shape.CYLINDER, Shape.CAPSULE)
UNSEEN_SHAPES = (Shape.CONE, Shape.TORUS, Shape.OCTAHEDRON)
TEXTURES = (
    Texture.CHECKER,
    Texture.STRIPES,
    Texture.BRICKS,
    Texture.TILES,
    Texture.DOTS,
    Texture.MARBLE,
    Texture.CLOUDS,
    Texture.WOOD,
    Texture.VEINS,
    Texture.GRANITE,
)
UNSEEN_TEXTURES = (Texture.SHELLS, Texture.ZIGZAG, Texture.CAMOUFLAGE, Texture.WEAVE)
RADII = (0.4, 0.6, 0.9)
GROUND_FREQUENCY = (0.6, 1.4)
"""Periods per unit of length."""
BODY_FREQUENCY = (0.8, 2.6)

SQRT_1_3, SQRT_2_3 = 0.5773502691896258, 0.816496580927726


def compose(source: RandomSource) -> Scene:
    """Sample a scene of known shapes, all textured."""
    return _scene(source, SHAPES, TEXTURES, camouflaged=False)


def compose_unseen(source: RandomSource) -> Scene:
    """Sample a scene of shapes and textures that `compose` never uses."""
    return _scene(source, UNSEEN_SHAPES, UNSEEN_TEXTURES, camouflaged=False)


def compose_camouflaged(source: RandomSource) -> Scene:
    """Sample a scene in which the objects have the ground's texture."""
    return _scene(source, SHAPES, TEXTURES, camouflaged=True)


def _scene(source: RandomSource, shapes: Sequence[Shape], textures: Sequence[Texture], camouflaged: bool) -> Scene:
    camera = studio_camera(source)
    ground = _material(source, textures, GROUND_FREQUENCY)
    # At some heights a level cut shows a single color of a pattern; at height 0 it shows both.
    ground = replace(ground, offset=(ground.offset[0], ground.offset[1], 0.0))

    def draw(source: RandomSource) -> Body:
        if camouflaged:
            offset = (source.uniform(0.0, 64.0), source.uniform(0.0, 64.0), source.uniform(0.0, 64.0))
            material = replace(ground, offset=offset)
        else:
            material = _material(source, textures, BODY_FREQUENCY)
        return standing_body(source, shapes, material)

    bodies = scatter(source, camera, source.integer(MIN_OBJECTS, MAX_OBJECTS), draw)
    room = Room(ground, ground, (0.3, 0.3, 0.3), GROUND_HALF_WIDTH, 0.0)
    return Scene(camera, room, studio_light(source), bodies)


def _material(source: RandomSource, textures: Sequence[Texture], frequency: tuple[float, float]) -> Material:
    texture = source.choice(textures)
    first = source.color((0.1, 0.8), (0.25, 0.95))
    second = color_apart(source, [first], 0.22, (0.1, 0.8), (0.15, 0.95))
    shiny = source.chance(0.4)
    return Material(
        color=first,
        second_color=second,
        texture=texture,
        frequency=source.uniform(*frequency),
        offset=(source.uniform(0.0, 64.0), source.uniform(0.0, 64.0), source.uniform(0.0, 64.0)),
        specular=source.uniform(0.2, 0.6) if shiny else 0.03,
        gloss=source.integer(4, 6),
    )


def standing_body(source: RandomSource, shapes: Sequence[Shape], material: Material) -> Body:
    """Sample a body that stands on the ground at the origin."""
    shape = source.choice(shapes)
    radius = source.choice(RADII) * source.uniform(0.9, 1.1)
    half, parameter = _proportions(source, shape, radius)
    turn = source.direction()
    height, axes = _stance(source, shape, half, parameter, turn)
    return Body(shape, (0.0, 0.0, height), half, material, turn=turn, axes=axes, parameter=parameter)


def _proportions(source: RandomSource, shape: Shape, radius: float) -> tuple[Vector, float]:
    """Sample the scales of a body of a shape along its axes, and the shape's parameter; see `Body`."""
    if shape is Shape.BOX:
        side = radius * 0.74
        return (side, side, side * source.uniform(0.8, 1.25)), 0.0
    if shape is Shape.CYLINDER:
        return (radius * 0.85, radius * 0.85, radius * source.uniform(0.7, 1.1)), 0.0
    if shape is Shape.CAPSULE:
        return (radius * 0.62, radius * 0.62, radius * 0.62), source.uniform(0.5, 1.0)
    if shape is Shape.CONE:
        half = (radius * 0.95, radius * 0.95, radius * source.uniform(0.8, 1.1))
        return half, source.choice((0.0, 0.0, 0.55))
    if shape is Shape.TORUS:
        parameter = source.uniform(0.35, 0.5)
        return (radius * 0.72, radius * 0.72, radius * 0.72), parameter
    return (radius, radius, radius), 0.0


def _stance(
    source: RandomSource, shape: Shape, half: Vector, parameter: float, turn: tuple[float, float]
) -> tuple[float, tuple[Vector, Vector, Vector] | None]:
    """Return how high the center of a body is that stands on the ground, and its axes; None for upright ones."""
    if shape is Shape.OCTAHEDRON:
        return half[2] * SQRT_1_3, _octahedron_axes(turn)
    if shape is Shape.CAPSULE:
        return half[2] * (1 + parameter), None
    if shape is not Shape.TORUS:
        return half[2], None
    if source.chance(0.5):  # it lies
        return half[2] * parameter, None
    return half[2] * (1 + parameter), _upright_torus_axes(turn)


def _upright_torus_axes(turn: tuple[float, float]) -> tuple[Vector, Vector, Vector]:
    cosine, sine = turn
    return (cosine, sine, 0.0), (0.0, 0.0, 1.0), (sine, -cosine, 0.0)


def _octahedron_axes(turn: tuple[float, float]) -> tuple[Vector, Vector, Vector]:
    """Return axes that point equally far down, a third of a turn apart, so that a face lies on the ground."""
    cosine, sine = turn
    half_root_three = 1.5 * SQRT_1_3
    axes = (
        (cosine, sine),
        (-0.5 * cosine - half_root_three * sine, half_root_three * cosine - 0.5 * sine),
        (half_root_three * sine - 0.5 * cosine, -half_root_three * cosine - 0.5 * sine),
    )
    x, y, z = ((SQRT_2_3 * a, SQRT_2_3 * b, -SQRT_1_3) for a, b in axes)
    return x, y, z
