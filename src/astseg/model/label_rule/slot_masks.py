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
    """Tell which pixels objects own, and those around them, whose colors are mixed with theirs."""
    owned = (layer_owners(weights) > 0)[:, None]
    return F.max_pool2d(owned.to(weights.dtype), 3, 1, 1) > 0


def redistribute(
    weights: Float[Tensor, "batch layers height width"], kept: Bool[Tensor, "batch layers #height #width"]
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights, with those of dropped layers or pixels shared out in proportion among what is kept."""
    # Where no weight is left all become zero, and the first layer then owns the pixel, the background.
    left = weights * kept
    return left / left.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
