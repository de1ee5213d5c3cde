"""Sample scenes like ObjectsRoom's: floor, walls and sky of random colors, one to three colored objects."""

from astseg.data.catalog import DATASETS
from astseg.data.scenes.description import Body, Camera, Light, Material, Room, Scene, Shape
from astseg.data.scenes.placement import clear_of, color_apart, within_frame
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.vectors import Vector, unit

MAX_OBJECTS = DATASETS["objectsroom"].num_slots
SHAPES = (Shape.SPHERE, Shape.BOX, Shape.CYLINDER, Shape.CONE, Shape.CAPSULE)
HALF_WIDTH = 6.0


def compose(source: RandomSource) -> Scene:
    """Sample a scene."""
    camera = _camera(source)
    room = _room(source)
    count = source.integer(1, MAX_OBJECTS)
    bodies: list[Body] = []
    colors: list[Vector] = [room.floor.color, room.walls.color]
    while len(bodies) < count:
        color = color_apart(source, colors, 0.3, (0.55, 1.0), (0.55, 1.0))
        # A few tries are enough: three objects fill a small part of the visible floor.
        while True:
            body = _body(source, camera, color)
            if within_frame(camera, body, 0.8) and clear_of(body, bodies, 0.15):
                break
        bodies.append(body)
        colors.append(color)
    return Scene(camera, room, _light(source), tuple(bodies))


def _camera(source: RandomSource) -> Camera:
    x, y = source.direction()
    distance = source.uniform(4.8, 5.4)
    position = (x * distance, y * distance, source.uniform(1.9, 2.6))
    target = (source.uniform(-0.3, 0.3), source.uniform(-0.3, 0.3), source.uniform(0.7, 1.0))
    return Camera(position, target, 0.55)


def _room(source: RandomSource) -> Room:
    floor = source.color((0.2, 0.9), (0.4, 0.95))
    walls = color_apart(source, [floor], 0.2, (0.2, 0.9), (0.4, 0.95))
    sky = color_apart(source, [floor, walls], 0.2, (0.2, 0.8), (0.5, 1.0))
    return Room(Material(floor), Material(walls), sky, HALF_WIDTH, source.uniform(2.2, 3.0))


def _body(source: RandomSource, camera: Camera, color: Vector) -> Body:
    shape = source.choice(SHAPES)
    size = source.uniform(0.45, 0.85)
    half = (size, size, size)
    parameter = 0.0
    if shape is Shape.BOX:
        half = (0.82 * size, 0.82 * size, size * source.uniform(0.7, 1.1))
    elif shape is Shape.CYLINDER:
        half = (0.8 * size, 0.8 * size, size * source.uniform(0.6, 1.2))
    elif shape is Shape.CONE:
        half = (0.95 * size, 0.95 * size, size * 1.1)
    elif shape is Shape.CAPSULE:
        half = (0.6 * size, 0.6 * size, 0.6 * size)
        parameter = source.uniform(0.5, 1.0)
    center = camera.place(source.uniform(-2.4, 2.4), source.uniform(3.0, 7.0), half[2] * (1 + parameter))
    material = Material(color, specular=0.25, gloss=5)
    return Body(shape, center, half, material, turn=source.direction(), parameter=parameter)


def _light(source: RandomSource) -> Light:
    lamp = (source.uniform(-2.0, 2.0), source.uniform(-2.0, 2.0), source.uniform(6.5, 8.0))
    strength = source.uniform(0.62, 0.74)
    return Light(
        position=lamp,
        half_size=0.0,
        key=(strength, strength, strength),
        fill=(0.12, 0.12, 0.12),
        fill_direction=unit((-lamp[1] - 1.0, lamp[0] - 1.0, 4.0)),
        ambient_sky=(0.34, 0.34, 0.34),
        ambient_ground=(0.2, 0.2, 0.2),
    )
