"""Describe scenes by frozen dataclasses of Python floats, before anything becomes a tensor.

Space is right-handed, z points up, the floor is z = 0; lengths have no unit. Colors are sRGB from 0 to 1.
"""

import math
from dataclasses import dataclass, replace
from enum import IntEnum

from astseg.data.scenes.materials.tiles import TileSource
from astseg.data.scenes.vectors import Vector, add, cross, inner, scale, subtract, unit


class Shape(IntEnum):
    """The solids in local coordinates, which a body scales, rotates and translates."""

    SPHERE = 0
    """Radius 1."""
    BOX = 1
    """From -1 to 1 along each axis."""
    CYLINDER = 2
    """Radius 1, z from -1 to 1."""
    CONE = 3
    """Radius 1 at z = -1; at z = 1 the radius is the body's parameter, 0 to 1."""
    CAPSULE = 4
    """Radius 1 around the axis from z = -parameter to z = parameter. Only scaled uniformly."""
    TORUS = 5
    """Radius 1 around the z axis; the parameter is the tube's radius. Only scaled uniformly."""
    OCTAHEDRON = 6
    """|x| + |y| + |z| <= 1."""


class Texture(IntEnum):
    """Solid textures: each mixes a material's two colors over space."""

    PLAIN = 0
    CHECKER = 1
    STRIPES = 2
    BRICKS = 3
    TILES = 4
    DOTS = 5
    MARBLE = 6
    CLOUDS = 7
    WOOD = 8
    VEINS = 9
    GRANITE = 10
    SHELLS = 11
    ZIGZAG = 12
    CAMOUFLAGE = 13
    WEAVE = 14


@dataclass(frozen=True)
class Material:
    """What a surface looks like."""

    color: Vector
    second_color: Vector = (0.0, 0.0, 0.0)
    """The color that the texture mixes in; unused by the plain texture."""
    texture: Texture = Texture.PLAIN
    tile: TileSource | None = None
    """What paints the surface in place of the colors and the texture, from the sides that it faces."""
    tile_turn: tuple[float, float] = (1.0, 0.0)
    """Cosine and sine of the tile's rotation on each side."""
    frequency: float = 1.0
    """Periods of the texture, or tiles, per unit of length."""
    offset: Vector = (0.0, 0.0, 0.0)
    """Shift of the texture in periods."""
    specular: float = 0.0
    """Strength of the Blinn-Phong highlight."""
    gloss: int = 4
    """The highlight's exponent is 2 to the power of this, 0 to 8."""
    mirror: float = 0.0
    """Share of light that comes from the mirrored surroundings, 0 to 1."""


@dataclass(frozen=True)
class Body:
    """One solid object."""

    shape: Shape
    center: Vector
    half: Vector
    """Length of a unit of the shape's local coordinates, along each local axis."""
    material: Material
    turn: tuple[float, float] = (1.0, 0.0)
    """Cosine and sine of the rotation about the vertical."""
    axes: tuple[Vector, Vector, Vector] | None = None
    """The local axes in space, for bodies that are not upright; overrides turn."""
    parameter: float = 0.0
    """The shape's parameter (see `Shape`)."""

    def moved(self, by: Vector) -> "Body":
        """Return the body translated by a vector."""
        return replace(self, center=add(self.center, by))

    @property
    def local_axes(self) -> tuple[Vector, Vector, Vector]:
        """The local x, y and z axes in space."""
        cosine, sine = self.turn
        return self.axes or ((cosine, sine, 0.0), (-sine, cosine, 0.0), (0.0, 0.0, 1.0))

    @property
    def radius(self) -> float:
        """Radius of the bounding sphere about the center."""
        x, y, z = self.half
        if self.shape is Shape.BOX:
            return math.sqrt(x * x + y * y + z * z)
        if self.shape in (Shape.CYLINDER, Shape.CONE):
            return math.sqrt(max(x, y) * max(x, y) + z * z)
        if self.shape in (Shape.CAPSULE, Shape.TORUS):
            return x * (1 + self.parameter)
        return max(x, y, z)


@dataclass(frozen=True)
class Room:
    """The background: a square floor about the origin, walls around it, and sky above them."""

    floor: Material
    walls: Material
    sky: Vector
    half_width: float
    wall_height: float
    haze: float = 0.0
    """Distance from the camera at which the floor has half faded into the sky's color; 0 for no haze."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square images."""

    position: Vector
    target: Vector
    """The point in the image's center."""
    tangent: float
    """Tangent of half the field of view."""

    @property
    def basis(self) -> tuple[Vector, Vector, Vector]:
        """Unit vectors to the right, up and forward, as the camera sees them."""
        forward = unit(subtract(self.target, self.position))
        right = unit(cross(forward, (0.0, 0.0, 1.0)))
        return right, cross(right, forward), forward

    def project(self, point: Vector) -> tuple[float, float, float]:
        """Return a point's x (right) and y (up) in the image, -1 to 1 inside it, and its depth."""
        right, up, forward = self.basis
        offset = subtract(point, self.position)
        depth = max(inner(offset, forward), 1e-3)
        return inner(offset, right) / (depth * self.tangent), inner(offset, up) / (depth * self.tangent), depth

    def place(self, right: float, forward: float, height: float) -> Vector:
        """Return the point at a height above the floor, at distances right of and ahead of the camera along it."""
        aside, _, ahead = self.basis
        level = unit((ahead[0], ahead[1], 0.0))
        foot = (self.position[0], self.position[1], height)
        return add(foot, add(scale(aside, right), scale(level, forward)))


@dataclass(frozen=True)
class Light:
    """A square lamp that casts shadows, fill and back light at infinity that cast none, and ambient light."""

    position: Vector
    half_size: float
    """Half the lamp's side; 0 gives hard shadows."""
    key: Vector
    """Linear color of the lamp's light on a surface that faces it."""
    fill: Vector
    """Linear color of the fill light."""
    fill_direction: Vector
    """Unit vector towards the fill light."""
    ambient_sky: Vector
    """Linear color of ambient light on a surface that faces up."""
    ambient_ground: Vector
    """Linear color of ambient light on a surface that faces down."""
    back: Vector = (0.0, 0.0, 0.0)
    """Linear color of the back light."""
    back_direction: Vector = (0.0, 0.0, 1.0)
    """Unit vector towards the back light."""


@dataclass(frozen=True)
class Scene:
    """A whole scene. Body i carries label i + 1."""

    camera: Camera
    room: Room
    light: Light
    bodies: tuple[Body, ...]
