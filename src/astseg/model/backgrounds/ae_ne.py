"""AE-NE, the background autoencoder of the paper (reference [35])."""

import itertools
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.backgrounds.base import Background, BackgroundReconstruction, check_min_side
from astseg.model.backgrounds.product_convolution import MAX_CELLS, ProductConvTranspose2d
from astseg.model.single_precision import single_precision

INPUT_RANGE = 255.0
"""The value of white in the encoder's input."""

Complexity: TypeAlias = Literal["simple", "complex"]
"""Narrow channels for one background under changing light, wide channels for many backgrounds."""

_ENCODER_CHANNELS = {
    "simple": {
        5: (3, 64, 160, 160, 32, 16),
        6: (3, 64, 160, 320, 160, 32, 16),
        7: (3, 64, 160, 320, 160, 160, 32, 16),
    },
    "complex": {
        5: (3, 64, 160, 160, 16, 16),
        6: (3, 64, 160, 320, 160, 16, 16),
        7: (3, 64, 320, 640, 640, 320, 16, 16),
    },
}
_DECODER_CHANNELS = {  # in reverse order, from the output to the latent
    "simple": {
        5: (4, 144, 256, 256, 32, 16),
        6: (4, 144, 256, 512, 256, 32, 16),
        7: (4, 144, 256, 512, 256, 256, 32, 16),
    },
    "complex": {
        5: (4, 144, 640, 640, 16, 16),
        6: (4, 144, 640, 1280, 640, 16, 16),
        7: (4, 144, 640, 1280, 640, 320, 16, 16),
    },
}


class ConvGeometry(NamedTuple):
    """How one block reduces one side of the map."""

    size: int
    kernel: int
    stride: int
    padding: int

    @property
    def output(self) -> int:
        """The length of the side after the block."""
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def output_padding(self) -> int:
        """The padding with which the transposed block restores the side."""
        return self.size - ((self.output - 1) * self.stride - 2 * self.padding + self.kernel)


def conv_geometries(side: int, *, large: bool) -> list[ConvGeometry]:
    """Return how the blocks reduce a side to 1.

    Args:
        side: pixels.
        large: whether the longer side of the image has 200 pixels or more; blocks then divide by three, not by two.

    >>> [geometry.output for geometry in conv_geometries(64, large=False)]
    [32, 16, 8, 4, 2, 1]
    """
    geometries = []
    while side > 1:
        if side > 5:
            geometry = ConvGeometry(side, 5, 3 if large else 2, 2)
        elif side >= 4 and not large:
            geometry = ConvGeometry(side, 4, 2, 1)
        else:
            geometry = ConvGeometry(side, side, 1, 0)
        geometries.append(geometry)
        side = geometry.output
    return geometries


def _block_geometries(image_size: tuple[int, int]) -> list[tuple[ConvGeometry, ConvGeometry]]:
    """Return the geometries of height and width of each block; a side that has reached 1 stays at 1."""
    heights, widths = (conv_geometries(side, large=max(image_size) >= 200) for side in image_size)
    return list(itertools.zip_longest(heights, widths, fillvalue=ConvGeometry(1, 1, 1, 0)))


def published_channels(image_size: tuple[int, int], complexity: Complexity) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return AE-NE's channels for images of this height and width.

    Returns:
        The encoder's channels, from the image's three to the latent's, and the decoder's in reverse order, from its
        four outputs, of which the last is the predicted error, to the latent's.

    Raises:
        ValueError: both sides have fewer than 25 pixels; no channels are published for these.
    """
    blocks = len(_block_geometries(image_size))
    return _channels(_ENCODER_CHANNELS[complexity], blocks), _channels(_DECODER_CHANNELS[complexity], blocks)


def _channels(table: dict[int, tuple[int, ...]], blocks: int) -> tuple[int, ...]:
    if blocks in table:
        return table[blocks]
    deepest = max(table)
    if blocks < deepest:
        raise ValueError(f"no background network has {blocks} blocks")
    # Sides of 193 to 199 pixels take more halvings than the published sizes: repeat the middle block's channels.
    channels = table[deepest]
    return channels[:-3] + channels[-4:-3] * (blocks - deepest) + channels[-3:]


def positional_channels(height: int, width: int) -> Float[Tensor, "1 2 height width"]:
    """Return two channels with the vertical and horizontal position of each cell.

    Positions run from -0.5 to 0.5; where a side is 1 they are 1.
    """
    # Not linspace: transformers patches it while reading weights, which can break it on the meta device.
    down, across = (torch.arange(side) / (side - 1) - 0.5 if side > 1 else torch.ones(1) for side in (height, width))
    return torch.stack(torch.meshgrid(down, across, indexing="ij"))[None]


class PositionalBlock(nn.Module):
    """Positional channels, a (transposed) convolution without bias, and group normalization and CELU or a sigmoid."""

    positions: Tensor

    def __init__(self, size: tuple[int, int], convolution: nn.Module, outputs: int, *, last: bool = False) -> None:
        super().__init__()
        self.register_buffer("positions", positional_channels(*size), persistent=False)
        normalization = nn.GroupNorm(max(1, outputs // 16), outputs)
        self.layers = nn.Sequential(convolution, *([nn.Sigmoid()] if last else [normalization, nn.CELU()]))

    def forward(self, x: Tensor) -> Tensor:
        """Append the positions to the map and apply the layers."""
        positions = self.positions.to(x.dtype).expand(x.shape[0], -1, -1, -1)
        return self.layers(torch.cat((x, positions), 1))  # type: ignore[no-any-return]


class BackgroundAutoencoder(Background):
    """AE-NE for images of 32x32 pixels or more.

    Args:
        image_size: height and width in pixels.
        complexity: ``simple`` for one background under changing light, ``complex`` for many backgrounds.

    Raises:
        ValueError: a side has fewer than 32 pixels.
    """

    def __init__(self, image_size: tuple[int, int], complexity: Complexity) -> None:
        super().__init__()
        check_min_side(image_size)
        encoder, decoder = published_channels(image_size, complexity)
        geometries = _block_geometries(image_size)
        self.encoder = nn.Sequential(
            *(
                _encoder_block(*geometry, *channels)
                for geometry, channels in zip(geometries, itertools.pairwise(encoder), strict=True)
            )
        )
        blocks = [
            _decoder_block(*geometry, inputs, outputs, last=level == 0)
            for level, (geometry, (outputs, inputs)) in enumerate(
                zip(geometries, itertools.pairwise(decoder), strict=True)
            )
        ]
        self.decoder = nn.Sequential(*reversed(blocks))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> BackgroundReconstruction:
        """Encode each image as sixteen numbers and decode them."""
        x = self.encoder(INPUT_RANGE * images)
        *hidden, last = self.decoder
        for block in hidden:
            x = block(x)
        with single_precision(x):  # colors of eight bits would differ by half a gray level
            painted = last(x.to(images.dtype))
        return BackgroundReconstruction(painted[:, :3], painted[:, 3:])


def _encoder_block(height: ConvGeometry, width: ConvGeometry, inputs: int, outputs: int) -> PositionalBlock:
    size, kernel, stride, padding = zip(height, width, strict=True)
    return PositionalBlock(size, nn.Conv2d(inputs + 2, outputs, kernel, stride, padding, bias=False), outputs)


def _decoder_block(
    height: ConvGeometry, width: ConvGeometry, inputs: int, outputs: int, *, last: bool
) -> PositionalBlock:
    _, kernel, stride, padding = zip(height, width, strict=True)
    output_padding = (height.output_padding, width.output_padding)
    kind = ProductConvTranspose2d if height.output * width.output <= MAX_CELLS else nn.ConvTranspose2d
    convolution = kind(inputs + 2, outputs, kernel, stride, padding, output_padding, bias=False)
    return PositionalBlock((height.output, width.output), convolution, outputs, last=last)
