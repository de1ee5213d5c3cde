"""What all background networks share."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

LATENT_DIM = 16
"""The dimension of an image's background latent."""
MIN_SIDE = 32


class BackgroundReconstruction(NamedTuple):
    """The output of a background network."""

    image: Float[Tensor, "batch 3 height width"]
    """The background, in [0, 1]."""
    error: Float[Tensor, "batch 1 height width"]
    """The network's estimate of its own error in pixels that show background, from 0 to 1."""


def check_min_side(image_size: tuple[int, int]) -> None:
    """Raise an error for images that are too small.

    Raises:
        ValueError: a side has fewer than 32 pixels.
    """
    if min(image_size) < MIN_SIDE:
        raise ValueError(
            f"the background network needs at least {MIN_SIDE} pixels a side, not {image_size[0]}x{image_size[1]}"
        )
