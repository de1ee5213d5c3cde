"""The U-net of Table 8."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.single_precision import single_precision


def with_norm_and_celu(convolution: nn.Module, channels: int) -> nn.Sequential:
    """Return a convolution followed by batch normalization and CELU."""
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.CELU())


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size of the map."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class DownsampleBlock(nn.Module):
    """Halves the map, then refines it with a residual convolution (Table 8)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shrink = with_norm_and_celu(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False), outputs)
        self.residual = with_norm_and_celu(conv3x3(outputs, outputs), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Halve and refine a map."""
        x = self.shrink(x)
        return x + self.residual(x)  # type: ignore[no-any-return]


class UpsampleBlock(nn.Module):
    """Refines a map and the skip of its size with a residual convolution, then doubles its sides (Table 8)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = with_norm_and_celu(conv3x3(2 * inputs, 2 * inputs), 2 * inputs)
        self.grow = nn.ConvTranspose2d(2 * inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.normalise = nn.Sequential(nn.BatchNorm2d(outputs), nn.CELU())  # spelled as in saved models

    def forward(self, x: Tensor, skip: Tensor, size: Sequence[int]) -> Tensor:
        """Concatenate, refine and enlarge to ``size``: double, or one pixel more where the skip's side is odd."""
        x = torch.cat((x, skip), 1)
        x = x + self.residual(x)
        return self.normalise(self.grow(x, list(size)))  # type: ignore[no-any-return]


def unet_channels(image_size: tuple[int, int]) -> tuple[int, ...]:
    """Return the channels of the U-net's levels: Table 8, or its deeper, narrower version for sides of 200 and more."""
    if max(image_size) < 200:
        return (80, 128, 192, 256, 256, 256)
    return (48, 64, 96, 128, 128, 256, 256)


class UnetMaps(nn.Module):
    """The U-net of Table 8; its maps have the size of the image.

    Args:
        levels: channels of each level, each half as large as the one before.
        channels: of the maps.
        feature_channels: of a feature map given in place of an image; the maps then have its size.
    """

    def __init__(self, levels: Sequence[int], channels: int, feature_channels: int | None = None) -> None:
        super().__init__()
        self.first = with_norm_and_celu(conv3x3(feature_channels or 3, levels[0]), levels[0])
        self.down = nn.ModuleList(map(DownsampleBlock, levels[:-1], levels[1:]))
        # Spelled as in saved models.
        self.centre = with_norm_and_celu(conv3x3(levels[-1], levels[-1]), levels[-1])
        self.up = nn.ModuleList(map(UpsampleBlock, levels[:0:-1], levels[-2::-1]))
        self.join = with_norm_and_celu(conv3x3(2 * levels[0], channels), channels)
        self.residual = conv3x3(channels, channels)
        self.last = nn.Conv2d(channels, channels, 1, bias=False)

    @property
    def output_layer(self) -> nn.Conv2d:
        """The layer with one row of weights per map; those of the K slots come first."""
        return self.last

    def forward(
        self, images: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return maps of the size of the image."""
        skips = [self.first(images)]
        for block in self.down:
            skips.append(block(skips[-1]))
        x = self.centre(skips[-1])
        for block in self.up:
            skip = skips.pop()
            x = block(x, skip, skips[-1].shape[-2:])
        x = self.join(torch.cat((x, skips[0]), 1))
        x = x + self.residual(x)
        with single_precision(x):  # the slots' attention is among the maps
            return self.last(x.to(self.last.weight.dtype))  # type: ignore[no-any-return]
