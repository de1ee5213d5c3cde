"""The networks that turn an image into attention logits and a feature map.

SegFormer, the U-net of Table 8, and a compact U-net for machines without a GPU. Each is a module that maps N x 3 x H
x W in [0, 1] to N x channels x h x w; the first K channels are the attention logits of the K slots, the others the
feature map.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.segformer_names import current_names, first_name

FeatureNetwork: TypeAlias = Literal[
    "segformer-b0",
    "segformer-b1",
    "segformer-b2",
    "segformer-b3",
    "segformer-b4",
    "segformer-b5",
    "unet",
    "compact-unet",
]


@dataclass(frozen=True)
class MixTransformerSize:
    """What tells the sizes of SegFormer's backbone apart."""

    hidden_sizes: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    decoder_hidden_size: int


_WIDE = (64, 128, 320, 512)
MIX_TRANSFORMER_SIZES: Mapping[str, MixTransformerSize] = MappingProxyType(
    {
        "segformer-b0": MixTransformerSize((32, 64, 160, 256), (2, 2, 2, 2), 256),
        "segformer-b1": MixTransformerSize(_WIDE, (2, 2, 2, 2), 256),
        "segformer-b2": MixTransformerSize(_WIDE, (3, 4, 6, 3), 768),
        "segformer-b3": MixTransformerSize(_WIDE, (3, 4, 18, 3), 768),
        "segformer-b4": MixTransformerSize(_WIDE, (3, 8, 27, 3), 768),
        "segformer-b5": MixTransformerSize(_WIDE, (3, 6, 40, 3), 768),
    }
)

COMPACT_UNET_CHANNELS = (16, 32, 48, 64)


class SegformerMaps(nn.Module):
    """SegFormer with random weights; its maps have a quarter of the image's height and width.

    ``astseg.model.backbone_weights.load_backbone`` gives its backbone pretrained weights.
    """

    def __init__(self, size: MixTransformerSize, channels: int) -> None:
        super().__init__()
        # Here, because it takes longer to import than all else, and the other networks need none of it.
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        self.network = SegformerForSemanticSegmentation(
            SegformerConfig(
                hidden_sizes=list(size.hidden_sizes),
                depths=list(size.depths),
                decoder_hidden_size=size.decoder_hidden_size,
                num_labels=channels,  # type: ignore[call-arg]
            )
        )
        self.register_state_dict_post_hook(_to_first_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_to_current_names)  # type: ignore[no-untyped-call]

    @property
    def output_layer(self) -> nn.Conv2d:
        """The layer with a row of weights for each map: the K slots' come first."""
        return self.network.decode_head.classifier

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """Return the decoder's logits."""
        logits: Tensor = self.network(pixel_values=images).logits
        return logits


def _to_first_names(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        state[prefix + first_name(name.removeprefix(prefix))] = state.pop(name)


def _to_current_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    own = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    for first, current in current_names(own).items():
        if prefix + first in state:
            state[prefix + current] = state.pop(prefix + first)


def _normalised(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.CELU())


def _same(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class DownsampleBlock(nn.Module):
    """Halves the map, then refines it with a residual convolution (Table 8)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shrink = _normalised(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False), outputs)
        self.residual = _normalised(_same(outputs, outputs), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Halve and refine."""
        x = self.shrink(x)
        return x + self.residual(x)  # type: ignore[no-any-return]


class UpsampleBlock(nn.Module):
    """Refines a map beside the skip of its size with a residual convolution, then doubles it (Table 8)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = _normalised(_same(2 * inputs, 2 * inputs), 2 * inputs)
        self.grow = nn.ConvTranspose2d(2 * inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.normalise = nn.Sequential(nn.BatchNorm2d(outputs), nn.CELU())

    def forward(self, x: Tensor, skip: Tensor, size: Sequence[int]) -> Tensor:
        """Join, refine and grow to ``size``, which is one pixel more than double where a side is odd."""
        x = torch.cat((x, skip), 1)
        x = x + self.residual(x)
        doubled = self.grow(x, list(size))
        return self.normalise(doubled)  # type: ignore[no-any-return]


def unet_channels(image_size: tuple[int, int]) -> tuple[int, ...]:
    """Return the channels of the U-net's levels: Table 8, or the deeper and slimmer one for sides of 200 and more."""
    if max(image_size) < 200:
        return (80, 128, 192, 256, 256, 256)
    return (48, 64, 96, 128, 128, 256, 256)


class UnetMaps(nn.Module):
    """The U-net of Table 8; its maps are as large as the image."""

    def __init__(self, levels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.first = _normalised(_same(3, levels[0]), levels[0])
        self.down = nn.ModuleList(map(DownsampleBlock, levels[:-1], levels[1:]))
        self.centre = _normalised(_same(levels[-1], levels[-1]), levels[-1])
        self.up = nn.ModuleList(map(UpsampleBlock, levels[:0:-1], levels[-2::-1]))
        self.join = _normalised(_same(2 * levels[0], channels), channels)
        self.residual = _same(channels, channels)
        self.last = nn.Conv2d(channels, channels, 1, bias=False)

    @property
    def output_layer(self) -> nn.Conv2d:
        """The layer with a row of weights for each map: the K slots' come first."""
        return self.last

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels height width"]:
        """Return maps as large as the image."""
        skips = [self.first(images)]
        for block in self.down:
            skips.append(block(skips[-1]))
        x = self.centre(skips[-1])
        for block in self.up:
            skip = skips.pop()
            x = block(x, skip, skips[-1].shape[-2:])
        x = self.join(torch.cat((x, skips[0]), 1))
        return self.last(x + self.residual(x))  # type: ignore[no-any-return]


class CompactUnetMaps(nn.Module):
    """A small U-net whose skips are added; its maps have a quarter of the image's height and width.

    Not in the paper. It takes about a fiftieth of SegFormer-B3's arithmetic, for training on a CPU.
    """

    def __init__(self, channels: int, levels: Sequence[int] = COMPACT_UNET_CHANNELS) -> None:
        super().__init__()
        self.stem = _normalised(nn.Conv2d(3, levels[0], 5, stride=2, padding=2, bias=False), levels[0])
        self.down = nn.ModuleList(map(DownsampleBlock, levels[:-1], levels[1:]))
        self.centre = _normalised(_same(levels[-1], levels[-1]), levels[-1])
        self.lateral = nn.ModuleList(nn.Conv2d(deep, shallow, 1) for shallow, deep in itertools.pairwise(levels[1:]))
        self.refine = nn.ModuleList(_normalised(_same(level, level), level) for level in levels[1:-1])
        self.last = nn.Sequential(
            _normalised(_same(levels[1], levels[1]), levels[1]), nn.Conv2d(levels[1], channels, 1)
        )

    @property
    def output_layer(self) -> nn.Conv2d:
        """The layer with a row of weights for each map: the K slots' come first."""
        return self.last[-1]  # type: ignore[return-value]

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """Return maps of a quarter of the image's sides."""
        x = self.stem(images)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = x + self.centre(x)
        for lateral, refine, skip in zip(reversed(self.lateral), reversed(self.refine), skips[-2::-1], strict=True):
            x = skip + F.interpolate(lateral(x), skip.shape[-2:], mode="bilinear", align_corners=False)
            x = x + refine(x)
        return self.last(x)  # type: ignore[no-any-return]


def build_feature_maps(
    network: FeatureNetwork, image_size: tuple[int, int], channels: int
) -> SegformerMaps | UnetMaps | CompactUnetMaps:
    """Build a feature network for images of a height and width.

    Raises:
        ValueError: the image is too small for the network's levels.
    """
    if network == "unet":
        levels = unet_channels(image_size)
        _check_sides(network, image_size, 2 ** (len(levels) - 1))
        return UnetMaps(levels, channels)
    _check_sides(network, image_size, 16)
    if network == "compact-unet":
        return CompactUnetMaps(channels)
    return SegformerMaps(MIX_TRANSFORMER_SIZES[network], channels)


def _check_sides(network: str, image_size: tuple[int, int], smallest: int) -> None:
    if min(image_size) < smallest:
        raise ValueError(f"{network} needs at least {smallest} pixels a side here, not {image_size[0]}x{image_size[1]}")
