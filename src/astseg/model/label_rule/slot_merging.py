"""Slots that share an object are merged. Not in the paper."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from astseg.model.label_rule.mean_field import neighbor_sum, weighted_neighbor_sum
from astseg.model.label_rule.slot_masks import slot_masks


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
        affinities: the affinity of each pixel to its neighbors; None to ignore edges between slots.
        duplicate_likeness: the L1 distance of medians below which slots are alike (`alike_slots`). 0 merges none.
        border_exponent: how much the length of the border between two slots counts.
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
    """Tell which pairs of slots seem to show the same object: they touch, without an edge in between, and look alike.

    There is no edge if the mean affinity where they touch is at least a half. They look alike if the L1 distance of
    their medians is below L b^e, where b is the share of the shorter of their two borders that they have in common: two
    halves of an object have a long border in common, and two objects of like material that happen to touch a short one.

    Args:
        masks: the pixels that each slot owns, none of them twice.
        maps: what is compared.
        affinities: the affinity of each pixel to its neighbors; None to ignore edges.
        likeness: L, the distance below which slots look alike if all of the shorter border is in common.
        border_exponent: e. With 0, touching is enough.
    """
    shares = masks.to(maps.dtype)
    contacts = torch.einsum("bihw, bjhw -> bij", shares, neighbor_sum(shares))
    touching = contacts > 0
    if affinities is not None:
        strengths = torch.einsum("bihw, bjhw -> bij", shares, weighted_neighbor_sum(shares, affinities))
        touching &= strengths >= contacts / 2
    # Medians are robust to a few foreign pixels. That of a slot without pixels is NaN, so it is like no other.
    medians = torch.where(masks[:, :, None], maps[:, None], torch.nan).flatten(3).nanmedian(-1).values
    distances = (medians[:, :, None] - medians[:, None]).abs().sum(-1)
    limits: Tensor | float = likeness
    if border_exponent:
        neighbors = neighbor_sum(torch.ones_like(shares[:, :1]))
        borders = (shares * neighbors).sum((2, 3)) - contacts.diagonal(dim1=1, dim2=2)
        common = contacts / torch.minimum(borders[:, :, None], borders[:, None]).clamp(min=1)
        limits = likeness * common**border_exponent
    return touching & (distances < limits)
