"""The generator that paints an object's appearance vector as a glimpse (Table 7)."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

INITIAL_SHADOW_LOGIT = -3.0  # objects cast almost no shadow until they learn to


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
        shadows: whether a fifth channel, the object's shadow, follows the three colors and the mask.
    """

    def __init__(self, appearance_dim: int, channels: Sequence[int], *, shadows: bool = False) -> None:
        sizes = (appearance_dim, *channels, 5 if shadows else 4)
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
                self.get_parameter(f"{len(self) - 2}.bias")[4] = INITIAL_SHADOW_LOGIT

    def forward(
        self, appearances: Float[Tensor, "glimpses appearance"]
    ) -> Float[Tensor, "glimpses channels side side"]:
        """Paint each appearance vector: colors, mask and, if there is one, the shadow."""
        return super().forward(appearances[..., None, None])  # type: ignore[no-any-return, no-untyped-call]
