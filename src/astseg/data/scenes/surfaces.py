"""Compute the normals and colors of surfaces where rays hit them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from astseg.data.scenes.description import Shape, Texture
from astseg.data.scenes.packing import FIRST_BODY, FLOOR, PackedScenes
from astseg.data.scenes.shapes import outward_vectors
from astseg.data.scenes.textures import second_color_share
from astseg.data.scenes.tile_sampling import sample_sides
from astseg.data.scenes.vectors import dot, normalize, transform


@dataclass(frozen=True)
class Appearance:
    """What surfaces look like before they are lit."""

    color: Float[Tensor, "3 *rays"]
    """Linear."""
    normal: Float[Tensor, "3 *rays"]
    """Unit vectors out of the surfaces, with the relief of their materials."""


def room_normals(point: Float[Tensor, "3 *rays"], surface: Int[Tensor, "*rays"]) -> Float[Tensor, "3 *rays"]:
    """Return unit vectors up from the floor; for all other surfaces, from the nearest wall into the room."""
    x, y, _ = point
    wall = torch.stack((torch.where(x < 0, 1.0, -1.0), torch.where(y < 0, 1.0, -1.0), torch.zeros_like(x)))
    wider = x.abs() >= y.abs()
    wall[0] *= wider
    wall[1] *= ~wider
    up = torch.stack((torch.zeros_like(x), torch.zeros_like(x), torch.ones_like(x)))
    return torch.where(surface == FLOOR, up, wall)


def body_normals(
    scenes: PackedScenes, body: Int[Tensor, " rays"], point: Float[Tensor, "3 rays"]
) -> Float[Tensor, "3 rays"]:
    """Return unit vectors out of bodies, given by their index among all scenes' bodies."""
    bodies = scenes.bodies
    normal = torch.empty_like(point)
    shape = bodies.shape.flatten()[body]
    for kind in Shape:
        some = (shape == kind).nonzero()[:, 0]
        if not len(some):
            continue
        number = body[some]
        matrix = bodies.matrix.flatten(2)[:, :, number]
        own = transform(matrix, point[:, some] - bodies.center.flatten(1)[:, number])
        out = outward_vectors(kind, own, bodies.parameter.flatten()[number])
        # The transposed matrix maps normals back to space.
        normal[:, some] = normalize(transform(matrix.transpose(0, 1), out))
    return normal


def body_indices(scenes: PackedScenes, row: Int[Tensor, " rays"]) -> Int[Tensor, " rays"]:
    """Convert indices among all scenes' surfaces to indices among all scenes' bodies."""
    scene = row // scenes.surfaces_per_scene
    return row - scene * FIRST_BODY - FIRST_BODY


def appearance(
    scenes: PackedScenes,
    row: Int[Tensor, "*rays"],
    point: Float[Tensor, "3 *rays"],
    normal: Float[Tensor, "3 *rays"],
    footprint: Float[Tensor, "*rays"],
) -> Appearance:
    """Return the colors of surfaces, with their textures, and their normals.

    Args:
        scenes: the scenes.
        row: the surfaces' indices among all scenes' surfaces.
        point: points on the surfaces.
        normal: unit vectors out of the surfaces.
        footprint: width of the surface patch of a sample; textures are averaged over it.
    """
    color = _albedo(scenes, row, point, footprint)
    some = (scenes.surfaces.tile.flatten()[row.flatten()] >= 0).nonzero()[:, 0]
    if not len(some):
        return Appearance(color, normal)
    normal = normal.clone()
    number = row.flatten()[some]
    turned = scenes.surfaces.texture_matrix.flatten(2)[:, :, number]
    place = transform(turned, point.flatten(1)[:, some]) + scenes.surfaces.texture_origin.flatten(1)[:, number]
    out = normalize(transform(turned, normal.flatten(1)[:, some]))
    width = footprint.flatten()[some] * scenes.surfaces.frequency.flatten()[number]
    own_color, slope = sample_sides(scenes.surfaces, number, place, out, width)
    color.view(3, -1)[:, some] = own_color
    # The transposed matrix maps normals back to space.
    normal.view(3, -1)[:, some] = normalize(transform(turned.transpose(0, 1), out - slope))
    return Appearance(color, normal)


def _albedo(
    scenes: PackedScenes,
    row: Int[Tensor, "*rays"],
    point: Float[Tensor, "3 *rays"],
    footprint: Float[Tensor, "*rays"],
) -> Float[Tensor, "3 *rays"]:
    """Return the linear colors of surfaces, with their solid textures."""
    surfaces = scenes.surfaces
    color = surfaces.color.flatten(1)[:, row.flatten()]
    texture = surfaces.texture.flatten()
    for kind in Texture:
        if kind is Texture.PLAIN or not bool((texture == kind).any()):
            continue
        some = (texture[row.flatten()] == kind).nonzero()[:, 0]
        number = row.flatten()[some]
        place = transform(surfaces.texture_matrix.flatten(2)[:, :, number], point.flatten(1)[:, some])
        place += surfaces.texture_origin.flatten(1)[:, number]
        width = footprint.flatten()[some] * surfaces.frequency.flatten()[number]
        share = second_color_share(kind, place, width)
        first, second = color[:, some], surfaces.second_color.flatten(1)[:, number]
        color[:, some] = first + (second - first) * share
    return color.view(3, *row.shape)


def footprints(
    scenes: PackedScenes,
    scene: Int[Tensor, "*#rays"],
    image_size: int,
    direction: Float[Tensor, "3 *rays"],
    depth: Float[Tensor, "*rays"],
    normal: Float[Tensor, "3 *rays"],
) -> Float[Tensor, "*rays"]:
    """Return the width of the surface patch behind half a pixel, the distance between samples.

    On a slanted surface the patch is longer than wide. The geometric mean of both limits aliasing as well as blur.
    """
    right = scenes.right[:, scene]
    pixel = torch.sqrt(dot(right, right)) * (1 / image_size)
    slant = (dot(direction, normal).abs() / torch.sqrt(dot(direction, direction))).clamp(min=0.02)
    return depth * pixel / torch.sqrt(slant)
