"""The autoencoder that reconstructs the background (AE-NE, reference [35] of the paper), a quick one, and a still one.

Backgrounds lie on a manifold of few dimensions: all an image may say of its background are a few numbers, so that
objects, which change from image to image, do not pass.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.resizing import resized

LATENT = 16
MIN_SIDE = 32
EDGE_SHARPNESS = 20.0  # a step of a tenth of the range is an edge for certain
LIGHT_CELLS = 8  # what an image says of its light: how much each of 8x8 cells differs from the still background
LIGHT_PATCHES = 4  # light changes over a quarter of the image, which no small object does, and keeps its colour
LIGHT_SATURATION = 0.1  # a difference beyond this is an object's, whose size counts but not its colour
MAX_LIGHT = math.log(2)  # twice or half the light; a lorry before the lens does not turn the image black

BackgroundNetwork: TypeAlias = Literal["simple", "complex", "quick", "still"]
"""``simple`` and ``complex``: AE-NE with its narrow and wide channels. ``quick``: see :class:`RegionBackground`.
``still``: see :class:`StaticBackground`."""

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


@dataclass(frozen=True)
class BackgroundLayout:
    """AE-NE's networks as another program built and trained them.

    Raises:
        ValueError: these are no channels of two networks that fit together.
    """

    encoder_channels: tuple[int, ...]
    """From the image's three to the latent."""
    decoder_channels: tuple[int, ...]
    """From the image's four, of which the last is the predicted error, to the latent."""
    largest_value: float = 255.0
    """How white is shown to the encoder."""

    def __post_init__(self) -> None:
        encoder, decoder = self.encoder_channels, self.decoder_channels
        if not (len(encoder) == len(decoder) > 1 and (encoder[0], decoder[0], decoder[-1]) == (3, 4, encoder[-1])):
            raise ValueError(f"encoder channels {encoder} and decoder channels {decoder} do not fit together")
        if min(*encoder, *decoder) < 1 or self.largest_value <= 0:
            raise ValueError(f"impossible background networks: {self}")


class BackgroundReconstruction(NamedTuple):
    """What the background network says of an image."""

    image: Float[Tensor, "batch 3 height width"]
    """The background, in [0, 1]."""
    error: Float[Tensor, "batch 1 height width"]
    """How far off the network expects itself to be in a pixel that shows background, as a share of 1."""


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


def _check_sides(image_size: tuple[int, int]) -> None:
    if min(image_size) < MIN_SIDE:
        raise ValueError(
            f"the background network needs at least {MIN_SIDE} pixels a side, not {image_size[0]}x{image_size[1]}"
        )


def _plan(image_size: tuple[int, int]) -> list[tuple[ConvGeometry, ConvGeometry]]:
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


def published_layout(image_size: tuple[int, int], complexity: Literal["simple", "complex"]) -> BackgroundLayout:
    """AE-NE's channels for images of a height and width.

    Raises:
        ValueError: both sides are shorter than 17 pixels, for which there are none.
    """
    blocks = block_count(image_size)
    tables = (_ENCODER_CHANNELS[complexity], _DECODER_CHANNELS[complexity])
    encoder, decoder = (_channels(table, blocks) for table in tables)
    return BackgroundLayout(encoder, decoder)


def block_count(image_size: tuple[int, int]) -> int:
    """Return how many blocks it takes to shrink an image to a single cell."""
    return len(_plan(image_size))


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
    """Positional channels, a (transposed) convolution without bias, group normalisation and CELU; or a sigmoid."""

    positions: Tensor

    def __init__(self, size: tuple[int, int], convolution: nn.Module, outputs: int, *, last: bool = False) -> None:
        super().__init__()
        self.register_buffer("positions", positional_channels(*size), persistent=False)
        normalisation = nn.GroupNorm(max(1, outputs // 16), outputs)
        self.layers = nn.Sequential(convolution, *([nn.Sigmoid()] if last else [normalisation, nn.CELU()]))

    def forward(self, x: Tensor) -> Tensor:
        """Join the positions to the map and convolve."""
        positions = self.positions.to(x.dtype).expand(len(x), -1, -1, -1)
        return self.layers(torch.cat((x, positions), 1))  # type: ignore[no-any-return]


class BackgroundAutoencoder(nn.Module):
    """AE-NE for images of a height and width from 32x32 up.

    Args:
        image_size: height and width in pixels.
        complexity: ``simple`` for one background seen under changing light, ``complex`` for many backgrounds.
        layout: networks of other channels, or trained on images of another range.

    Raises:
        ValueError: the layout is for images of another size.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        complexity: Literal["simple", "complex"],
        layout: BackgroundLayout | None = None,
    ) -> None:
        super().__init__()
        if layout is None:
            _check_sides(image_size)
            layout = published_layout(image_size, complexity)
        encoder, decoder = layout.encoder_channels, layout.decoder_channels
        self.largest_value = layout.largest_value
        plan = _plan(image_size)
        if len(encoder) != len(plan) + 1:
            raise ValueError(
                f"images of {image_size[0]}x{image_size[1]} take {len(plan)} blocks, but channels for "
                f"{len(encoder) - 1} were given"
            )
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
        painted = self.decoder(self.encoder(self.largest_value * images))
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


def edges(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 2 height width"]:
    """Return how sharply an image changes to the right and downwards, whatever its colours.

    0 where even, near 1 at edges.

    >>> edges(torch.tensor([0.0, 0.0, 1.0]).expand(1, 3, 1, 3))[0, 0].round().tolist()
    [[0.0, 1.0, 0.0]]
    """
    right = F.pad(images.diff(dim=-1).abs().amax(1, keepdim=True), (0, 1))
    down = F.pad(images.diff(dim=-2).abs().amax(1, keepdim=True), (0, 0, 0, 1))
    return (EDGE_SHARPNESS * torch.cat((right, down), 1)).tanh()


class RegionBackground(nn.Module):
    """A background autoencoder that learns within a minute or two on a CPU. Not in the paper.

    The published network starts with nearly the same latent for all images and needs thousands of steps to tell
    them apart. Three things make this one quick. Batch normalisation and a linear bottleneck keep images apart from
    the first step. The encoder is shown edges beside colours, so that it learns where a wall ends whatever the colours
    of wall and floor. And the image is put together from a few regions of one colour each: outlines and colours are
    both linear in the latent, and an outline that is a level of a linear function can move with the camera.

    Args:
        image_size: height and width in pixels.
        channels: of the encoder's levels, each half as large as the one before.
        regions: how many regions of one colour make a background.
    """

    def __init__(
        self, image_size: tuple[int, int], channels: Sequence[int] = (16, 32, 64, 96), regions: int = 8
    ) -> None:
        super().__init__()
        _check_sides(image_size)  # the same limits as the published network's
        self.image_size = image_size
        self.regions = regions
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise((5, *channels)):
            layers += [nn.Conv2d(inputs, outputs, 5, 2, 2, bias=False), nn.BatchNorm2d(outputs), nn.CELU()]
        height, width = (-(-side // 2 ** len(channels)) for side in image_size)
        self.encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, LATENT))
        pixels = image_size[0] * image_size[1]
        self.outlines = nn.Linear(LATENT, regions * pixels)
        self.colours = nn.Linear(LATENT, regions * 3)
        self.error = nn.Linear(LATENT, pixels)
        for layer, weight, bias in ((self.outlines, 0.2, 0.02), (self.error, 0.01, 0.0)):
            nn.init.normal_(layer.weight, std=weight)
            nn.init.normal_(layer.bias, std=bias)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> BackgroundReconstruction:
        """Squeeze the image through sixteen numbers and paint what comes out."""
        latents = self.encoder(torch.cat((images, edges(images)), 1))
        shares = self.outlines(latents).view(len(images), self.regions, -1).softmax(1)
        colours = self.colours(latents).view(len(images), self.regions, 3)
        image = (colours.transpose(1, 2) @ shares).sigmoid().view(len(images), 3, *self.image_size)
        error = self.error(latents).sigmoid().view(len(images), 1, *self.image_size)
        return BackgroundReconstruction(image, error)


class StaticBackground(nn.Module):
    """One background under changing light, for a camera that stands still. Not in the paper.

    An autoencoder knows a few hundred frames by heart after as many steps, the objects in them too. This one has no
    room for them: it is a single image, lightened or darkened smoothly and tinted as a whole.

    Args:
        image_size: height and width in pixels.
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        _check_sides(image_size)  # the same limits as the published network's
        self.still = nn.Parameter(torch.full((3, *image_size), 0.5))
        self.error_logits = nn.Parameter(torch.full((1, *image_size), -2.0))
        self.light = nn.Linear(3 * LIGHT_CELLS**2, 3 + LIGHT_PATCHES**2)
        nn.init.zeros_(self.light.weight)
        nn.init.zeros_(self.light.bias)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> BackgroundReconstruction:
        """Paint the one background in the light of each image.

        While training, colours may leave [0, 1]: a clamp would never let white learn again, once it is too bright.
        """
        difference = torch.tanh((images - self.still.detach()) / LIGHT_SATURATION)
        # As large together as one cell, so that one step of the optimiser changes the light by little.
        cells = F.adaptive_avg_pool2d(difference, LIGHT_CELLS).flatten(1) / LIGHT_CELLS
        tint, patches = self.light(cells).tensor_split([3], 1)
        patches = patches.view(-1, 1, LIGHT_PATCHES, LIGHT_PATCHES)
        light = tint[..., None, None] + resized(patches, self.still.shape[1:])
        image = self.still * (MAX_LIGHT * torch.tanh(light / MAX_LIGHT)).exp()
        error = self.error_logits.sigmoid().expand(len(images), -1, -1, -1)
        return BackgroundReconstruction(image if self.training else image.clamp(0, 1), error)


def build_background(
    network: BackgroundNetwork, image_size: tuple[int, int], layout: BackgroundLayout | None = None
) -> nn.Module:
    """Build a background network for images of a height and width; ``layout`` is for AE-NE's networks alone.

    Raises:
        ValueError: the image is smaller than 32 pixels a side, or the layout is for images of another size.
    """
    match network:
        case "quick":
            return RegionBackground(image_size)
        case "still":
            return StaticBackground(image_size)
        case _:
            return BackgroundAutoencoder(image_size, network, layout)
