"""Unused slots take the objects that a second look finds. Not in the paper."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from astseg.model.label_rule.slot_masks import slot_masks


def fill_unused_slots(
    weights: Float[Tensor, "batch layers height width"], more: Float[Tensor, "batch layers height width"]
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Give further objects, the largest first, to the slots that own no pixel.

    The background's share of each pixel is divided as ``more`` divides the pixel. If there are too few unused slots,
    the remaining objects stay background.

    Args:
        weights: the weights of the first look, which sum to one over the layers.
        more: the weights of the second look, in as many slots, which sum to one as well.

    Returns:
        The weights, and the source of each slot: the slot whose object it now holds. The K slots of ``more`` are
        numbered from K on, as `ObjectLatents.join` puts their latents behind the others.
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
