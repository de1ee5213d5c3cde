"""Light on surfaces: lamp, fill, back and ambient light on matt ones, highlights on glossy ones."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from astseg.data.scenes.packing import PackedScenes
from astseg.data.scenes.vectors import dot, normalize

MAX_SQUARINGS = 8


def diffuse(
    scenes: PackedScenes,
    scene: Int[Tensor, "*#rays"],
    point: Float[Tensor, "3 *rays"],
    normal: Float[Tensor, "3 *rays"],
    visible: Float[Tensor, "*rays"],
) -> Float[Tensor, "3 *rays"]:
    """Return the light on matt white surfaces; `visible` is the visible share of the lamp."""
    to_lamp = scenes.lamp[:, scene] - point
    square = dot(to_lamp, to_lamp)
    lambert = dot(normal, to_lamp).clamp(min=0) / torch.sqrt(square)
    ground = scenes.ambient_ground[:, scene]
    fill = dot(normal, scenes.fill_direction[:, scene]).clamp(min=0)
    back = dot(normal, scenes.back_direction[:, scene]).clamp(min=0)
    return (
        scenes.key[:, scene] * (lambert * visible * _strength(scenes, scene, square))
        + scenes.fill[:, scene] * fill
        + (ground + (scenes.ambient_sky[:, scene] - ground) * (normal[2] * 0.5 + 0.5))
        + scenes.back[:, scene] * back
    )


def _strength(scenes: PackedScenes, scene: Tensor, square: Tensor) -> Tensor:
    """Return the strength of the lamp's light, by its squared distance; it is nominal at the origin."""
    return dot(scenes.lamp, scenes.lamp)[scene] / square


def highlight(
    scenes: PackedScenes,
    row: Int[Tensor, " rays"],
    point: Float[Tensor, "3 rays"],
    normal: Float[Tensor, "3 rays"],
    view: Float[Tensor, "3 rays"],
    visible: Float[Tensor, " rays"],
) -> Float[Tensor, "3 rays"]:
    """Return Blinn-Phong highlights of the lamp and, fainter, of the fill light. `view` points from the camera."""
    surfaces = scenes.surfaces
    scene = row // scenes.surfaces_per_scene
    to_lamp = scenes.lamp[:, scene] - point
    square = dot(to_lamp, to_lamp)
    squarings = surfaces.gloss.flatten()[row]

    def lobe(toward: Tensor) -> Tensor:
        power = dot(normal, normalize(toward - view)).clamp(min=0)
        for number in range(MAX_SQUARINGS):
            power = torch.where(squarings > number, power * power, power)
        return power

    key = lobe(to_lamp / torch.sqrt(square)) * visible * _strength(scenes, scene, square)
    fill = lobe(scenes.fill_direction[:, scene])
    light = scenes.key[:, scene] * key + scenes.fill[:, scene] * fill
    return light * surfaces.specular.flatten()[row]
