"""What shiny bodies mirror: the room and the other bodies, one bounce deep."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from astseg.data.scenes.lighting import diffuse
from astseg.data.scenes.packing import FIRST_BODY, SKY, PackedScenes
from astseg.data.scenes.shapes import MISS
from astseg.data.scenes.surfaces import albedo, body_normals, room_normals
from astseg.data.scenes.tracing import room_hits, single_rays
from astseg.data.scenes.vectors import dot

START_OFFSET = 2e-3
"""How far outside of its surface a mirrored ray starts."""

REFLECTION_BLUR = 0.03
"""Width of the patch that a mirrored ray stands for, per unit of length: textures are averaged over it."""


def mirrored_light(
    scenes: PackedScenes,
    row: Int[Tensor, " rays"],
    point: Float[Tensor, "3 rays"],
    normal: Float[Tensor, "3 rays"],
    view: Float[Tensor, "3 rays"],
) -> tuple[Float[Tensor, "3 rays"], Float[Tensor, " rays"]]:
    """Return the light that surfaces mirror, weighted by how much they mirror, and this weight.

    Args:
        scenes: the scenes.
        row: the surfaces' rows among all scenes' surfaces.
        point: where on the surfaces.
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
    light[:, some] = _radiance(scenes, row[some] // scenes.surfaces_each, start, direction)
    return light * mirror, mirror


def _radiance(scenes: PackedScenes, scene: Tensor, start: Tensor, direction: Tensor) -> Tensor:
    """Linear light that comes along rays, without shadows, highlights or further mirrors."""
    t, surface = room_hits(scenes, scene, start, direction)
    entered, body = single_rays(scenes, scene, start, direction)
    nearer = entered < t
    t = torch.where(nearer, entered, t)
    bodies_each = scenes.surfaces_each - FIRST_BODY
    surface = torch.where(nearer, body - scene * bodies_each + FIRST_BODY, surface)
    point = start + direction * t
    normal = room_normals(point, surface)
    on_body = (nearer & (entered < MISS)).nonzero()[:, 0]
    normal[:, on_body] = body_normals(scenes, body[on_body], point[:, on_body])
    own_color = albedo(scenes, surface + scene * scenes.surfaces_each, point, t * REFLECTION_BLUR)
    light = own_color * diffuse(scenes, scene, point, normal, torch.ones_like(t))
    sky = scenes.surfaces.color[:, :, SKY][:, scene]
    # The sky is bright all around and dark overhead, as in a studio that is lit from the sides.
    height = direction[2].clamp(0, 1)
    overhead = sky * (0.15 + 3.5 * (1 - height) * (1 - height))
    return torch.where(surface == SKY, overhead, light)
