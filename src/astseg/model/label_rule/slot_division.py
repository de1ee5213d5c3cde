"""Slots that hold two objects. Not in the paper."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int, Int64
from scipy import ndimage
from torch import Tensor

from astseg._core.connected_pieces import connected_pieces
from astseg.model.label_rule.slot_merging import alike_slots

NUM_MAJORITY_STEPS = 2
EIGHT_NEIGHBORS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.int8)
MAX_TWO_MEANS_STEPS = 12  # most have found their clusters after five
CHROMATICITY_FLOOR = 0.15
"""Added to the sum of three colors in [0, 1]: the chromaticity of what is nearly black is noise."""


def chromaticities(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Return the share that each color has in a pixel's light, which shading hardly changes.

    Args:
        images: the images, in [0, 1].

    >>> light, shaded, black = torch.tensor([[0.8, 0.4, 0.2], [0.6, 0.3, 0.15], [0.0, 0.0, 0.0]])
    >>> chromaticities(torch.stack((light, shaded, black), 1)[None, :, None])[0, :, 0].T
    tensor([[0.5161, 0.2581, 0.1290],
            [0.5000, 0.2500, 0.1250],
            [0.0000, 0.0000, 0.0000]])
    """
    return images / (images.sum(1, keepdim=True) + CHROMATICITY_FLOOR)


def divide_slots(
    weights: Float[Tensor, "batch layers height width"],
    maps: Float[Tensor, "batch channels height width"],
    division_likeness: float,
    border_exponent: float,
    min_pixels: int,
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Divide slots that hold two objects, the largest first, and their halves in turn, while slots are unused.

    The pixels of a slot are divided into two halves by 2-means of the maps. The slot is divided if `alike_slots` does
    not find the halves alike; edges between them do not count, because objects have edges inside, too.

    Args:
        weights: weights that sum to one over the layers.
        maps: what halves are told by, such as `chromaticities`.
        division_likeness: the least L1 distance of the medians of two halves that are not alike.
        border_exponent: how much the length of the border between the halves counts.
        min_pixels: the least number of pixels of a half.

    Returns:
        The weights, and the source of each slot: the slot whose pixels it now holds, itself unless it was unused.
    """
    num_slots = weights.shape[1] - 1

    def are_two(halves: np.ndarray, maps: np.ndarray) -> bool:
        if int(halves.sum((1, 2)).min()) < max(1, min_pixels):
            return False
        both = torch.from_numpy(halves)[None], torch.from_numpy(maps)[None]
        return not bool(alike_slots(*both, None, division_likeness, border_exponent)[0, 0, 1])

    largest, owners = weights.max(1, keepdim=True)
    # Slots are small, and many: numpy starts on each sooner than torch.
    images = zip(owners[:, 0].cpu().numpy(), maps.cpu().numpy(), strict=True)
    divided = zip(*(_divide(*one, num_slots, are_two) for one in images), strict=True)
    new_owners, source_slots = (torch.from_numpy(np.stack(parts)).to(weights.device) for parts in divided)
    return weights.scatter(1, owners, 0.0).scatter_add(1, new_owners[:, None], largest), source_slots


def second_of_two_means(points: Float[np.ndarray, "points channels"]) -> Bool[np.ndarray, "points"]:
    """Return which points belong to the second of two clusters, by 2-means from a first cut across the longest axis.

    If all points are equal up to rounding, none does.
    """
    centered = points - points.mean(0)
    longest = np.linalg.eigh(centered.T @ centered).eigenvectors[:, -1]
    second: npt.NDArray[np.bool_] = centered @ longest > 0
    for _ in range(MAX_TWO_MEANS_STEPS):
        if second.all() or not second.any():
            break
        first_mean, second_mean = centered[~second].mean(0), centered[second].mean(0)
        # Nearer to the second mean: beyond the middle of the line between the two.
        line = second_mean - first_mean
        before, second = second, centered @ line > (first_mean + second_mean) @ line / 2
        if (second == before).all():
            break
    return second


def _divide(
    owners: Int[np.ndarray, "height width"],
    maps: Float[np.ndarray, "channels height width"],
    num_slots: int,
    are_two: Callable[[np.ndarray, np.ndarray], bool],
) -> tuple[Int[np.ndarray, "height width"], Int[np.ndarray, "slots"]]:
    """Return the owners of one image's pixels after division, and the source of each slot; see `divide_slots`.

    Args:
        owners: the layer that owns each pixel.
        maps: what halves are told by.
        num_slots: K.
        are_two: whether two halves are objects of their own, given their masks and the maps.
    """
    owners, source_slots = owners.copy(), np.arange(num_slots)
    pixels = np.bincount(owners.ravel(), minlength=num_slots + 1).tolist()
    used = [slot for slot in range(1, num_slots + 1) if pixels[slot]]
    unused = [slot for slot in range(1, num_slots + 1) if not pixels[slot]]
    waiting = sorted(used, key=lambda slot: -pixels[slot])
    while waiting and unused:
        slot = waiting.pop(0)
        around = _surroundings(owners == slot)
        mask = owners[around] == slot
        half = _smaller_half(mask, maps[:, *around])
        if are_two(np.stack((mask & ~half, half)), maps[:, *around]):
            other = unused.pop(0)
            owners[around][half] = other
            source_slots[other - 1] = source_slots[slot - 1]
            waiting += [slot, other]
    return owners, source_slots


def _surroundings(mask: Bool[np.ndarray, "height width"]) -> tuple[slice, slice]:
    """Return the rows and columns of a mask that is not empty, and one more on each side where the image has one."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, columns[0] - 1), columns[-1] + 2)


def _smaller_half(
    mask: Bool[np.ndarray, "height width"], maps: Float[np.ndarray, "channels height width"]
) -> Bool[np.ndarray, "height width"]:
    """Return the pixels of a mask that look unlike the others, at most half of them.

    They are the largest connected piece of one of two clusters (2-means), after votes of neighbors have removed single
    pixels.
    """
    half = np.zeros_like(mask)
    second = second_of_two_means(maps[:, mask].T)
    # The smaller cluster, because which one is the second depends on the sign of an eigenvector, and ties of votes go
    # against the half.
    half[mask] = second if 2 * second.sum() <= len(second) else ~second
    voters = _num_neighbors(mask)
    for _ in range(NUM_MAJORITY_STEPS):
        half = mask & (2 * _num_neighbors(half) > voters)
    if 2 * half.sum() > mask.sum():
        half = mask & ~half
    numbered = connected_pieces(half)
    sizes = np.bincount(numbered[numbered > 0], minlength=2)
    piece: npt.NDArray[np.bool_] = numbered == max(1, int(sizes.argmax()))
    return piece


def _num_neighbors(mask: Bool[np.ndarray, "height width"]) -> Int[np.ndarray, "height width"]:
    """Return how many of each pixel's eight neighbors belong to a mask."""
    return ndimage.convolve(mask.astype(np.int8), EIGHT_NEIGHBORS, mode="constant")  # type: ignore[no-any-return]
