"""Render scene descriptions to images, masks and shadow maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from astseg.data.scenes.culling import SAMPLES_PER_PIXEL, TILE_SIDE
from astseg.data.scenes.description import Scene
from astseg.data.scenes.packing import FIRST_BODY, PackedScenes, pack
from astseg.data.scenes.shading import shade
from astseg.data.scenes.tracing import Hits, first_hits


@dataclass(frozen=True)
class TracedScenes:
    """What the camera sees of scenes, before shading."""

    scenes: PackedScenes
    hits: Hits
    masks: UInt8[Tensor, "scenes height width"]


@dataclass(frozen=True)
class RenderedScenes:
    """Rendered images with their masks and shadow maps."""

    images: UInt8[Tensor, "scenes height width 3"]
    masks: UInt8[Tensor, "scenes height width"]
    shadows: UInt8[Tensor, "scenes height width"]


def trace_scenes(scenes: Sequence[Scene], image_size: int, device: torch.device | str = "cpu") -> TracedScenes:
    """Find what is visible where. image_size is a multiple of TILE_SIDE."""
    packed = pack(scenes, device)
    hits = first_hits(packed, image_size)
    label = (hits.surface - (FIRST_BODY - 1)).clamp(min=0)
    masks = _to_images(majority(label, hits.depth)[None], image_size)[..., 0]
    return TracedScenes(packed, hits, masks)


def shade_scenes(traced: TracedScenes) -> RenderedScenes:
    """Shade what is visible."""
    image_size = traced.masks.shape[1]
    shaded = shade(traced.scenes, traced.hits, image_size)
    color = _pixel_means(shaded.color)
    display = torch.sqrt(color.clamp(0, 1))
    images = _to_images((display * 255 + 0.5).to(torch.uint8), image_size)
    in_shadow = shaded.in_shadow.view(-1, SAMPLES_PER_PIXEL, TILE_SIDE * TILE_SIDE).sum(1)
    shadows = _to_images((in_shadow * 2 > SAMPLES_PER_PIXEL)[None].to(torch.uint8), image_size)[..., 0]
    return RenderedScenes(images, traced.masks, shadows)


def majority(
    label: Int[Tensor, "bundles rays"], depth: Float[Tensor, "bundles rays"]
) -> UInt8[Tensor, "bundles pixels"]:
    """Return the most frequent label of each pixel's samples; ties go to the nearer surface."""
    labels = label.view(-1, SAMPLES_PER_PIXEL, TILE_SIDE * TILE_SIDE).unbind(1)
    depths = depth.view(-1, SAMPLES_PER_PIXEL, TILE_SIDE * TILE_SIDE).unbind(1)
    counts = [torch.stack([mine == other for other in labels]).sum(0) for mine in labels]
    winner, most, nearest = labels[0], counts[0], depths[0]
    for mine, count, near in zip(labels[1:], counts[1:], depths[1:], strict=True):
        better = (count > most) | ((count == most) & (near < nearest))
        winner = torch.where(better, mine, winner)
        most = torch.where(better, count, most)
        nearest = torch.where(better, near, nearest)
    return winner.to(torch.uint8)


def _pixel_means(value: Float[Tensor, "channels bundles rays"]) -> Float[Tensor, "channels bundles pixels"]:
    first, second, third, fourth = value.view(len(value), -1, SAMPLES_PER_PIXEL, TILE_SIDE * TILE_SIDE).unbind(2)
    return ((first + second) + (third + fourth)) * 0.25


def _to_images(value: Tensor, image_size: int) -> Tensor:
    """Convert channels x bundles x pixels to scenes x height x width x channels."""
    tiles = image_size // TILE_SIDE
    parts = value.reshape(len(value), -1, tiles, tiles, TILE_SIDE, TILE_SIDE)
    return parts.permute(1, 2, 4, 3, 5, 0).reshape(-1, image_size, image_size, len(value)).contiguous()
