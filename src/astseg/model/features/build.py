"""The feature networks by name."""

from typing import Literal, TypeAlias

from astseg.model.features.compact_unet import CompactUnetMaps
from astseg.model.features.segformer import MIX_TRANSFORMER_SIZES, SegformerMaps
from astseg.model.features.unet import UnetMaps, unet_channels

FeatureNetwork: TypeAlias = Literal[
    "segformer-b0",
    "segformer-b1",
    "segformer-b2",
    "segformer-b3",
    "segformer-b4",
    "segformer-b5",
    "unet",
    "compact-unet",
]


def build_feature_maps(
    network: FeatureNetwork, image_size: tuple[int, int], channels: int
) -> SegformerMaps | UnetMaps | CompactUnetMaps:
    """Build a feature network for images of this height and width.

    Raises:
        ValueError: the images are too small for the network's levels.
    """
    if network == "unet":
        levels = unet_channels(image_size)
        _check_sides(network, image_size, 2 ** (len(levels) - 1))
        return UnetMaps(levels, channels)
    _check_sides(network, image_size, 16)
    if network == "compact-unet":
        return CompactUnetMaps(channels)
    return SegformerMaps(MIX_TRANSFORMER_SIZES[network], channels)


def _check_sides(network: str, image_size: tuple[int, int], min_side: int) -> None:
    if min(image_size) < min_side:
        raise ValueError(f"{network} needs at least {min_side} pixels a side, not {image_size[0]}x{image_size[1]}")
