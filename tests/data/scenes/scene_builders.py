"""Levels of the solids, written down independently of the ray caster, and small scenes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from astseg.data.scenes.description import Body, Camera, Light, Material, Room, Scene, Shape
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.vectors import Vector

GREY = Material((0.5, 0.5, 0.5))
BLACK = (0.0, 0.0, 0.0)

PARAMETERS = dict.fromkeys(Shape, 0.0) | {Shape.CONE: 0.4, Shape.CAPSULE: 0.8, Shape.TORUS: 0.4}
"""A sensible parameter for each shape."""


def solid_level(shape: Shape, point: npt.NDArray[np.float64], parameter: float) -> npt.NDArray[np.float64]:
    """Return a value below 0 inside the solid and above 0 outside."""
    x, y, z = point
    around = np.hypot(x, y)
    level: npt.NDArray[np.float64]
    if shape is Shape.SPHERE:
        level = np.sqrt(x**2 + y**2 + z**2) - 1
    elif shape is Shape.BOX:
        level = np.max(np.abs(point), 0) - 1
    elif shape is Shape.CYLINDER:
        level = np.maximum(around - 1, np.abs(z) - 1)
    elif shape is Shape.CONE:
        level = np.maximum(around - np.interp(z, [-1, 1], [1, parameter]), np.abs(z) - 1)
    elif shape is Shape.CAPSULE:
        level = np.sqrt(around**2 + np.maximum(np.abs(z) - parameter, 0) ** 2) - 1
    elif shape is Shape.TORUS:
        level = np.hypot(around - 1, z) - parameter
    else:
        level = np.abs(x) + np.abs(y) + np.abs(z) - 1
    return level


def make_scene(*bodies: Body, half_size: float = 0.0, haze: float = 0.0, **light: Vector) -> Scene:
    """Return a scene of the bodies: white floor, grey walls far away, and no light but a lamp overhead."""
    lights: dict[str, Any] = {
        "position": (0.0, 0.0, 10.0),
        "half_size": half_size,
        "key": (1.0, 1.0, 1.0),
        "fill": BLACK,
        "fill_direction": (0.0, 0.0, 1.0),
        "ambient_sky": BLACK,
        "ambient_ground": BLACK,
    }
    return Scene(
        camera=Camera((0.0, -8.0, 5.0), (0.0, 0.0, 0.0), 0.6),
        room=Room(Material((1.0, 1.0, 1.0)), GREY, (0.2, 0.4, 0.8), 12.0, 3.0, haze),
        light=Light(**lights | light),
        bodies=bodies,
    )


def sample_scenes(compose: Callable[[RandomSource], Scene], count: int) -> list[Scene]:
    """Return the first scenes of a fixed seed."""
    return [compose(RandomSource("test", 1, 0, index)) for index in range(count)]


def ball(center: Vector = (0.0, 0.0, 1.0), radius: float = 1.0, material: Material = GREY) -> Body:
    """Return a ball."""
    return Body(Shape.SPHERE, center, (radius, radius, radius), material)
