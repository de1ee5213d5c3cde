"""A transposed convolution as one matrix product, which is faster on a CPU where maps are small and channels many."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

MAX_CELLS = 256
"""The largest number of cells of a map for which the product is as fast or faster; in bfloat16 up to five times."""
CELLS_AT_A_TIME = 1024
"""Bounds the memory of the product, which has the output's values once for each part of the kernel."""


class ProductConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution without bias for small maps, computed as a product on a CPU.

    Each cell of the input is multiplied with the whole kernel, and what falls on the same cell of the output is added
    up (``F.fold``). Equal to ``nn.ConvTranspose2d`` up to the order of summation, with the same weight. The weight has
    to be in torch's usual order of memory: `keep_product_layout` restores it after a change to ``channels_last``.
    """

    def forward(
        self, input: Float[Tensor, "batch inputs rows columns"], output_size: list[int] | None = None
    ) -> Float[Tensor, "batch outputs height width"]:
        """Return the enlarged map."""
        # A traced network takes any number of images, which the parts below would fix.
        # Memory is counted on the meta device, as if it were a CPU.
        elsewhere = input.device.type not in ("cpu", "meta")
        if elsewhere or output_size is not None or torch.compiler.is_compiling():
            return super().forward(input, output_size)
        images = max(1, CELLS_AT_A_TIME // input[0, 0].numel())
        return torch.cat([self._product(part) for part in torch.split(input, images)])

    def _product(self, x: Tensor) -> Tensor:
        kernel = self.weight.flatten(1).T  # a row for each output channel and place in the kernel
        cells = x.flatten(2).transpose(0, 1).flatten(1)  # a column for each cell of each image
        parts = (kernel @ cells).view(len(kernel), len(x), -1).transpose(0, 1)
        padding = (int(self.padding[0]), int(self.padding[1]))
        size = [
            (side - 1) * stride - 2 * pad + kernel + extra
            for side, stride, pad, kernel, extra in zip(
                x.shape[-2:], self.stride, padding, self.kernel_size, self.output_padding, strict=True
            )
        ]
        return F.fold(parts, (size[0], size[1]), self.kernel_size, padding=padding, stride=self.stride)


def keep_product_layout(model: nn.Module) -> None:
    """Bring the weights of all such layers of a model into torch's usual order of memory."""
    for layer in model.modules():
        if isinstance(layer, ProductConvTranspose2d):
            layer.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
