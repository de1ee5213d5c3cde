"""Which slots make an object. Not in the paper.

Slots that show a shadow are dropped, those that share an object merged, and parts of a slot that do not touch made
objects of their own. Those that hold two objects are divided in `slot_division`.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from scipy import ndimage
from torch import Tensor

from astseg.model.label_rule.mean_field import neighbor_sum, weighted_neighbor_sum
from astseg.model.layer_owners import layer_owners


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
    maps: Float[Tensor, "batch channels height width"],
    affinities: Float[Tensor, "neighbors batch 1 height width"] | None,
    duplicate_likeness: float,
    border_exponent: float = 0.0,
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights with slots that share an object merged: the slot with the most pixels gets all their weight.

    Args:
        weights: weights that sum to one over the layers.
        maps: what is compared, such as the images.
        affinities: the affinity of each pixel to its neighbors. Without, no edge parts slots that touch.
        duplicate_likeness: an L1 distance of medians (`alike_slots`). 0 merges none.
        border_exponent: how much it matters how long the border between two slots is.
    """
    if not duplicate_likeness:
        return weights
    masks = slot_masks(weights)
    slots = masks.shape[1]
    same = alike_slots(masks, maps, affinities, duplicate_likeness, border_exponent)
    connected = (same | torch.eye(slots, dtype=torch.bool, device=same.device)).to(weights.dtype)
    for _ in range(slots.bit_length()):  # the transitive closure, by repeated squaring
        connected = (connected @ connected).clamp(max=1)
    # One is added to the pixel counts, so that a slot without pixels owns itself.
    owner = (connected * (1 + masks.to(weights.dtype).sum((2, 3)))[:, None]).argmax(-1)
    merged = torch.zeros_like(weights[:, 1:]).scatter_add_(1, owner[..., None, None].expand_as(masks), weights[:, 1:])
    return torch.cat((weights[:, :1], merged), 1)


def alike_slots(
    masks: Bool[Tensor, "batch slots height width"],
    maps: Float[Tensor, "batch channels height width"],
    affinities: Float[Tensor, "neighbors batch 1 height width"] | None,
    likeness: float,
    border_exponent: float,
) -> Bool[Tensor, "batch slots slots"]:
    """Tell which pairs of slots show the same object, as far as one can tell from outside.

    They do if they touch, no edge runs between them, and they look the same: the mean affinity where they touch is at
    least a half, and the L1 distance of their medians is below L b^e. Here b is the part of its border that the
    slot with the shorter border has in common with the other, at most 1: the two halves of an object have a long border
    in common, and two objects of like material that happen to touch have a short one.

    Args:
        masks: the pixels that each slot owns, none of them twice.
        maps: what is compared.
        affinities: the affinity of each pixel to its neighbors. Without, no edge parts slots that touch.
        likeness: L, the largest distance.
        border_exponent: e. With 0, touching is enough.
    """
    shares = masks.to(maps.dtype)
    contacts = torch.einsum("bihw, bjhw -> bij", shares, neighbor_sum(shares))
    touching = contacts > 0
    if affinities is not None:
        strengths = torch.einsum("bihw, bjhw -> bij", shares, weighted_neighbor_sum(shares, affinities))
        touching &= strengths >= contacts / 2
    # Medians are robust to a few foreign pixels. The median of a slot without pixels is NaN, which is near none.
    medians = torch.where(masks[:, :, None], maps[:, None], torch.nan).flatten(3).nanmedian(-1).values
    distances = (medians[:, :, None] - medians[:, None]).abs().sum(-1)
    limits: Tensor | float = likeness
    if border_exponent:
        neighbors = neighbor_sum(torch.ones_like(shares[:, :1]))
        borders = (shares * neighbors).sum((2, 3)) - contacts.diagonal(dim1=1, dim2=2)
        common = contacts / torch.minimum(borders[:, :, None], borders[:, None]).clamp(min=1)
        limits = likeness * common**border_exponent
    return touching & (distances < limits)


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
    kept = torch.ones_like(weights, dtype=torch.bool)
    origins = torch.arange(num_slots).repeat(len(weights), 1)
    moved = weights.clone()
    for index, owner in enumerate(owners):
        parts = []
        for slot in np.unique(owner[owner > 0]).tolist():
            numbered, count = ndimage.label(owner == slot, np.ones((3, 3)))
            parts += [(int((numbered == part).sum()), slot, numbered == part) for part in range(1, count + 1)]
        parts.sort(key=lambda part: -part[0])
        used: set[int] = set()
        waiting = []
        for pixels, slot, mask in parts:
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
                origins[index, other - 1] = slot - 1
    return _redistribute(moved, kept), origins.to(weights.device)


def pixels_near_objects(
    weights: Float[Tensor, "batch layers height width"],
) -> Bool[Tensor, "batch 1 height width"]:
    """Tell which pixels objects own, and those around them, whose colors are mixed with theirs."""
    owned = (layer_owners(weights) > 0)[:, None]
    return F.max_pool2d(owned.to(weights.dtype), 3, 1, 1) > 0


def fill_unused_slots(
    weights: Float[Tensor, "batch layers height width"], more: Float[Tensor, "batch layers height width"]
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Give further objects, the largest first, to the slots that own no pixel.

    The background's share of each pixel is divided as ``more`` divides the pixel. Objects for which no slot is left
    stay background.

    Args:
        weights: they sum to one over the layers.
        more: what was found besides, in as many slots; likewise.

    Returns:
        The weights, and for each slot whose object it now holds: its own, or if it was unused, that of the slot of
        ``more`` whose number is this less the number of slots.
    """
    pixels, more_pixels = (slot_masks(one).sum((2, 3)) for one in (weights, more))
    unused_first = (pixels > 0).int().argsort(dim=1, stable=True)
    largest_first = more_pixels.argsort(dim=1, descending=True, stable=True)
    filled = (pixels.gather(1, unused_first) == 0) & (more_pixels.gather(1, largest_first) > 0)
    across = (*filled.shape, *weights.shape[-2:])
    objects = more[:, 1:].gather(1, largest_first[..., None, None].expand(across)) * filled[..., None, None]
    objects = torch.zeros_like(objects).scatter_(1, unused_first[..., None, None].expand(across), objects)
    background = weights[:, :1]
    divided = torch.cat((background * (1 - objects.sum(1, keepdim=True)), weights[:, 1:] + background * objects), 1)
    sources = torch.where(filled, largest_first + filled.shape[1], unused_first)
    return divided, torch.zeros_like(sources).scatter_(1, unused_first, sources)


def drop_specks(
    weights: Float[Tensor, "batch layers height width"], min_pixels: int
) -> Float[Tensor, "batch layers height width"]:
    """Give the parts of slots that have fewer than ``min_pixels`` to the other layers, but not a slot's largest part.

    Args:
        weights: they sum to one over the layers.
        min_pixels: pixels that a part needs.
    """
    kept = torch.ones_like(weights, dtype=torch.bool)
    for index, owners in enumerate(layer_owners(weights).cpu().numpy()):
        for slot, around in enumerate(ndimage.find_objects(owners), 1):
            if around is not None:
                numbered, _ = ndimage.label(owners[around] == slot, np.ones((3, 3)))
                sizes = np.bincount(numbered.flat)
                large = sizes >= min(min_pixels, sizes[1:].max())
                kept[index, slot][around] = torch.from_numpy(large[numbered] | (numbered == 0)).to(kept.device)
    return _redistribute(weights, kept)
