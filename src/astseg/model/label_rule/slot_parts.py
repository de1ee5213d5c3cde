"""Parts of a slot that do not touch: they become objects of their own, or are dropped. Not in the paper."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy import ndimage
from torch import Tensor

from astseg._core.connected_pieces import connected_pieces
from astseg.model.label_rule.slot_masks import redistribute
from astseg.model.layer_owners import layer_owners


def split_parts(
    weights: Float[Tensor, "batch layers height width"], min_pixels: int
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Give the parts of each slot that do not touch to slots of their own, the largest parts first.

    Parts of fewer than ``min_pixels`` go to the other layers. If there are too few unused slots, further parts stay
    with their slot.

    Args:
        weights: weights that sum to one over the layers.
        min_pixels: the least number of pixels of a part.

    Returns:
        The weights, and the source of each slot: the slot whose part it now holds, itself unless it was unused.
    """
    owners = layer_owners(weights).cpu().numpy()
    num_slots = weights.shape[1] - 1
    kept = torch.ones_like(weights, dtype=torch.bool)
    source_slots = torch.arange(num_slots).repeat(len(weights), 1)
    moved = weights.clone()
    for index, owner in enumerate(owners):
        used: set[int] = set()
        waiting = []
        for slot, pixels, mask in _connected_parts(owner):
            where = torch.from_numpy(mask).to(weights.device)
            if pixels < min_pixels:
                kept[index, slot][where] = False
            elif slot in used:
                waiting.append((slot, where))
            else:  # the largest part of each slot stays with it
                used.add(slot)
        unused = iter(slot for slot in range(1, num_slots + 1) if slot not in used)
        for slot, where in waiting:
            other = next(unused, slot)
            if other != slot:
                moved[index, other] = torch.where(where, weights[index, slot], 0)
                kept[index, slot][where] = False
                kept[index, other] = where
                source_slots[index, other - 1] = slot - 1
    return redistribute(moved, kept), source_slots.to(weights.device)


class _Part(NamedTuple):
    """A connected part of a slot's pixels."""

    slot: int
    pixels: int
    mask: Bool[np.ndarray, "height width"]


def _connected_parts(owners: Int64[np.ndarray, "height width"]) -> list[_Part]:
    """Return the parts of all slots that do not touch each other, the largest first; corners touch."""
    parts = []
    for slot in np.unique(owners[owners > 0]).tolist():
        numbered = connected_pieces(owners == slot)
        masks = (numbered == number for number in range(1, int(numbered.max()) + 1))
        parts += [_Part(slot, int(mask.sum()), mask) for mask in masks]
    return sorted(parts, key=lambda part: -part.pixels)


def drop_specks(
    weights: Float[Tensor, "batch layers height width"], min_pixels: int
) -> Float[Tensor, "batch layers height width"]:
    """Give parts of fewer than ``min_pixels`` to the other layers, except for the largest part of each slot.

    Args:
        weights: weights that sum to one over the layers.
        min_pixels: the least number of pixels of a part.
    """
    kept = torch.ones_like(weights, dtype=torch.bool)
    for index, owners in enumerate(layer_owners(weights).cpu().numpy()):
        for slot, around in enumerate(ndimage.find_objects(owners), 1):
            if around is not None:
                numbered = connected_pieces(owners[around] == slot)
                sizes = np.bincount(numbered.flat)
                large = sizes >= min(min_pixels, sizes[1:].max())
                kept[index, slot][around] = torch.from_numpy(large[numbered] | (numbered == 0)).to(kept.device)
    return redistribute(weights, kept)
