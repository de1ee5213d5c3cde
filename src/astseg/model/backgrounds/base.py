"""What all background networks share."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

MIN_SIDE = 32


class BackgroundReconstruction(NamedTuple):
    """The output of a background network."""

    image: Float[Tensor, "batch 3 height width"]
    """The background, in [0, 1]; while training, it may leave the range."""
    error: Float[Tensor, "batch 1 height width"]
    """The network's estimate of its own error in pixels that show background, from 0 to 1."""


class Background(nn.Module, ABC):
    """A background network. A new one is a file in this folder, and a name, a case and a line in `build.py`.

    Its constructor takes height and width in pixels first, and raises a ValueError if they are impossible. To estimate
    memory, it is also built and run forward and backward on the device "meta", so that no value may be read
    (`.item()`).

    Phase 1 trains its parameters alone, on the robust loss of AE-NE. The settings of this phase (`BackgroundTraining`)
    must suit the network: one that begins far from all images learns only while the exponent is small, and so needs a
    long ramp.
    """

    @abstractmethod
    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> BackgroundReconstruction:
        """Return the backgrounds of images in [0, 1] of the network's size."""


def check_min_side(image_size: tuple[int, int]) -> None:
    """Raise an error for images that are too small.

    Raises:
        ValueError: a side has fewer than 32 pixels.
    """
    if min(image_size) < MIN_SIDE:
        raise ValueError(
            f"the background network needs at least {MIN_SIDE} pixels a side, not {image_size[0]}x{image_size[1]}"
        )
