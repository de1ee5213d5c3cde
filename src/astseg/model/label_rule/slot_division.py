"""Slots that hold two objects. Not in the paper."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy import ndimage
from torch import Tensor

from astseg.model.label_rule.mean_field import neighbor_sum
from astseg.model.label_rule.slot_merging import alike_slots

NUM_MAJORITY_STEPS = 2
MAX_TWO_MEANS_STEPS = 12  # most have found their clusters after five


def divide_slots(
    weights: Float[Tensor, "batch layers height width"],
    maps: Float[Tensor, "batch channels height width"],
    division_likeness: float,
    border_exponent: float,
    min_pixels: int,
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Divide slots that hold two objects, the largest first, and their halves in turn, while slots are unused.

    The pixels of a slot are parted in two by the maps. The slot is divided if the halves are not alike, by the
    measure of duplicates; but edges do not count, which objects have inside too.

    Args:
        weights: weights that sum to one over the layers.
        maps: what is compared, such as the images.
        division_likeness: the L1 distance of medians from which on two halves are not alike (`alike_slots`).
        border_exponent: how much it matters how long the border between the halves is.
        min_pixels: pixels that a half needs.

    Returns:
        The weights, and for each slot the one whose pixels it now holds: itself, unless it was unused.
    """
    num_slots = weights.shape[1] - 1

    def are_two(halves: Tensor, maps: Tensor) -> bool:
        alike = alike_slots(halves[None], maps[None], None, division_likeness, border_exponent)
        return int(halves.sum((1, 2)).min()) >= max(1, min_pixels) and not alike[0, 0, 1]

    largest, owners = weights.max(1, keepdim=True)
    divided = [_divide(*one, num_slots, are_two) for one in zip(owners[:, 0].cpu(), maps.cpu(), strict=True)]
    new_owners, origins = (torch.stack(parts).to(weights.device) for parts in zip(*divided, strict=True))
    return weights.scatter(1, owners, 0.0).scatter_add(1, new_owners[:, None], largest), origins


def _divide(
    owners: Int64[Tensor, "height width"],
    maps: Float[Tensor, "channels height width"],
    num_slots: int,
    are_two: Callable[[Tensor, Tensor], bool],
) -> tuple[Int64[Tensor, "height width"], Int64[Tensor, "slots"]]:
    """Return the owners of one image's pixels after division, and the origin of each slot; see `divide_slots`.

    Args:
        owners: the layer that owns each pixel.
        maps: what halves are told by.
        num_slots: K.
        are_two: whether two halves are objects of their own, given their masks and the maps.
    """
    owners, origins = owners.clone(), torch.arange(num_slots)
    pixels = owners.flatten().bincount(minlength=num_slots + 1).tolist()
    used = [slot for slot in range(1, num_slots + 1) if pixels[slot]]
    unused = [slot for slot in range(1, num_slots + 1) if not pixels[slot]]
    waiting = sorted(used, key=lambda slot: -pixels[slot])
    while waiting and unused:
        slot = waiting.pop(0)
        around = _surroundings(owners == slot)
        mask = owners[around] == slot
        half = _smaller_half(mask, maps[:, *around])
        if are_two(torch.stack((mask & ~half, half)), maps[:, *around]):
            other = unused.pop(0)
            owners[around][half] = other
            origins[other - 1] = origins[slot - 1]
            waiting += [slot, other]
    return owners, origins


def _surroundings(mask: Bool[Tensor, "height width"]) -> tuple[slice, slice]:
    """Return the rows and columns of a mask that is not empty, and one more on each side where the image has one."""
    rows, columns = (mask.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
    return slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, columns[0] - 1), columns[-1] + 2)


def _smaller_half(
    mask: Bool[Tensor, "height width"], maps: Float[Tensor, "channels height width"]
) -> Bool[Tensor, "height width"]:
    """Return the pixels of a mask that look unlike the others, and fewer than these; at most half of them.

    They are one of two clusters (2-means), without single pixels, and of this its largest connected piece.
    """
    half = torch.zeros_like(mask)
    half[mask] = _second_of_two_means(maps[:, mask].T)
    for _ in range(NUM_MAJORITY_STEPS):
        votes = neighbor_sum(torch.stack((half, mask)).to(maps.dtype)[None])[0]
        half = mask & (votes[0] > votes[1] / 2)
    if 2 * half.sum() > mask.sum():
        half = mask & ~half
    numbered, _ = ndimage.label(half.numpy(), np.ones((3, 3)))
    sizes = np.bincount(numbered[numbered > 0], minlength=2)
    return torch.from_numpy(numbered == max(1, int(sizes.argmax())))


def _second_of_two_means(points: Float[Tensor, "points channels"]) -> Bool[Tensor, "points"]:
    """Return which points belong to the second of two clusters: 2-means, begun at the mean across the longest axis.

    None does if all points are equal, but for rounding.
    """
    centered = points - points.mean(0)
    longest = torch.linalg.eigh(centered.T @ centered).eigenvectors[:, -1]
    second: Tensor = centered @ longest > 0
    for _ in range(MAX_TWO_MEANS_STEPS):
        if second.all() or not second.any():
            break
        first_mean, second_mean = points[~second].mean(0), points[second].mean(0)
        before, second = second, (points - second_mean).norm(dim=1) < (points - first_mean).norm(dim=1)
        if bool((second == before).all()):
            break
    return second
