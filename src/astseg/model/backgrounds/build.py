"""The background networks by name."""

from typing import Literal, TypeAlias

from astseg.model.backgrounds.ae_ne import BackgroundAutoencoder
from astseg.model.backgrounds.base import Background
from astseg.model.backgrounds.region import RegionBackground
from astseg.model.backgrounds.static import StaticBackground
from astseg.model.own_networks import build_own

BackgroundNetwork: TypeAlias = Literal["simple", "complex", "region", "static"]
"""``simple`` and ``complex``: AE-NE with narrow or wide channels. ``region``: see `RegionBackground`. ``static``: see
`StaticBackground`."""


def build_background(network: BackgroundNetwork | str, image_size: tuple[int, int]) -> Background:
    """Build a background network for images of this height and width.

    Raises:
        ValueError: a side has fewer than 32 pixels.
        AstSegError: the network is somebody's own, and is not registered.
        TypeError: it is no `Background`.
    """
    match network:
        case "region":
            return RegionBackground(image_size)
        case "static":
            return StaticBackground(image_size)
        case "simple" | "complex":
            return BackgroundAutoencoder(image_size, network)
    built = build_own("background_network", network, image_size)
    if not isinstance(built, Background):
        raise TypeError(f"'{network}' should build a Background (astseg.model.backgrounds.base), not {type(built)}")
    return built
