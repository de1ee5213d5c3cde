"""Sample towers like those of ShapeStacks: stable stacks of two to six blocks.

A tower is stable if, at every contact, the common center of mass of all blocks above lies over the contact patch.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from astseg.data.catalog import DATASETS
from astseg.data.scenes.description import Body, Camera, Light, Material, Room, Scene, Shape, Texture
from astseg.data.scenes.placement import color_distance, within_frame
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.vectors import Vector, scale, unit

MIN_BLOCKS, MAX_BLOCKS = 2, DATASETS["shapestacks"].num_slots
COLORS: tuple[Vector, ...] = (
    (0.86, 0.16, 0.14),
    (0.16, 0.66, 0.20),
    (0.14, 0.28, 0.85),
    (0.93, 0.82, 0.12),
    (0.10, 0.72, 0.78),
    (0.78, 0.22, 0.70),
    (0.95, 0.50, 0.10),
)
GROUND_COLORS: tuple[Vector, ...] = (
    (0.55, 0.42, 0.30),
    (0.62, 0.62, 0.60),
    (0.40, 0.45, 0.40),
    (0.72, 0.66, 0.56),
    (0.35, 0.33, 0.36),
    (0.58, 0.50, 0.46),
)
WALL_COLORS: tuple[Vector, ...] = (
    (0.66, 0.70, 0.74),
    (0.50, 0.48, 0.46),
    (0.78, 0.76, 0.70),
    (0.42, 0.47, 0.55),
    (0.60, 0.56, 0.62),
)
FLOOR_TEXTURES = (Texture.PLAIN, Texture.WOOD, Texture.CHECKER, Texture.TILES, Texture.GRANITE, Texture.MARBLE)
WALL_TEXTURES = (Texture.PLAIN, Texture.CLOUDS, Texture.STRIPES, Texture.BRICKS)
HALF_WIDTH = 9.0
STABILITY_MARGIN = 0.06
"""Minimum distance of the center of mass from the edge of the contact patch."""


def compose(source: RandomSource) -> Scene:
    """Sample a scene."""
    count = source.integer(MIN_BLOCKS, MAX_BLOCKS)
    while True:
        blocks = _tower(source, count)
        camera = _camera(source, blocks[-1].center[2] + blocks[-1].half[2])
        if is_stable(blocks) and all(within_frame(camera, block, 0.9) for block in blocks):
            return Scene(camera, _room(source), _light(source), blocks)


def is_stable(blocks: Sequence[Body], margin: float = STABILITY_MARGIN) -> bool:
    """Return whether a tower is stable.

    Args:
        blocks: upright bodies from the lowest up, each on top of the one before.
        margin: minimum distance from the center of mass of the blocks above a contact to the contact's edge. A ball
            touches at one point only, which must be straight below that center.
    """
    for lower, (below, upper) in enumerate(pairwise(blocks)):
        x, y = center_of_mass(blocks[lower + 1 :])
        if not _covers(below, x, y, margin):
            return False
        if upper.shape is Shape.SPHERE:
            if abs(x - upper.center[0]) + abs(y - upper.center[1]) > 1e-9:
                return False
        elif not _covers(upper, x, y, margin):
            return False
    return True


def center_of_mass(blocks: Sequence[Body]) -> tuple[float, float]:
    """Return x and y of the common center of mass of blocks of equal density."""
    mass = weighted_x = weighted_y = 0.0
    for block in blocks:
        volume = _volume(block)
        mass += volume
        weighted_x += volume * block.center[0]
        weighted_y += volume * block.center[1]
    return weighted_x / mass, weighted_y / mass


def _volume(block: Body) -> float:
    x, y, z = block.half
    if block.shape is Shape.BOX:
        return 8 * x * y * z
    if block.shape is Shape.CYLINDER:
        return 2 * math.pi * x * y * z
    return 4 / 3 * math.pi * x * y * z


def _covers(block: Body, x: float, y: float, margin: float) -> bool:
    """Return whether a point lies over a block's flat face, at least a margin inside its edge."""
    if block.shape is Shape.SPHERE:
        return False
    x, y = x - block.center[0], y - block.center[1]
    cosine, sine = block.turn
    own_x, own_y = abs(cosine * x + sine * y), abs(cosine * y - sine * x)
    half_x, half_y = block.half[0] - margin, block.half[1] - margin
    if block.shape is Shape.BOX:
        return own_x <= half_x and own_y <= half_y
    return half_x > 0 and own_x * own_x + own_y * own_y <= half_x * half_x


def _tower(source: RandomSource, count: int) -> tuple[Body, ...]:
    blocks: list[Body] = []
    height = 0.0
    x, y = source.uniform(-0.4, 0.4), source.uniform(-0.4, 0.4)
    color: Vector | None = None
    for number in range(count):
        color = source.choice([other for other in COLORS if other != color])
        shape, half = _block_size(source, last=number == count - 1)
        if blocks:
            # A block is off the center of the one below by up to a quarter of its width.
            x = blocks[-1].center[0] + source.uniform(-0.5, 0.5) * blocks[-1].half[0]
            y = blocks[-1].center[1] + source.uniform(-0.5, 0.5) * blocks[-1].half[1]
        material = Material(color, specular=0.2, gloss=4)
        blocks.append(Body(shape, (x, y, height + half[2]), half, material, turn=source.direction()))
        height += 2 * half[2]
    return tuple(blocks)


def _block_size(source: RandomSource, last: bool) -> tuple[Shape, Vector]:
    shape = source.choice((Shape.BOX, Shape.BOX, Shape.CYLINDER, Shape.SPHERE))
    if shape is Shape.SPHERE and not last:
        shape = Shape.CYLINDER
    if shape is Shape.SPHERE:
        radius = source.uniform(0.3, 0.5)
        return shape, (radius, radius, radius)
    width, height = source.uniform(0.32, 0.7), source.uniform(0.22, 0.5)
    depth = width if shape is Shape.CYLINDER else source.uniform(0.32, 0.7)
    return shape, (width, depth, height)


def _camera(source: RandomSource, height: float) -> Camera:
    """Sample a camera on any side, nearer to lower towers, not aimed exactly at the tower's center."""
    x, y = source.direction()
    distance = source.uniform(4.4, 5.2) + 0.55 * height
    target = (source.uniform(-0.4, 0.4), source.uniform(-0.4, 0.4), 0.5 * height + source.uniform(-0.2, 0.4))
    return Camera((x * distance, y * distance, source.uniform(2.0, 4.2)), target, 0.40)


def _room(source: RandomSource) -> Room:
    ground = source.choice(GROUND_COLORS)
    walls = source.choice([wall for wall in WALL_COLORS if color_distance(wall, ground) > 0.1])
    floor = _patterned(source, ground, FLOOR_TEXTURES, (0.5, 1.2))
    return Room(floor, _patterned(source, walls, WALL_TEXTURES, (0.3, 0.8)), walls, HALF_WIDTH, 12.0)


def _patterned(
    source: RandomSource, color: Vector, textures: Sequence[Texture], frequency: tuple[float, float]
) -> Material:
    """Sample a texture of two shades of a color."""
    return Material(
        color,
        second_color=scale(color, source.uniform(0.7, 0.9)),
        texture=source.choice(textures),
        frequency=source.uniform(*frequency),
        offset=(source.uniform(0.0, 64.0), source.uniform(0.0, 64.0), 0.0),
    )


def _light(source: RandomSource) -> Light:
    x, y = source.direction()
    aside = source.uniform(1.5, 5.0)
    strength = source.uniform(0.5, 0.75)
    warmth = source.uniform(-0.06, 0.06)
    return Light(
        position=(x * aside, y * aside, source.uniform(8.0, 11.0)),
        half_size=0.5,
        key=(strength + warmth, strength, strength - warmth),
        fill=(0.14, 0.14, 0.14),
        fill_direction=unit((-x - 0.5 * y, -y + 0.5 * x, 1.0)),
        ambient_sky=(0.34, 0.34, 0.34),
        ambient_ground=(0.20, 0.20, 0.20),
    )
