"""The generator that paints an object's appearance vector as a glimpse (Table 7).

Only this file knows the order of a glimpse's channels: three colors, the mask and, if objects cast shadows, the shadow.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

NUM_COLORS = 3
INITIAL_SHADOW_LOGIT = -3.0  # objects cast almost no shadow until they learn to


class GlimpseChannels(NamedTuple):
    """What the generator paints of K objects, on glimpses or placed on the image."""

    colors: Float[Tensor, "batch slots 3 height width"]
    masks: Float[Tensor, "batch slots height width"]
    shadows: Float[Tensor, "batch slots height width"] | None
    """None if objects cast none."""


def split_channels(painted: Float[Tensor, "batch slots channels height width"]) -> GlimpseChannels:
    """Return the channels of glimpses, or of glimpses placed on the image, by their meaning."""
    colors, *others = torch.split(painted, [NUM_COLORS] + [1] * (painted.shape[2] - NUM_COLORS), 2)
    masks, *shadows = (channel.squeeze(2) for channel in others)
    return GlimpseChannels(colors, masks, shadows[0] if shadows else None)


def split_colors(
    painted: Float[Tensor, "batch slots channels height width"],
) -> tuple[Float[Tensor, "batch slots 3 height width"], Float[Tensor, "batch slots others height width"]]:
    """Return the colors of glimpses, and their other channels."""
    return painted[:, :, :NUM_COLORS], painted[:, :, NUM_COLORS:]


def published_glimpse_channels(image_size: tuple[int, int]) -> tuple[int, ...]:
    """Return the channels of the stages of Table 7 for images of this height and width, except the last stage's four.

    Each stage doubles the side, starting from 1: five stages paint glimpses of 32x32 for images up to 64x64, six paint
    64x64 for images up to 128x128, and seven paint 128x128 for larger ones.

    >>> published_glimpse_channels((64, 64))
    (64, 32, 16, 8)
    """
    side = max(image_size)
    channels = (256, 128, 64, 32, 16, 8)
    return channels[2:] if side <= 64 else channels[1:] if side <= 128 else channels


class GlimpseGenerator(nn.Sequential):
    """Paints appearance vectors: rows of ``z_what`` in, glimpses with values in [0, 1] out.

    Args:
        appearance_dim: the dimension of ``z_what``.
        channels: the channels of the stages before the last. A glimpse has 2^(len(channels) + 1) pixels per side.
        shadows: whether it paints the object's shadow, too.
    """

    def __init__(self, appearance_dim: int, channels: Sequence[int], *, shadows: bool = False) -> None:
        sizes = (appearance_dim, *channels, NUM_COLORS + (2 if shadows else 1))
        layers: list[nn.Module] = []
        for stage, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            last = stage == len(channels)
            # The first stage enlarges the 1x1 input to 2x2; every other stage doubles the side.
            kernel, stride, padding = (2, 1, 0) if stage == 0 else (4, 2, 1)
            layers.append(nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=last))
            layers += [nn.Sigmoid()] if last else [nn.GroupNorm(max(1, outputs // 16), outputs), nn.CELU()]
        super().__init__(*layers)
        if shadows:
            with torch.no_grad():
                self.get_parameter(f"{len(self) - 2}.bias")[-1] = INITIAL_SHADOW_LOGIT

    def forward(
        self, appearances: Float[Tensor, "glimpses appearance"]
    ) -> Float[Tensor, "glimpses channels side side"]:
        """Paint each appearance vector; `split_channels` tells the channels apart."""
        return super().forward(appearances[..., None, None])  # type: ignore[no-any-return, no-untyped-call]
