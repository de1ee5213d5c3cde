"""AE-NE, the background autoencoder of the paper (reference [35])."""

import itertools
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.backgrounds.base import BackgroundReconstruction, check_min_side

INPUT_RANGE = 255.0
"""How white is shown to the encoder."""

Complexity: TypeAlias = Literal["simple", "complex"]
"""Narrow channels for one background under changing light, wide ones for many backgrounds."""

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
_DECODER_CHANNELS = {  # from the image to the latent
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
    """How one block shrinks one side of the map."""

    size: int
    kernel: int
    stride: int
    padding: int

    @property
    def output(self) -> int:
        """The side after the block."""
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1


def conv_geometries(side: int, *, large: bool) -> list[ConvGeometry]:
    """Return how the blocks shrink a side to 1.

    Args:
        side: pixels.
        large: whether the longer side of the image has 200 pixels or more; then blocks shrink by three, not by two.

    >>> [step.output for step in conv_geometries(64, large=False)]
    [32, 16, 8, 4, 2, 1]
    """
    steps = []
    while side > 1:
        if side > 5:
            step = ConvGeometry(side, 5, 3 if large else 2, 2)
        elif side >= 4 and not large:
            step = ConvGeometry(side, 4, 2, 1)
        else:
            step = ConvGeometry(side, side, 1, 0)
        steps.append(step)
        side = step.output
    return steps


def _block_geometries(image_size: tuple[int, int]) -> list[tuple[ConvGeometry, ConvGeometry]]:
    """Return the steps of height and width, block by block; a side that has reached 1 waits for the other."""
    large = max(image_size) >= 200
    heights, widths = (conv_geometries(side, large=large) for side in image_size)
    blocks = max(len(heights), len(widths))
    wait = ConvGeometry(1, 1, 1, 0)
    return [
        (steps_h, steps_w)
        for steps_h, steps_w in zip(_pad(heights, blocks, wait), _pad(widths, blocks, wait), strict=True)
    ]


def _pad(steps: list[ConvGeometry], blocks: int, wait: ConvGeometry) -> list[ConvGeometry]:
    return steps + [wait] * (blocks - len(steps))


def published_channels(image_size: tuple[int, int], complexity: Complexity) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return AE-NE's channels for images of a height and width.

    Returns:
        The encoder's, from the image's three to the latent, and the decoder's, from the image's four, of which the
        last is the predicted error, to the latent.

    Raises:
        ValueError: both sides are shorter than 17 pixels, for which there are none.
    """
    blocks = block_count(image_size)
    return _channels(_ENCODER_CHANNELS[complexity], blocks), _channels(_DECODER_CHANNELS[complexity], blocks)


def block_count(image_size: tuple[int, int]) -> int:
    """Return how many blocks it takes to shrink an image to a single cell."""
    return len(_block_geometries(image_size))


def _channels(table: dict[int, tuple[int, ...]], blocks: int) -> tuple[int, ...]:
    if blocks in table:
        return table[blocks]
    deepest = max(table)
    if blocks < deepest:
        raise ValueError(f"no background network of {blocks} blocks is defined")
    # Between 193 and 199 pixels a side takes more halvings than the published sizes: repeat the middle.
    channels = table[deepest]
    return channels[:-3] + channels[-4:-3] * (blocks - deepest) + channels[-3:]


def positional_channels(height: int, width: int) -> Float[Tensor, "1 2 height width"]:
    """Return two channels that tell a convolution where it is.

    From -0.5 to 0.5 down and across, 1 where a side is 1.
    """
    # Not by linspace: transformers replaces it while reading weights, and the meta device may not know it afterwards.
    down, across = (torch.arange(side) / (side - 1) - 0.5 if side > 1 else torch.ones(1) for side in (height, width))
    return torch.stack(torch.meshgrid(down, across, indexing="ij"))[None]


class PositionalBlock(nn.Module):
    """Positional channels, a (transposed) convolution without bias, group normalization and CELU; or a sigmoid."""

    positions: Tensor

    def __init__(self, size: tuple[int, int], convolution: nn.Module, outputs: int, *, last: bool = False) -> None:
        super().__init__()
        self.register_buffer("positions", positional_channels(*size), persistent=False)
        normalization = nn.GroupNorm(max(1, outputs // 16), outputs)
        self.layers = nn.Sequential(convolution, *([nn.Sigmoid()] if last else [normalization, nn.CELU()]))

    def forward(self, x: Tensor) -> Tensor:
        """Join the positions to the map and convolve."""
        positions = self.positions.to(x.dtype).expand(len(x), -1, -1, -1)
        return self.layers(torch.cat((x, positions), 1))  # type: ignore[no-any-return]


class BackgroundAutoencoder(nn.Module):
    """AE-NE for images of a height and width from 32x32 up.

    Args:
        image_size: height and width in pixels.
        complexity: ``simple`` for one background seen under changing light, ``complex`` for many backgrounds.

    Raises:
        ValueError: the image is smaller than 32 pixels a side.
    """

    def __init__(self, image_size: tuple[int, int], complexity: Complexity) -> None:
        super().__init__()
        check_min_side(image_size)
        encoder, decoder = published_channels(image_size, complexity)
        plan = _block_geometries(image_size)
        self.encoder = nn.Sequential(
            *(
                _encoder_block(*steps, *channels)
                for steps, channels in zip(plan, itertools.pairwise(encoder), strict=True)
            )
        )
        blocks = [
            _decoder_block(*steps, *channels, last=level == 0)
            for level, (steps, channels) in enumerate(zip(plan, zip(decoder[1:], decoder, strict=False), strict=True))
        ]
        self.decoder = nn.Sequential(*reversed(blocks))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> BackgroundReconstruction:
        """Squeeze the image through sixteen numbers and paint what comes out."""
        painted = self.decoder(self.encoder(INPUT_RANGE * images))
        return BackgroundReconstruction(painted[:, :3], painted[:, 3:])


def _encoder_block(height: ConvGeometry, width: ConvGeometry, inputs: int, outputs: int) -> PositionalBlock:
    convolution = nn.Conv2d(
        inputs + 2,
        outputs,
        (height.kernel, width.kernel),
        (height.stride, width.stride),
        (height.padding, width.padding),
        bias=False,
    )
    return PositionalBlock((height.size, width.size), convolution, outputs)


def _decoder_block(
    height: ConvGeometry, width: ConvGeometry, inputs: int, outputs: int, *, last: bool
) -> PositionalBlock:
    def missing(step: ConvGeometry) -> int:
        return step.size - ((step.output - 1) * step.stride - 2 * step.padding + step.kernel)

    convolution = nn.ConvTranspose2d(
        inputs + 2,
        outputs,
        (height.kernel, width.kernel),
        (height.stride, width.stride),
        (height.padding, width.padding),
        (missing(height), missing(width)),
        bias=False,
    )
    return PositionalBlock((height.output, width.output), convolution, outputs, last=last)
