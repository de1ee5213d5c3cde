"""The background networks by name."""

from typing import Literal, TypeAlias

from astseg.model.backgrounds.ae_ne import BackgroundAutoencoder
from astseg.model.backgrounds.base import Background
from astseg.model.backgrounds.region import RegionBackground
from astseg.model.backgrounds.static import StaticBackground

BackgroundNetwork: TypeAlias = Literal["simple", "complex", "region", "static"]
"""``simple`` and ``complex``: AE-NE with narrow or wide channels. ``region``: see `RegionBackground`. ``static``: see
`StaticBackground`."""


def build_background(network: BackgroundNetwork, image_size: tuple[int, int]) -> Background:
    """Build a background network for images of this height and width.

    Raises:
        ValueError: a side has fewer than 32 pixels.
    """
    match network:
        case "region":
            return RegionBackground(image_size)
        case "static":
            return StaticBackground(image_size)
        case "simple" | "complex":
            return BackgroundAutoencoder(image_size, network)
