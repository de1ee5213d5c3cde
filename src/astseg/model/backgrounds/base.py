"""What all background networks have in common."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

LATENT_DIM = 16
"""How many numbers an image may say of its background."""
MIN_SIDE = 32


class BackgroundReconstruction(NamedTuple):
    """What the background network says of an image."""

    image: Float[Tensor, "batch 3 height width"]
    """The background, in [0, 1]."""
    error: Float[Tensor, "batch 1 height width"]
    """How far off the network expects itself to be in a pixel that shows background, as a share of 1."""


def check_min_side(image_size: tuple[int, int]) -> None:
    """Refuse images that are too small.

    Raises:
        ValueError: a side has fewer than 32 pixels.
    """
    if min(image_size) < MIN_SIDE:
        raise ValueError(
            f"the background network needs at least {MIN_SIDE} pixels a side, not {image_size[0]}x{image_size[1]}"
        )
