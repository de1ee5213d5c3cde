"""SegFormer's convolutions in forms that a CPU computes faster, with the same parameters."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.single_precision import single_precision

SLOW_CELLS = 4
"""Cells of a map up to which the gradient of a depthwise convolution takes five times as long in bfloat16."""


class PatchConv2d(nn.Conv2d):
    """A convolution over patches side by side, computed as one matrix product with the channels last."""

    def forward(self, input: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch outputs down across"]:
        """Return a value for each patch."""
        (height, width), (rows, columns) = self.kernel_size, input.shape[-2:]
        if rows % height or columns % width:
            return super().forward(input)
        shape = (input.shape[0], rows // height, height, columns // width, width, self.in_channels)
        patches = input.permute(0, 2, 3, 1).reshape(shape).transpose(2, 3).flatten(3)  # batch, down, across, patch
        return F.linear(patches, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias).permute(0, 3, 1, 2)


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution in single precision where bfloat16 would be slower."""

    def forward(self, input: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch channels _ _"]:
        """Return the convolved map, in the type of the input."""
        if input.shape[-2] * input.shape[-1] > SLOW_CELLS:
            return super().forward(input)
        with single_precision(input):
            return super().forward(input.to(self.weight.dtype)).to(input.dtype)


def use_faster_convolutions(network: nn.Module) -> None:
    """Have the convolutions of a network compute as the classes above where they can."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d:
            if layer.kernel_size == layer.stride and layer.kernel_size != (1, 1):
                layer.__class__ = PatchConv2d  # a new layer would take numbers from the source of the weights
            elif layer.groups > 1:
                layer.__class__ = DepthwiseConv2d
