"""Slots that own few pixels, or only show a shadow, are dropped. Not in the paper."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from astseg.model.label_rule.slot_masks import redistribute, slot_masks


def drop_shadow_slots(
    weights: Float[Tensor, "batch layers height width"],
    background_error: Float[Tensor, "batch 1 height width"],
    background_likeness: float,
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights without the slots that only show a shade of the background, such as a shadow on it.

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
    return redistribute(weights, ~F.pad(shades, (1, 0))[..., None, None])


def drop_small_slots(
    weights: Float[Tensor, "batch layers height width"], min_pixels: int
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights without the slots that own fewer than ``min_pixels``."""
    large = slot_masks(weights).sum((2, 3)) >= min_pixels
    return redistribute(weights, F.pad(large, (1, 0), value=True)[..., None, None])
