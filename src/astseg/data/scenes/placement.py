"""Check where bodies may stand, and sample distinct colors."""

import math
from collections.abc import Iterable

from astseg.data.scenes.description import Body, Camera, Shape
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.vectors import Vector


def within_frame(camera: Camera, body: Body, inside: float) -> bool:
    """Return whether a body is mostly in the image.

    Args:
        camera: the camera.
        body: the body.
        inside: 1 requires the whole bounding sphere to be in the image, 0 only its center.
    """
    x, y, depth = camera.project(body.center)
    margin = 1 - inside * body.radius / (depth * camera.tangent)
    return abs(x) <= margin and abs(y) <= margin


def clear_of(body: Body, others: Iterable[Body], gap: float) -> bool:
    """Return whether the upright cylinder around a body keeps a gap to those around the others."""
    reach = footprint(body)
    for other in others:
        x, y = body.center[0] - other.center[0], body.center[1] - other.center[1]
        distance = reach + footprint(other) + gap
        if x * x + y * y < distance * distance:
            return False
    return True


def footprint(body: Body) -> float:
    """Return the radius of the upright cylinder around an upright body."""
    x, y, _ = body.half
    if body.shape is Shape.BOX:
        return math.sqrt(x * x + y * y)
    if body.shape is Shape.TORUS:
        return x * (1 + body.parameter)
    return max(x, y)


def color_distance(a: Vector, b: Vector) -> float:
    """Return the largest difference in any of red, green and blue."""
    return max(abs(a[0] - b[0]), abs(a[1] - b[1]), abs(a[2] - b[2]))


def color_apart(
    source: RandomSource,
    others: Iterable[Vector],
    distance: float,
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> Vector:
    """Return a random color that differs from all others by at least a distance (see `color_distance`)."""
    others = tuple(others)
    while True:
        color = source.color(saturation, value)
        if all(color_distance(color, other) >= distance for other in others):
            return color
