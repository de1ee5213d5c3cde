"""Which slot owns which pixel, by the layers' weights."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from astseg.model.layer_owners import layer_owners


def slot_masks(weights: Float[Tensor, "batch layers height width"]) -> Bool[Tensor, "batch slots height width"]:
    """Return the pixels that each slot owns: those where its weight is the largest of all layers."""
    slots = torch.arange(1, weights.shape[1], device=weights.device)
    return layer_owners(weights)[:, None] == slots[:, None, None]


def pixels_near_objects(
    weights: Float[Tensor, "batch layers height width"],
) -> Bool[Tensor, "batch 1 height width"]:
    """Return the pixels that objects own and the pixels next to them, in which the colors of both are mixed."""
    owned = (layer_owners(weights) > 0)[:, None]
    return F.max_pool2d(owned.to(weights.dtype), 3, 1, 1) > 0


def redistribute(
    weights: Float[Tensor, "batch layers height width"], kept: Bool[Tensor, "batch layers #height #width"]
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights, with those of dropped layers or pixels shared out in proportion among what is kept."""
    # Where nothing is kept, all weights become zero, and the pixel belongs to the first layer: the background.
    remaining = weights * kept
    return remaining / remaining.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
