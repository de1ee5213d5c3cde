"""Levels of the solids, written down independently of the ray caster: below 0 inside, above 0 outside."""

from collections.abc import Callable

import numpy as np
import pytest

from astseg.data.scenes.description import Body, Camera, Light, Material, Room, Scene, Shape

GREY = Material((0.5, 0.5, 0.5))


def level(shape, point, parameter):
    x, y, z = point
    around = np.hypot(x, y)
    if shape is Shape.SPHERE:
        return np.sqrt(x**2 + y**2 + z**2) - 1
    if shape is Shape.BOX:
        return np.max(np.abs(point), 0) - 1
    if shape is Shape.CYLINDER:
        return np.maximum(around - 1, np.abs(z) - 1)
    if shape is Shape.CONE:
        return np.maximum(around - np.interp(z, [-1, 1], [1, parameter]), np.abs(z) - 1)
    if shape is Shape.CAPSULE:
        return np.sqrt(around**2 + np.maximum(np.abs(z) - parameter, 0) ** 2) - 1
    if shape is Shape.TORUS:
        return np.hypot(around - 1, z) - parameter
    return np.abs(x) + np.abs(y) + np.abs(z) - 1


@pytest.fixture(scope="session")
def solid_level() -> Callable:
    return level


@pytest.fixture(scope="session")
def parameters() -> dict[Shape, float]:
    """A sensible parameter for each shape."""
    return dict.fromkeys(Shape, 0.0) | {Shape.CONE: 0.4, Shape.CAPSULE: 0.8, Shape.TORUS: 0.4}


@pytest.fixture
def make_scene() -> Callable[..., Scene]:
    """A scene with given bodies: white floor, grey walls far away, a lamp overhead and nothing but it for light."""

    def make(*bodies: Body, half_size: float = 0.0, haze: float = 0.0, **light) -> Scene:
        black = (0.0, 0.0, 0.0)
        lights = {
            "position": (0.0, 0.0, 10.0),
            "half_size": half_size,
            "key": (1.0, 1.0, 1.0),
            "fill": black,
            "fill_direction": (0.0, 0.0, 1.0),
            "ambient_sky": black,
            "ambient_ground": black,
        } | light
        return Scene(
            camera=Camera((0.0, -8.0, 5.0), (0.0, 0.0, 0.0), 0.6),
            room=Room(Material((1.0, 1.0, 1.0)), GREY, (0.2, 0.4, 0.8), 12.0, 3.0, haze),
            light=Light(**lights),
            bodies=bodies,
        )

    return make


@pytest.fixture
def ball() -> Callable[..., Body]:
    """A ball of a radius at a place."""

    def make(center=(0.0, 0.0, 1.0), radius=1.0, material=GREY) -> Body:
        return Body(Shape.SPHERE, center, (radius, radius, radius), material)

    return make
