"""SegFormer's decoder with its linear layers merged, which computes the same maps several times faster.

The decoder projects the map of each stage to the same number of channels, enlarges it to the first stage's size,
concatenates the four and fuses them by a 1x1 convolution. Enlarging treats all channels alike, so that it commutes with
what is linear in the channels: the part of the fusion that belongs to a stage is merged with the stage's projection,
and the concatenated map, which has four times the channels, is never made. Parameters and gradients stay those of the
separate layers; sums are in another order.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.single_precision import single_precision


def decode(head: Any, stages: Sequence[Tensor]) -> Float[Tensor, "batch channels map_height map_width"]:
    """Return the logits of SegFormer's decoder, as its own ``forward`` does.

    Args:
        head: the ``SegformerDecodeHead`` of the transformers library.
        stages: the encoder's maps, N x channels x height x width, from the largest to the smallest.
    """
    fused = _fused(_projections(head), head.linear_fuse.weight.flatten(1), stages)
    hidden = head.dropout(head.activation(head.batch_norm(fused)))
    weight, bias = head.classifier.weight.flatten(1), head.classifier.bias
    with single_precision(hidden):  # its logits are the slots' attention
        return _linear(hidden.to(weight.dtype), weight, bias)


def _projections(head: Any) -> list[Any]:
    """Return the stages' projections: they are in the decoder's only list, whose name varies between versions."""
    (projections,) = (part for part in head.children() if isinstance(part, nn.ModuleList))
    return [projection.proj for projection in projections]


def _fused(projections: Sequence[Any], fusion: Float[Tensor, "hidden four_hidden"], stages: Sequence[Tensor]) -> Tensor:
    size = stages[0].shape[-2:]
    parts = fusion.chunk(len(stages), 1)[::-1]  # the decoder concatenates the last stage first
    bias = torch.stack([part @ layer.bias for part, layer in zip(parts, projections, strict=True)]).sum(0)
    first, *others = (
        _linear(stage, part @ layer.weight) for part, layer, stage in zip(parts, projections, stages, strict=True)
    )
    enlarged = (F.interpolate(each, size, mode="bilinear", align_corners=False) for each in others)
    return sum(enlarged, first + bias[:, None, None])


def _linear(maps: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return a 1x1 convolution of maps, computed as one matrix product with the channels last."""
    return F.linear(maps.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
