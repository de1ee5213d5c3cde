"""What the shapes of a checkpoint's weights say of the model that they belong to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from astseg.authors.names import BACKGROUND, FEATURE_MAPS, SEGFORMER, addresses
from astseg.errors import UserError
from astseg.model.background import BackgroundAutoencoder, BackgroundLayout, block_count, published_layout
from astseg.model.feature_maps import MIX_TRANSFORMER_SIZES, FeatureNetwork, MixTransformerSize

Complexity = Literal["simple", "complex"]
_COMPLEXITIES: tuple[Complexity, ...] = get_args(Complexity)
_COORDINATES = 2  # x and y stand before the features in a query


@dataclass(frozen=True)
class ForegroundShapes:
    """The foreground model as far as shapes tell."""

    feature_network: FeatureNetwork
    channels: int
    """K + d_phi."""
    map_size: tuple[int, int] | None
    """Height and width of the feature map, where the file holds its coordinates."""
    features: int | None
    """d_phi; None without a transformer."""
    trained_transformer: bool
    """Whether there is a transformer whose layers differ: they begin as copies of one."""
    appearance: int
    """The dimension of ``z_what``."""
    glimpse_channels: tuple[int, ...]
    """Of the stages but the last."""
    picture_size: tuple[int, int] | None
    """Height and width, where there is an activation for each pixel of the background."""


def has_foreground(weights: Mapping[str, Tensor]) -> bool:
    """Whether anything but a background's networks is there."""
    return any(not name.startswith(BACKGROUND) for name in weights)


def has_background(weights: Mapping[str, Tensor]) -> bool:
    """Whether anything of a background's networks is there."""
    return any(name.startswith(BACKGROUND) for name in weights)


def has_trained_transformer(weights: Mapping[str, Tensor]) -> bool:
    """Whether a transformer's layers have gone apart from the first, of which they begin as copies."""
    for name, value in weights.items():
        first = weights.get(re.sub(r"^transformer\.layers\.\d+\.", "transformer.layers.0.", name))
        if name.startswith("transformer.") and (first is None or not torch.equal(value, first)):
            return True
    return False


def foreground_shapes(weights: Mapping[str, Tensor]) -> ForegroundShapes:
    """Read what can be known of the foreground model.

    Raises:
        UserError: a weight that decides is missing, or no known network has these shapes.
    """
    found = addresses(weights)
    glimpses = _glimpse_convolutions(weights, found)
    per_pixel = weights.get("local_background_activation_logit")
    positions = weights.get("position_map")
    network, head = _feature_network(weights, found)
    return ForegroundShapes(
        feature_network=network,
        channels=_decisive(weights, found, head).shape[0],
        map_size=None if positions is None else _sides(positions),
        features=_features(weights),
        trained_transformer=has_trained_transformer(weights),
        appearance=glimpses[0].shape[0],
        glimpse_channels=tuple(kernel.shape[1] for kernel in glimpses[:-1]),
        picture_size=None if per_pixel is None else _sides(per_pixel),
    )


def background_picture_size(weights: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Height and width of the background's pictures: those of the first block's positional channels."""
    positions = weights.get("background_encoder.0.positional_encoding")
    return None if positions is None else _sides(positions)


def background_networks(
    weights: Mapping[str, Tensor], picture_size: tuple[int, int], largest_value: float
) -> tuple[Complexity, BackgroundLayout]:
    """Which of AE-NE's two kinds the background's networks are, the nearer one if neither, and their own channels.

    A kernel that is missing is taken to have its kind's channels, so that it can be listed.

    Args:
        weights: the checkpoint's.
        picture_size: height and width of the pictures.
        largest_value: in the pictures that the networks were trained to see.

    Raises:
        UserError: no such networks can be built for pictures of this size.
    """
    encoder, decoder = _background_channels(weights, block_count(picture_size))
    try:
        kinds = {kind: published_layout(picture_size, kind) for kind in _COMPLEXITIES}
        complexity = min(_COMPLEXITIES, key=lambda kind: _strangers(encoder, decoder, kinds[kind]))
        usual = kinds[complexity]
        layout = BackgroundLayout(
            _filled(encoder, usual.encoder_channels), _filled(decoder, usual.decoder_channels), largest_value
        )
        with torch.device("meta"):  # shapes alone
            BackgroundAutoencoder(picture_size, complexity, layout)
    except ValueError as error:
        raise UserError(f"This background cannot be read: {error}.") from error
    return complexity, layout


def _background_channels(weights: Mapping[str, Tensor], blocks: int) -> tuple[list[int | None], list[int | None]]:
    """The channels of both networks from the picture to the latent; None where a block has no kernel."""
    found = addresses(weights)

    def outputs(block: str, axis: int) -> int | None:
        name = found.get(f"{block}.0.convolution.weight")
        return weights[name].shape[axis] if name is not None else None

    encoder = [outputs(f"background_encoder.{number}.downsample", 0) for number in range(blocks)]
    # The generator's blocks are in the order of its forward pass, and transposed kernels have their outputs second.
    generator = [outputs(f"background_generator.{number}.upsample", 1) for number in reversed(range(blocks))]
    return [3, *encoder], [*generator, encoder[-1]]


def _strangers(encoder: Sequence[int | None], decoder: Sequence[int | None], layout: BackgroundLayout) -> int:
    usual = (*layout.encoder_channels, *layout.decoder_channels)
    return sum(map(int.__ne__, _filled((*encoder, *decoder), usual), usual))


def _filled(channels: Sequence[int | None], usual: Sequence[int]) -> tuple[int, ...]:
    return tuple(there if there is not None else other for there, other in zip(channels, usual, strict=True))


def _feature_network(weights: Mapping[str, Tensor], found: Mapping[str, str]) -> tuple[FeatureNetwork, str]:
    """The feature network, and the address of the kernel whose outputs are its channels."""
    if any(name.startswith(SEGFORMER) for name in weights):
        return _segformer(weights, found), f"{SEGFORMER}decode_head.classifier.weight"
    if any(name.startswith(f"{FEATURE_MAPS}downsample_blocks.") for name in weights):
        return "unet", f"{FEATURE_MAPS}conv1x1.0.convolution.weight"
    raise UserError(
        f"The checkpoint has no feature network: expected names that begin with {SEGFORMER} (SegFormer) "
        f"or {FEATURE_MAPS}downsample_blocks. (U-net)."
    )


def _segformer(weights: Mapping[str, Tensor], found: Mapping[str, str]) -> FeatureNetwork:
    encoder = f"{SEGFORMER}segformer.encoder."
    stages = range(4)
    widths = [_decisive(weights, found, f"{encoder}patch_embeddings.{stage}.proj.weight").shape[0] for stage in stages]
    blocks = {match[0] for address in found if (match := re.match(rf"{re.escape(encoder)}block\.\d+\.\d+\.", address))}
    depths = [sum(block.startswith(f"{encoder}block.{stage}.") for block in blocks) for stage in stages]
    decoder = _decisive(weights, found, f"{SEGFORMER}decode_head.linear_c.0.proj.weight").shape[0]
    size = MixTransformerSize(
        (widths[0], widths[1], widths[2], widths[3]), (depths[0], depths[1], depths[2], depths[3]), decoder
    )
    for name, known in MIX_TRANSFORMER_SIZES.items():
        if known == size:
            return name  # type: ignore[return-value]  # the table's keys are these names
    raise UserError(f"No SegFormer from B0 to B5 has these sizes: {size}.")


def _glimpse_convolutions(weights: Mapping[str, Tensor], found: Mapping[str, str]) -> list[Tensor]:
    pattern = r"glimpse_generator\.(\d+)\.convolution\.weight"
    numbered = {
        int(match[1]): weights[name] for address, name in found.items() if (match := re.match(pattern, address))
    }
    if 0 not in numbered:
        raise UserError("The checkpoint lacks glimpse_generator.0.weight, a convolution. Give the file as published.")
    return [numbered[number] for number in sorted(numbered)]


def _features(weights: Mapping[str, Tensor]) -> int | None:
    """d_phi by the transformer's way in or out."""
    if (projection := weights.get("latents_projection.weight")) is not None:
        return projection.shape[0] - _COORDINATES
    if (embedding := weights.get("feature_vector_embedding.weight")) is not None:
        return embedding.shape[-1] - _COORDINATES
    return None


def _decisive(weights: Mapping[str, Tensor], found: Mapping[str, str], address: str) -> Tensor:
    if address not in found:
        raise UserError(f"The checkpoint lacks {re.sub(r'.0.convolution', '', address)}. Give the file as published.")
    return weights[found[address]]


def _sides(value: Tensor) -> tuple[int, int]:
    if value.ndim < 2:
        raise UserError(f"A map of height and width was expected, not a tensor of shape {tuple(value.shape)}.")
    return value.shape[-2], value.shape[-1]
