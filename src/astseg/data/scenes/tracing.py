"""Find the first surface that each ray hits, and how much of the lamp each point sees.

Rays come in bundles (see `culling`). The operations on a ray and their order never depend on other rays.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from astseg.data.scenes.culling import (
    RAYS_PER_BUNDLE,
    SAMPLES_PER_PIXEL,
    TILE_SIDE,
    Pairs,
    by_rank,
    by_shape,
    find_pairs,
    shadowed_tiles,
    visible_tiles,
)
from astseg.data.scenes.packing import FIRST_BODY, FLOOR, SKY, WALL, PackedScenes
from astseg.data.scenes.shapes import MISS, entry_distance
from astseg.data.scenes.vectors import dot, transform

LAMP_CELLS = ((0, 5, 10, 15), (1, 4, 11, 14), (2, 7, 8, 13), (3, 6, 9, 12))
"""Row s holds the cells of a 4 x 4 grid on the lamp that sample s of a pixel tests. Each sample covers each row and
column of the grid once, so that it represents the whole lamp, and the four samples together cover all cells."""


@dataclass(frozen=True)
class Hits:
    """The first surfaces that the rays of all bundles hit."""

    direction: Float[Tensor, "3 bundles rays"]
    """From the camera, of depth one along the viewing direction."""
    depth: Float[Tensor, "bundles rays"]
    surface: Int[Tensor, "bundles rays"]
    """FLOOR, WALL, SKY or FIRST_BODY + the body's index in its scene."""


def first_hits(scenes: PackedScenes, image_size: int) -> Hits:
    """Trace the camera's rays, image_size x image_size pixels with four samples each; bundles are in row order."""
    direction = _camera_rays(scenes, image_size)
    tiles = (image_size // TILE_SIDE) ** 2
    scene = torch.arange(len(scenes), device=scenes.device).repeat_interleave(tiles)[:, None]
    depth, surface = room_hits(scenes, scene, scenes.camera[:, scene], direction)
    pairs = find_pairs(scenes.bodies, scene[:, 0], visible_tiles(scenes, image_size).flatten(0, 1))
    entered = depth.new_empty(len(pairs.bundle), RAYS_PER_BUNDLE)
    for shape, some in by_shape(pairs):
        body, bundle = pairs.body[some], pairs.bundle[some]
        matrix = scenes.bodies.matrix.flatten(2)[:, :, body, None]
        offset = (scenes.camera[:, :, None] - scenes.bodies.center).flatten(1)[:, body, None]
        entered[some] = entry_distance(
            shape,
            transform(matrix, offset),
            transform(matrix, direction[:, bundle]),
            scenes.bodies.parameter.flatten()[body, None],
        )
    label = pairs.body % scenes.bodies.present.shape[1] + FIRST_BODY
    _keep_nearest(pairs, entered, label[:, None], depth, surface)
    return Hits(direction, depth, surface)


def lamp_visibility(
    scenes: PackedScenes,
    point: Float[Tensor, "3 bundles rays"],
    lit: Bool[Tensor, "bundles rays"],
) -> Float[Tensor, "bundles rays"]:
    """Return the share of the lamp that each point sees past the bodies, 0 to 1; 1 for points that are not lit.

    Args:
        scenes: the scenes.
        point: points slightly outside the surfaces.
        lit: the points to compute.
    """
    tiles = point.shape[1] // len(scenes)
    soft = bool((scenes.lamp_half_size > 0).any())
    lamps = _lamp_points(scenes) if soft else scenes.lamp[:, :, None, None]
    scene = torch.arange(len(scenes), device=point.device).repeat_interleave(tiles)
    pairs = find_pairs(scenes.bodies, scene, shadowed_tiles(scenes, point, lit, tiles).flatten(0, 1))
    hidden = torch.zeros(len(pairs.bundle), RAYS_PER_BUNDLE, dtype=torch.uint8, device=point.device)
    for shape, some in by_shape(pairs):
        body, bundle = pairs.body[some], pairs.bundle[some]
        matrix = scenes.bodies.matrix.flatten(2)[:, :, body, None]
        center = scenes.bodies.center.flatten(1)[:, body, None]
        origin = transform(matrix, point[:, bundle] - center).reshape(3, len(body), SAMPLES_PER_PIXEL, -1)
        parameter = scenes.bodies.parameter.flatten()[body, None, None]
        blocked = torch.zeros_like(hidden[some])
        for number in range(lamps.shape[2]):
            lamp = transform(matrix, lamps[:, bundle // tiles, number] - center)[..., None]
            t = entry_distance(shape, origin, lamp - origin, parameter)
            blocked |= (t < 1).flatten(1).to(torch.uint8) << number
        hidden[some] = blocked
    together = torch.zeros(point.shape[1:], dtype=torch.uint8, device=point.device)
    for some in by_rank(pairs):
        bundle = pairs.bundle[some]
        together[bundle] |= hidden[some]
    share = _share_of_bits(lamps.shape[2]).to(point.device)
    return torch.where(lit, share[together.long()], 1.0)


def _share_of_bits(bits: int) -> Tensor:
    """Return the share of bits that are 0, for each number of this many bits."""
    return torch.tensor([1 - number.bit_count() / bits for number in range(2**bits)])


def _camera_rays(scenes: PackedScenes, image_size: int) -> Float[Tensor, "3 bundles rays"]:
    x, y = (place.to(scenes.device) for place in _sample_places(image_size))
    right, up, forward = (part[:, :, None, None] for part in (scenes.right, scenes.up, scenes.forward))
    return (forward + right * x + up * y).flatten(1, 2)


@lru_cache(maxsize=8)
def _sample_places(image_size: int) -> tuple[Tensor, Tensor]:
    """Return x (right) and y (up) of every sample, from -1 to 1: tiles x rays, samples before pixels."""
    place = ((np.arange(2 * image_size) + 0.5) / image_size - 1).astype(np.float32)
    count = image_size // TILE_SIDE
    # Along one side of the image: tiles x samples of a pixel x pixels of a tile.
    side = place.reshape(count, TILE_SIDE, 2).transpose(0, 2, 1)
    full = (count, count, 2, 2, TILE_SIDE, TILE_SIDE)
    x = np.broadcast_to(side[None, :, None, :, None, :], full)
    y = np.broadcast_to(-side[:, None, :, None, :, None], full)
    return (
        torch.from_numpy(x.reshape(count * count, RAYS_PER_BUNDLE).copy()),
        torch.from_numpy(y.reshape(count * count, RAYS_PER_BUNDLE).copy()),
    )


def room_hits(
    scenes: PackedScenes,
    scene: Int[Tensor, "*#rays"],
    origin: Float[Tensor, "3 *#rays"],
    direction: Float[Tensor, "3 *rays"],
) -> tuple[Float[Tensor, "*rays"], Int[Tensor, "*rays"]]:
    """Return where rays that start in the room meet it, and which of its surfaces: FLOOR, WALL or SKY."""
    half_width = scenes.half_width[scene]
    x, y, z = torch.where(direction.abs() < 1e-6, 1e-6, direction)
    to_wall = torch.minimum(
        (torch.where(x < 0, -half_width, half_width) - origin[0]) / x,
        (torch.where(y < 0, -half_width, half_width) - origin[1]) / y,
    )
    to_floor = -origin[2] / z
    height = origin[2] + to_wall * z
    surface = torch.where(height < scenes.wall_height[scene], WALL, SKY)
    on_floor = (z < 0) & (to_floor < to_wall)
    return torch.where(on_floor, to_floor, to_wall), torch.where(on_floor, FLOOR, surface)


def single_rays(
    scenes: PackedScenes,
    scene: Int[Tensor, " rays"],
    origin: Float[Tensor, "3 rays"],
    direction: Float[Tensor, "3 rays"],
) -> tuple[Float[Tensor, " rays"], Int[Tensor, " rays"]]:
    """Return where rays outside bundles hit the first body, or MISS, and its index among all scenes' bodies."""
    bodies = scenes.bodies
    offset = bodies.center[:, scene] - origin[..., None]
    ahead = direction[..., None]
    along = dot(offset, ahead).clamp(min=0)
    aside = offset - along * ahead / dot(ahead, ahead)
    near = (dot(aside, aside) < bodies.radius[scene] * bodies.radius[scene]) & bodies.present[scene]
    pairs = find_pairs(bodies, scene, near)
    entered = origin.new_empty(len(pairs.bundle))
    for shape, some in by_shape(pairs, len(entered)):
        body, ray = pairs.body[some], pairs.bundle[some]
        matrix = bodies.matrix.flatten(2)[:, :, body]
        entered[some] = entry_distance(
            shape,
            transform(matrix, origin[:, ray] - bodies.center.flatten(1)[:, body]),
            transform(matrix, direction[:, ray]),
            bodies.parameter.flatten()[body],
        )
    t = torch.full_like(origin[0], MISS)
    first = torch.zeros_like(scene)
    _keep_nearest(pairs, entered, pairs.body, t, first)
    return t, first


def _keep_nearest(pairs: Pairs, entered: Tensor, label: Tensor, nearest: Tensor, first: Tensor) -> None:
    """Update the nearest distance and its label in place where a pair's rays enter its body before."""
    for some in by_rank(pairs):
        bundle = pairs.bundle[some]
        nearer = entered[some] < nearest[bundle]
        nearest[bundle] = torch.where(nearer, entered[some], nearest[bundle])
        first[bundle] = torch.where(nearer, label[some], first[bundle])


def _lamp_points(scenes: PackedScenes) -> Float[Tensor, "3 scenes lamp_samples samples"]:
    """Return the points on each scene's lamp that each sample tests; the lamp is level and slightly turned."""
    cells = np.array(LAMP_CELLS).T  # lamp samples x samples
    across, along = cells % 4 * 0.5 - 0.75, cells // 4 * 0.5 - 0.75
    x = torch.from_numpy((0.96 * across - 0.28 * along).astype(np.float32)).to(scenes.device)
    y = torch.from_numpy((0.28 * across + 0.96 * along).astype(np.float32)).to(scenes.device)
    half = scenes.lamp_half_size[:, None, None]
    lamp = scenes.lamp[:, :, None, None]
    return torch.stack((lamp[0] + half * x, lamp[1] + half * y, (lamp[2] + half * 0).expand(-1, *x.shape)))
