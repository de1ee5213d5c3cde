"""Sample scenes like CLEVR's: boxes, balls and cylinders of rubber or metal in two sizes on a gray studio floor."""

from collections.abc import Callable, Sequence

from astseg.data.catalog import DATASETS
from astseg.data.scenes.description import Body, Camera, Light, Material, Room, Scene, Shape
from astseg.data.scenes.placement import clear_of, within_frame
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.vectors import Vector, add, unit

MIN_OBJECTS, MAX_OBJECTS = 3, DATASETS["clevr"].num_slots
SHAPES = (Shape.SPHERE, Shape.BOX, Shape.CYLINDER)
RADII = (0.35, 0.7)
COLORS: tuple[Vector, ...] = (
    (0.40, 0.40, 0.40),
    (0.70, 0.22, 0.22),
    (0.22, 0.35, 0.80),
    (0.20, 0.48, 0.14),
    (0.55, 0.34, 0.12),
    (0.55, 0.22, 0.72),
    (0.20, 0.70, 0.70),
    (0.80, 0.76, 0.24),
)
GROUND_HALF_WIDTH = 1000.0
PLACEMENT_HALF_WIDTH = 3.2
MAX_PLACEMENT_TRIES = 60


def compose(source: RandomSource) -> Scene:
    """Sample a scene."""
    camera = studio_camera(source)
    count = source.integer(MIN_OBJECTS, MAX_OBJECTS)
    bodies = scatter(source, camera, count, draw_body)
    return Scene(camera, studio_floor(), studio_light(source), bodies)


def scatter(source: RandomSource, camera: Camera, count: int, draw: Callable[[RandomSource], Body]) -> tuple[Body, ...]:
    """Place sampled bodies, given at the origin, on the ground: in view and clear of each other."""
    while True:
        bodies: list[Body] = []
        while len(bodies) < count:
            placed = _place_body(source, camera, bodies, draw(source))
            if placed is None:
                break  # the ground is too full: start again
            bodies.append(placed)
        if len(bodies) == count:
            return tuple(bodies)


def _place_body(source: RandomSource, camera: Camera, others: list[Body], body: Body) -> Body | None:
    for _ in range(MAX_PLACEMENT_TRIES):
        x = source.uniform(-PLACEMENT_HALF_WIDTH, PLACEMENT_HALF_WIDTH)
        y = source.uniform(-PLACEMENT_HALF_WIDTH, PLACEMENT_HALF_WIDTH)
        placed = body.moved((x, y, 0.0))
        if within_frame(camera, placed, 0.75) and clear_of(placed, others, 0.15):
            return placed
    return None


def studio_camera(source: RandomSource) -> Camera:
    """Sample CLEVR's camera after the benchmark's crop: from above, at a distance, with a narrow view."""
    position = (
        7.48 + source.uniform(-0.5, 0.5),
        -6.5 + source.uniform(-0.5, 0.5),
        5.34 + source.uniform(-0.5, 0.5),
    )
    return Camera(position, (0.0, 0.0, 0.1), 0.29)


def studio_floor() -> Room:
    """Return the gray floor that fades into the distance."""
    floor = Material((0.50, 0.497, 0.49))
    return Room(floor, floor, (0.40, 0.40, 0.40), GROUND_HALF_WIDTH, 0.0, haze=15.5)


def studio_light(source: RandomSource) -> Light:
    """Sample a large lamp on the right, weaker light from the left, and bright surroundings."""
    jitter = (source.uniform(-1.0, 1.0), source.uniform(-1.0, 1.0), source.uniform(-1.0, 1.0))
    return Light(
        position=add((5.5, -1.5, 8.5), jitter),
        half_size=1.3,
        key=(0.56, 0.55, 0.53),
        fill=(0.26, 0.26, 0.27),
        fill_direction=unit((-4.7 + source.uniform(-1.0, 1.0), -4.0 + source.uniform(-1.0, 1.0), 4.0)),
        ambient_sky=(0.40, 0.40, 0.40),
        ambient_ground=(0.22, 0.22, 0.22),
    )


def draw_body(source: RandomSource, radii: Sequence[float] = RADII) -> Body:
    """Draw an object, at the origin, of one of the given sizes."""
    shape = source.choice(SHAPES)
    radius = source.choice(radii)
    side = radius * 0.7071 if shape is Shape.BOX else radius
    color = source.choice(COLORS)
    rubber = Material(color, specular=0.06, gloss=4)
    metal = Material(_polished(color), specular=2.5, gloss=6, mirror=0.75)
    material = metal if source.chance(0.5) else rubber
    return Body(shape, (0.0, 0.0, side), (side, side, side), material, turn=source.direction())


def _polished(color: Vector) -> Vector:
    """Return the color of metal, brighter than that of rubber because it mirrors darker surroundings."""
    red, green, blue = (min(1.0, 1.25 * part + 0.04) for part in color)
    return red, green, blue
