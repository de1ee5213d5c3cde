"""Pack the descriptions of many scenes into tensors."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from astseg.data.scenes.description import Body, Material, Scene, Shape
from astseg.data.scenes.materials.tiles import LEVEL_STARTS, TileSource, painted
from astseg.data.scenes.vectors import Vector, inner, scale, subtract

FLOOR, WALL, SKY = 0, 1, 2
"""The first surfaces of every scene. Surface FIRST_BODY + i is body i."""
FIRST_BODY = 3


@dataclass(frozen=True)
class PackedBodies:
    """The bodies of all scenes; scenes with fewer bodies are padded with absent ones."""

    present: Bool[Tensor, "scenes bodies"]
    shape: Int[Tensor, "scenes bodies"]
    center: Float[Tensor, "3 scenes bodies"]
    matrix: Float[Tensor, "3 3 scenes bodies"]
    """Maps a vector in space to the shape's local coordinates."""
    radius: Float[Tensor, "scenes bodies"]
    parameter: Float[Tensor, "scenes bodies"]


@dataclass(frozen=True)
class PackedSurfaces:
    """The materials of all surfaces; colors are linear."""

    color: Float[Tensor, "3 scenes surfaces"]
    second_color: Float[Tensor, "3 scenes surfaces"]
    texture: Int[Tensor, "scenes surfaces"]
    frequency: Float[Tensor, "scenes surfaces"]
    texture_matrix: Float[Tensor, "3 3 scenes surfaces"]
    """Maps a point to the texture's coordinates in periods, before the origin is added."""
    texture_origin: Float[Tensor, "3 scenes surfaces"]
    specular: Float[Tensor, "scenes surfaces"]
    gloss: Int[Tensor, "scenes surfaces"]
    mirror: Float[Tensor, "scenes surfaces"]
    tile: Int[Tensor, "scenes surfaces"]
    """Where the surface's tile begins among the texels; -1 if it has none."""
    tile_turn: Float[Tensor, "2 scenes surfaces"]
    texels: UInt8[Tensor, "texels 5"]
    """The tiles of all surfaces, each with all its sizes (see `Tile`)."""


@dataclass(frozen=True)
class PackedScenes:
    """Everything that the renderer needs of many scenes."""

    camera: Float[Tensor, "3 scenes"]
    right: Float[Tensor, "3 scenes"]
    """From the image's center to its right edge, at depth one; up and forward accordingly."""
    up: Float[Tensor, "3 scenes"]
    forward: Float[Tensor, "3 scenes"]
    half_width: Float[Tensor, " scenes"]
    wall_height: Float[Tensor, " scenes"]
    haze: Float[Tensor, " scenes"]
    lamp: Float[Tensor, "3 scenes"]
    lamp_half_size: Float[Tensor, " scenes"]
    key: Float[Tensor, "3 scenes"]
    fill: Float[Tensor, "3 scenes"]
    fill_direction: Float[Tensor, "3 scenes"]
    ambient_sky: Float[Tensor, "3 scenes"]
    ambient_ground: Float[Tensor, "3 scenes"]
    back: Float[Tensor, "3 scenes"]
    back_direction: Float[Tensor, "3 scenes"]
    bodies: PackedBodies
    surfaces: PackedSurfaces

    def __len__(self) -> int:
        return self.camera.shape[1]

    @property
    def surfaces_per_scene(self) -> int:
        """Number of surfaces per scene, including those of absent bodies."""
        return self.surfaces.frequency.shape[1]

    @property
    def device(self) -> torch.device:
        """The tensors' device."""
        return self.camera.device


_ABSENT_BODY = Body(Shape.SPHERE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), Material((0.0, 0.0, 0.0)))


def pack(scenes: Sequence[Scene], device: torch.device | str = "cpu") -> PackedScenes:
    """Pack scenes into tensors."""

    def floats(get: Callable[[Scene], Vector | float]) -> Tensor:
        return _floats([get(scene) for scene in scenes], device)

    bases = {id(scene): scene.camera.basis for scene in scenes}
    return PackedScenes(
        camera=floats(lambda scene: scene.camera.position),
        right=floats(lambda scene: scale(bases[id(scene)][0], scene.camera.tangent)),
        up=floats(lambda scene: scale(bases[id(scene)][1], scene.camera.tangent)),
        forward=floats(lambda scene: bases[id(scene)][2]),
        half_width=floats(lambda scene: scene.room.half_width),
        wall_height=floats(lambda scene: scene.room.wall_height),
        haze=floats(lambda scene: scene.room.haze),
        lamp=floats(lambda scene: scene.light.position),
        lamp_half_size=floats(lambda scene: scene.light.half_size),
        key=floats(lambda scene: scene.light.key),
        fill=floats(lambda scene: scene.light.fill),
        fill_direction=floats(lambda scene: scene.light.fill_direction),
        ambient_sky=floats(lambda scene: scene.light.ambient_sky),
        ambient_ground=floats(lambda scene: scene.light.ambient_ground),
        back=floats(lambda scene: scene.light.back),
        back_direction=floats(lambda scene: scene.light.back_direction),
        bodies=_pack_bodies(scenes, device),
        surfaces=_pack_surfaces(scenes, device),
    )


def _padded_bodies(scenes: Sequence[Scene]) -> list[list[Body]]:
    most = max(len(scene.bodies) for scene in scenes)
    return [[*scene.bodies, *[_ABSENT_BODY] * (most - len(scene.bodies))] for scene in scenes]


def _pack_bodies(scenes: Sequence[Scene], device: torch.device | str) -> PackedBodies:
    rows = _padded_bodies(scenes)
    return PackedBodies(
        present=torch.tensor([[body is not _ABSENT_BODY for body in row] for row in rows], device=device),
        shape=torch.tensor([[int(body.shape) for body in row] for row in rows], device=device),
        center=_floats([[body.center for body in row] for row in rows], device),
        matrix=_floats([[_local_matrix(body) for body in row] for row in rows], device),
        radius=_floats([[body.radius for body in row] for row in rows], device),
        parameter=_floats([[body.parameter for body in row] for row in rows], device),
    )


def _pack_surfaces(scenes: Sequence[Scene], device: torch.device | str) -> PackedSurfaces:
    rooms = [(scene.room.floor, scene.room.walls, Material(scene.room.sky)) for scene in scenes]
    rows = [
        [replace(_ABSENT_BODY, material=material) for material in room] + bodies
        for room, bodies in zip(rooms, _padded_bodies(scenes), strict=True)
    ]
    materials = [[body.material for body in row] for row in rows]
    starts, texels = _pack_tiles(material.tile for row in materials for material in row)
    return PackedSurfaces(
        color=_floats([[_linear(material.color) for material in row] for row in materials], device),
        second_color=_floats([[_linear(material.second_color) for material in row] for row in materials], device),
        texture=torch.tensor([[int(material.texture) for material in row] for row in materials], device=device),
        frequency=_floats([[material.frequency for material in row] for row in materials], device),
        texture_matrix=_floats([[_texture_matrix(body) for body in row] for row in rows], device),
        texture_origin=_floats([[_texture_origin(body) for body in row] for row in rows], device),
        specular=_floats([[material.specular for material in row] for row in materials], device),
        gloss=torch.tensor([[material.gloss for material in row] for row in materials], device=device),
        mirror=_floats([[material.mirror for material in row] for row in materials], device),
        tile=torch.tensor([[starts[material.tile] for material in row] for row in materials], device=device),
        tile_turn=_floats([[material.tile_turn for material in row] for row in materials], device),
        texels=texels.to(device),
    )


def _pack_tiles(sources: Iterable[TileSource | None]) -> tuple[dict[TileSource | None, int], UInt8[Tensor, "texels 5"]]:
    """Put the tiles one after another; return where each begins, and their texels."""
    distinct = [source for source in dict.fromkeys(sources) if source is not None]
    starts: dict[TileSource | None, int] = {source: i * LEVEL_STARTS[-1] for i, source in enumerate(distinct)}
    texels = [painted(source).texels for source in distinct]
    return starts | {None: -1}, torch.from_numpy(np.concatenate(texels) if texels else np.zeros((0, 5), np.uint8))


def _floats(values: Any, device: torch.device | str) -> Tensor:
    """Convert nested lists of numbers, vectors or matrices to float32, with the vectors' axes in front."""
    array = np.asarray(values, np.float64).astype(np.float32)
    depth = _depth_of_items(values)
    order = (*range(depth, array.ndim), *range(depth))
    return torch.from_numpy(np.ascontiguousarray(array.transpose(order))).to(device)


def _depth_of_items(values: Any) -> int:
    """Return how many lists are nested around each item; vectors and matrices are tuples."""
    depth = 0
    while isinstance(values, list):
        values = values[0]
        depth += 1
    return depth


def _local_matrix(body: Body) -> tuple[Vector, Vector, Vector]:
    x, y, z = (scale(axis, 1 / half) for axis, half in zip(body.local_axes, body.half, strict=True))
    return x, y, z


def _texture_matrix(body: Body) -> tuple[Vector, Vector, Vector]:
    x, y, z = (scale(axis, body.material.frequency) for axis in body.local_axes)
    return x, y, z


def _texture_origin(body: Body) -> Vector:
    x, y, z = (inner(axis, body.center) for axis in _texture_matrix(body))
    return subtract(body.material.offset, (x, y, z))


def _linear(color: Vector) -> Vector:
    """Convert a display color to a linear one, with a gamma of 2 because its inverse, the square root, is exact."""
    red, green, blue = color
    return red * red, green * green, blue * blue
