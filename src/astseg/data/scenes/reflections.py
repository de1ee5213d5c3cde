"""Reflections in shiny bodies: the room and the other bodies, with a single bounce."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from astseg.data.scenes.lighting import diffuse
from astseg.data.scenes.packing import FIRST_BODY, SKY, PackedScenes
from astseg.data.scenes.shapes import MISS
from astseg.data.scenes.surfaces import appearance, body_normals, room_normals
from astseg.data.scenes.tracing import room_hits, single_rays
from astseg.data.scenes.vectors import dot

START_OFFSET = 2e-3
"""Distance of reflected rays' starts from the surface."""

REFLECTION_BLUR = 0.03
"""Width of a reflected ray's surface patch, per unit of length; textures are averaged over it."""


def mirrored_light(
    scenes: PackedScenes,
    row: Int[Tensor, " rays"],
    point: Float[Tensor, "3 rays"],
    normal: Float[Tensor, "3 rays"],
    view: Float[Tensor, "3 rays"],
) -> tuple[Float[Tensor, "3 rays"], Float[Tensor, " rays"]]:
    """Return the light that surfaces reflect, weighted by their mirror share, and this share.

    Args:
        scenes: the scenes.
        row: the surfaces' indices among all scenes' surfaces.
        point: points on the surfaces.
        normal: unit vectors out of the surfaces.
        view: unit vectors from the camera.
    """
    mirror = scenes.surfaces.mirror.flatten()[row]
    light = torch.zeros_like(point)
    some = (mirror > 0).nonzero()[:, 0]
    if not len(some):
        return light, mirror
    start, out, into = point[:, some] + normal[:, some] * START_OFFSET, normal[:, some], view[:, some]
    direction = into - out * (2 * dot(into, out))
    light[:, some] = _radiance(scenes, row[some] // scenes.surfaces_per_scene, start, direction)
    return light * mirror, mirror


def _radiance(scenes: PackedScenes, scene: Tensor, start: Tensor, direction: Tensor) -> Tensor:
    """Return the linear light along rays, without shadows, highlights or further reflections."""
    t, surface = room_hits(scenes, scene, start, direction)
    entered, body = single_rays(scenes, scene, start, direction)
    nearer = entered < t
    t = torch.where(nearer, entered, t)
    bodies_per_scene = scenes.surfaces_per_scene - FIRST_BODY
    surface = torch.where(nearer, body - scene * bodies_per_scene + FIRST_BODY, surface)
    point = start + direction * t
    normal = room_normals(point, surface)
    on_body = (nearer & (entered < MISS)).nonzero()[:, 0]
    normal[:, on_body] = body_normals(scenes, body[on_body], point[:, on_body])
    seen = appearance(scenes, surface + scene * scenes.surfaces_per_scene, point, normal, t * REFLECTION_BLUR)
    light = seen.color * diffuse(scenes, scene, point, seen.normal, torch.ones_like(t))
    sky = scenes.surfaces.color[:, :, SKY][:, scene]
    # The sky is bright all around and dark overhead, as in a studio that is lit from the sides.
    height = direction[2].clamp(0, 1)
    overhead = sky * (0.15 + 3.5 * (1 - height) * (1 - height))
    return torch.where(surface == SKY, overhead, light)
