"""Compute the light along each camera ray: lit surfaces, reflections, haze."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from astseg.data.scenes.lighting import diffuse, highlight
from astseg.data.scenes.packing import FIRST_BODY, FLOOR, SKY, PackedScenes
from astseg.data.scenes.reflections import mirrored_light
from astseg.data.scenes.surfaces import appearance, body_indices, body_normals, footprints, room_normals
from astseg.data.scenes.tracing import Hits, lamp_visibility
from astseg.data.scenes.vectors import dot, normalize

SHADOW_OFFSET = 2e-3
"""Distance of shadow rays' starts from the surface, so that rounding does not make it shadow itself."""

SHADOW_THRESHOLD = 0.5
"""A sample is in shadow where bodies hide at least this share of the lamp."""


@dataclass(frozen=True)
class Shaded:
    """The light along camera rays."""

    color: Float[Tensor, "3 bundles rays"]
    """Linear, not negative."""
    in_shadow: Int[Tensor, "bundles rays"]
    """1 where a body hides the lamp from a surface that faces it."""


def shade(scenes: PackedScenes, hits: Hits, image_size: int) -> Shaded:
    """Shade every sample."""
    bundles = len(hits.depth)
    scene = torch.arange(len(scenes), device=scenes.device).repeat_interleave(bundles // len(scenes))[:, None]
    row = hits.surface + scene * scenes.surfaces_per_scene
    point = scenes.camera[:, scene] + hits.direction * hits.depth
    on_body = (hits.surface >= FIRST_BODY).flatten().nonzero()[:, 0]
    body_row = row.flatten()[on_body]
    normal = room_normals(point, hits.surface)
    normal.view(3, -1)[:, on_body] = body_normals(scenes, body_indices(scenes, body_row), point.flatten(1)[:, on_body])

    on_surface = hits.surface != SKY
    facing = on_surface & (dot(normal, scenes.lamp[:, scene] - point) > 0)
    visible = lamp_visibility(scenes, point + normal * SHADOW_OFFSET, facing)
    width = footprints(scenes, scene, image_size, hits.direction, hits.depth, normal)
    surface = appearance(scenes, row, point, normal, width)
    light = diffuse(scenes, scene, point, surface.normal, visible)
    color = surface.color * torch.where(on_surface, light, 1.0)

    flat = color.view(3, -1)
    view = normalize(hits.direction.flatten(1)[:, on_body])
    body_point, body_normal = point.flatten(1)[:, on_body], surface.normal.flatten(1)[:, on_body]
    shine = highlight(scenes, body_row, body_point, body_normal, view, visible.flatten()[on_body])
    glow, mirror = mirrored_light(scenes, body_row, body_point, body_normal, view)
    flat[:, on_body] = flat[:, on_body] * (1 - mirror) + surface.color.flatten(1)[:, on_body] * glow + shine

    share = haze(scenes, scene, hits)
    sky = scenes.surfaces.color[:, :, SKY][:, scene]
    color = color + (sky - color) * share
    return Shaded(color, (facing & (visible <= 1 - SHADOW_THRESHOLD)).long())


def haze(scenes: PackedScenes, scene: Int[Tensor, "bundles 1"], hits: Hits) -> Float[Tensor, "bundles rays"]:
    """Return the share of the sky's color in the floor's: half at the room's haze distance, none if that is 0."""
    half_way = scenes.haze[scene] * scenes.haze[scene]
    square = hits.depth * hits.depth * dot(hits.direction, hits.direction)
    share = square * square / (square * square + half_way * half_way)
    return torch.where((hits.surface == FLOOR) & (half_way > 0), share, 0.0)
