"""Select the bodies that each ray may hit.

An image is divided into tiles of 8 x 8 pixels; the 4 x 64 samples of a tile form a bundle of rays. A bundle is tested
only against bodies whose bounding spheres it may hit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from astseg.data.scenes.description import Shape
from astseg.data.scenes.packing import PackedBodies, PackedScenes
from astseg.data.scenes.shapes import MISS
from astseg.data.scenes.vectors import dot

TILE_SIDE = 8
SAMPLES_PER_PIXEL = 4
RAYS_PER_BUNDLE = SAMPLES_PER_PIXEL * TILE_SIDE * TILE_SIDE

MAX_PAIRS_PER_BATCH = 64
"""Few enough for the intermediate results to stay in a CPU's cache."""

ROUNDING_MARGIN = 1e-4
"""Tolerance, so that rounding loses no body."""

LAMP_EXTENT = 1.1
"""Distance of the farthest lamp sample from the lamp's center, in half sides, rounded up."""


@dataclass(frozen=True)
class Pairs:
    """Bundles and bodies of all scenes that may meet, ordered by bundle."""

    bundle: Int[Tensor, " pairs"]
    body: Int[Tensor, " pairs"]
    shape: Int[Tensor, " pairs"]
    rank: Int[Tensor, " pairs"]
    """0 for a bundle's first pair, 1 for its second, and so on."""


def find_pairs(bodies: PackedBodies, scene: Int[Tensor, " bundles"], together: Bool[Tensor, "bundles bodies"]) -> Pairs:
    """List the pairs of bundles and bodies that may meet.

    Args:
        bodies: the bodies of all scenes.
        scene: the scene of each bundle.
        together: which bodies of its scene each bundle may meet.
    """
    bundle, body = together.nonzero().unbind(1)
    body = scene[bundle] * together.shape[1] + body
    counts = torch.bincount(bundle, minlength=len(together))
    first = counts.cumsum(0) - counts
    rank = torch.arange(len(bundle), device=bundle.device) - first[bundle]
    return Pairs(bundle, body, bodies.shape.flatten()[body], rank)


def by_shape(pairs: Pairs, at_once: int | None = None) -> Iterator[tuple[Shape, Int[Tensor, " some"]]]:
    """Yield each shape with the indices of its pairs, at most `at_once` at a time; None suits the device."""
    if at_once is None:
        at_once = MAX_PAIRS_PER_BATCH if pairs.shape.device.type == "cpu" else len(pairs.shape)
    for shape in Shape:
        of_shape = (pairs.shape == shape).nonzero()[:, 0]
        for start in range(0, len(of_shape), max(at_once, 1)):
            yield shape, of_shape[start : start + at_once]


def by_rank(pairs: Pairs) -> Iterator[Int[Tensor, " some"]]:
    """Yield the indices of the pairs in groups in which no bundle occurs twice."""
    for rank in range(int(pairs.rank.max()) + 1 if len(pairs.rank) else 0):
        yield (pairs.rank == rank).nonzero()[:, 0]


def visible_tiles(scenes: PackedScenes, image_size: int) -> Bool[Tensor, "scenes tiles bodies"]:
    """Return which tiles each body's bounding sphere overlaps in the image."""
    count = image_size // TILE_SIDE
    offset = scenes.bodies.center - scenes.camera[:, :, None]
    depth = dot(offset, scenes.forward[:, :, None])
    radius = scenes.bodies.radius
    scale = torch.sqrt(dot(scenes.right, scenes.right))[:, None]
    places = (np.arange(count + 1) * (2 * TILE_SIDE / image_size) - 1).astype(np.float32)
    edges = torch.from_numpy(places).to(scenes.device)
    reached = []
    for axis, sign in ((scenes.right, 1), (scenes.up, -1)):
        aside = dot(offset, axis[:, :, None]) / scale * sign
        # The slopes of the two planes through the camera that touch the sphere solve a quadratic equation.
        square = (depth * depth - radius * radius).clamp(min=1e-6)
        root = radius * torch.sqrt((aside * aside + depth * depth - radius * radius).clamp(min=0))
        low = (aside * depth - root) / (square * scale)
        high = (aside * depth + root) / (square * scale)
        reached.append(
            (edges[:-1] < high[..., None] + ROUNDING_MARGIN) & (edges[1:] > low[..., None] - ROUNDING_MARGIN)
        )
    across, down = reached
    seen = down[..., :, None] & across[..., None, :] | (depth <= radius)[..., None, None]
    return (seen & scenes.bodies.present[..., None, None]).flatten(2).transpose(1, 2)


def shadowed_tiles(scenes: PackedScenes, point: Tensor, lit: Tensor, tiles: int) -> Bool[Tensor, "scenes tiles bodies"]:
    """Return which bundles each body may shadow, because it is near the line from their points to the lamp."""
    low = torch.where(lit, point, MISS).amin(2).view(3, -1, tiles)
    high = torch.where(lit, point, -MISS).amax(2).view(3, -1, tiles)
    some = (low[0] <= high[0])[..., None]
    middle = torch.where(some[..., 0], (low + high) * 0.5, 0.0)
    half = torch.where(some[..., 0], (high - low) * 0.5, 0.0)
    spread = torch.sqrt(dot(half, half))[..., None]
    line = (scenes.lamp[:, :, None] - middle)[..., None]
    offset = scenes.bodies.center[:, :, None, :] - middle[..., None]
    along = (dot(offset, line) / dot(line, line)).clamp(0, 1)
    aside = offset - along * line
    # At a share s of the way to the lamp, a ray is at most spread + lamp * s away from the line. A ray that hits the
    # body does so at s <= furthest.
    lamp = (scenes.lamp_half_size * LAMP_EXTENT)[:, None, None]
    distance = torch.sqrt(dot(line, line))
    near = scenes.bodies.radius[:, None, :] + spread + ROUNDING_MARGIN
    furthest = ((along * distance + near) / (distance - lamp).clamp(min=ROUNDING_MARGIN)).clamp(max=1)
    reach = near + lamp * furthest
    return (dot(aside, aside) < reach * reach) & some & scenes.bodies.present[:, None, :]
