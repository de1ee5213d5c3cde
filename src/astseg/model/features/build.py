"""The feature networks by name."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from astseg.model.features.compact_unet import (
    COMPACT_UNET_CHANNELS,
    WIDE_COMPACT_UNET_CHANNELS,
    CompactUnetMaps,
)
from astseg.model.features.segformer import MIX_TRANSFORMER_SIZES, SegformerMaps
from astseg.model.features.unet import UnetMaps, unet_channels
from astseg.model.own_networks import build_own, is_own

FeatureNetwork: TypeAlias = Literal[
    "segformer-b0",
    "segformer-b1",
    "segformer-b2",
    "segformer-b3",
    "segformer-b4",
    "segformer-b5",
    "unet",
    "compact-unet",
    "wide-compact-unet",
]


def build_feature_maps(
    network: FeatureNetwork | str, image_size: tuple[int, int], channels: int, feature_channels: int | None = None
) -> Any:
    """Build a feature network, a module, for images of this height and width.

    Args:
        network: which one.
        image_size: height and width of what it is given.
        channels: of the maps.
        feature_channels: the channels of a feature map that it is given in place of images.

    Raises:
        ValueError: the image is too small for the network's levels.
        AstSegError: the network is somebody's own, and is not registered.
    """
    if is_own(network):
        return build_own("feature_network", network, image_size, channels, feature_channels or 3)
    _check_sides(network, image_size, 2 ** (len(unet_channels(image_size)) - 1) if network == "unet" else 16)
    if network in _COMPACT_LEVELS:
        return CompactUnetMaps(channels, _COMPACT_LEVELS[network], feature_channels)
    if network == "unet":
        return UnetMaps(unet_channels(image_size), channels, feature_channels)
    return SegformerMaps(MIX_TRANSFORMER_SIZES[network], channels, feature_channels)


_COMPACT_LEVELS: Mapping[str, tuple[int, ...]] = {
    "compact-unet": COMPACT_UNET_CHANNELS,
    "wide-compact-unet": WIDE_COMPACT_UNET_CHANNELS,
}


def _check_sides(network: str, image_size: tuple[int, int], smallest: int) -> None:
    if min(image_size) < smallest:
        raise ValueError(f"{network} needs at least {smallest} pixels a side here, not {image_size[0]}x{image_size[1]}")
