"""Which slots make an object: shadows dropped, duplicates merged, separate parts split. Not in the paper."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from scipy import ndimage
from torch import Tensor

from astseg.model.layer_owners import layer_owners
from astseg.model.mean_field import weighted_neighbor_sum


def drop_shadow_slots(
    weights: Float[Tensor, "batch layers height width"],
    background_error: Float[Tensor, "batch 1 height width"],
    background_likeness: float,
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights without the slots that only show a shade of the background.

    Args:
        weights: weights that sum to one over the layers.
        background_error: the L1 distance of each pixel from the best-fitting shade of the background.
        background_likeness: a slot is dropped if the median distance of its pixels is below this. 0 drops none.
    """
    if not background_likeness:
        return weights
    # The median keeps an object whose mask includes its shadow, as long as most pixels are the object's.
    errors = torch.where(slot_masks(weights), background_error, torch.nan).flatten(2).nanmedian(-1).values
    shades = errors < background_likeness  # false for a slot without pixels, whose median is NaN
    return _redistribute(weights, ~F.pad(shades, (1, 0))[..., None, None])


def drop_small_slots(
    weights: Float[Tensor, "batch layers height width"], min_pixels: int
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights without the slots that own fewer than ``min_pixels``."""
    large = slot_masks(weights).sum((2, 3)) >= min_pixels
    return _redistribute(weights, F.pad(large, (1, 0), value=True)[..., None, None])


def slot_masks(weights: Float[Tensor, "batch layers height width"]) -> Bool[Tensor, "batch slots height width"]:
    """Return the pixels that each slot owns: those where its weight is the largest of all layers."""
    slots = torch.arange(1, weights.shape[1], device=weights.device)
    return layer_owners(weights)[:, None] == slots[:, None, None]


def _redistribute(
    weights: Float[Tensor, "batch layers height width"], kept: Bool[Tensor, "batch layers #height #width"]
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights, with those of dropped layers or pixels shared out in proportion among what is kept."""
    # Where no weight is left all become zero, and the first layer then owns the pixel, the background.
    left = weights * kept
    return left / left.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)


def merge_duplicate_slots(
    weights: Float[Tensor, "batch layers height width"],
    images: Float[Tensor, "batch 3 height width"],
    affinities: Float[Tensor, "neighbors batch 1 height width"],
    duplicate_likeness: float,
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights with slots that share an object merged: the slot with the most pixels gets all their weight.

    Two slots share an object if they touch, have the same color, and no edge runs between them: their median colors
    differ by less than ``duplicate_likeness``, and the mean affinity where they touch is at least a half.

    Args:
        weights: weights that sum to one over the layers.
        images: the images.
        affinities: the affinity of each pixel to its neighbors.
        duplicate_likeness: an L1 distance of colors. 0 merges none.
    """
    if not duplicate_likeness:
        return weights
    owned = slot_masks(weights)
    masks = owned.to(weights.dtype)
    contacts, contact_affinities = (
        torch.einsum("bihw, bjhw -> bij", masks, weighted_neighbor_sum(masks, strengths))
        for strengths in (torch.ones_like(affinities), affinities)
    )
    # Medians are robust to a few foreign pixels. The median of a slot without pixels is NaN, which is near none.
    colors = torch.where(owned[:, :, None], images[:, None], torch.nan).flatten(3).nanmedian(-1).values
    near = (colors[:, :, None] - colors[:, None]).abs().sum(-1) < duplicate_likeness
    slots = masks.shape[1]
    same = (contacts > 0) & (contact_affinities >= contacts / 2) & near
    connected = (same | torch.eye(slots, dtype=torch.bool, device=near.device)).to(weights.dtype)
    for _ in range(slots.bit_length()):  # the transitive closure, by repeated squaring
        connected = (connected @ connected).clamp(max=1)
    # One is added to the pixel counts, so that a slot without pixels owns itself.
    owner = (connected * (1 + masks.sum((2, 3)))[:, None]).argmax(-1)
    merged = torch.zeros_like(weights[:, 1:]).scatter_add_(1, owner[..., None, None].expand_as(masks), weights[:, 1:])
    return torch.cat((weights[:, :1], merged), 1)


def split_parts(
    weights: Float[Tensor, "batch layers height width"], min_pixels: int
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Give the parts of each slot that do not touch to slots of their own, the largest parts first.

    Parts of fewer than ``min_pixels`` go to the other layers; those for which no slot is left stay with their own.

    Args:
        weights: they sum to one over the layers.
        min_pixels: pixels that a part needs.

    Returns:
        The weights, and for each slot the one whose part it now holds: itself, unless it was unused.
    """
    owners = layer_owners(weights).cpu().numpy()
    num_slots = weights.shape[1] - 1
    kept = torch.zeros_like(weights, dtype=torch.bool)
    kept[:, 0] = True
    origins = torch.arange(num_slots).repeat(len(weights), 1)
    moved = weights.clone()
    for index, owner in enumerate(owners):
        parts = []
        for slot in np.unique(owner[owner > 0]).tolist():
            numbered, count = ndimage.label(owner == slot, np.ones((3, 3)))
            parts += [(int((numbered == part).sum()), slot, numbered == part) for part in range(1, count + 1)]
        parts = sorted((part for part in parts if part[0] >= min_pixels), key=lambda part: -part[0])
        used: set[int] = set()
        waiting = []
        for _, slot, mask in parts:  # the largest part of each slot stays with it
            where = torch.from_numpy(mask).to(weights.device)
            if slot in used:
                waiting.append((slot, where))
            else:
                used.add(slot)
                kept[index, slot] = where
        unused = iter(slot for slot in range(1, num_slots + 1) if slot not in used)
        for slot, where in waiting:
            other = next(unused, slot)
            moved[index, other][where] = weights[index, slot][where]
            kept[index, other] |= where
            origins[index, other - 1] = slot - 1
    return _redistribute(moved, kept), origins.to(weights.device)
