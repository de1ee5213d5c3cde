from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from astseg.authors.shapes import (
    background_networks,
    background_picture_size,
    foreground_shapes,
    has_background,
    has_foreground,
    has_trained_transformer,
)
from astseg.errors import UserError
from astseg.model.background import BackgroundLayout, published_layout
from astseg.model.feature_maps import MIX_TRANSFORMER_SIZES, SegformerMaps


@pytest.fixture(scope="module")
def weights(original: type) -> dict[str, torch.Tensor]:
    source: Any = original(size=(32, 32), background="simple")
    modules = (source.encoder, source.renderer, source.background_encoder, source.background_generator)
    return {name: value for module in modules for name, value in module.state_dict().items()}


def without(weights: dict[str, torch.Tensor], *beginnings: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights.items() if not name.startswith(beginnings)}


def test_which_parts_are_there(weights: dict[str, torch.Tensor]) -> None:
    assert has_foreground(weights)
    assert has_background(weights)
    assert not has_background(without(weights, "background_encoder", "background_generator"))
    assert not has_foreground({name: weights[name] for name in weights if name.startswith("background_encoder.")})


def test_what_the_shapes_of_a_foreground_say(weights: dict[str, torch.Tensor]) -> None:
    found = foreground_shapes(weights)
    assert (found.feature_network, found.channels, found.map_size) == ("segformer-b0", 38, (8, 8))
    assert (found.features, found.appearance, found.glimpse_channels) == (35, 32, (64, 32, 16, 8))
    assert found.trained_transformer
    assert found.picture_size is None
    assert foreground_shapes(without(weights, "latents_projection")).features == 35
    assert foreground_shapes(without(weights, "latents_projection", "feature_vector")).features is None
    assert foreground_shapes(without(weights, "position_map")).map_size is None
    film = {**weights, "local_background_activation_logit": torch.zeros(1, 1, 1, 5, 6)}
    assert foreground_shapes(film).picture_size == (5, 6)


@pytest.mark.parametrize("name", MIX_TRANSFORMER_SIZES)
def test_every_size_of_segformer_is_known(name: str, weights: dict[str, torch.Tensor]) -> None:
    with torch.device("meta"):
        network = SegformerMaps(MIX_TRANSFORMER_SIZES[name], 7).network.state_dict()
    prefix = "feature_and_attention_map_generator.complete_model."
    named = {f"{prefix}{key}": value for key, value in network.items()}
    found = foreground_shapes({**without(weights, prefix), **named})
    assert (found.feature_network, found.channels) == (name, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: without(w, "feature_and"), "has no feature network"),
        (lambda w: without(w, "glimpse_generator.0."), "lacks glimpse_generator.0.weight"),
        (lambda w: {**w, "position_map": torch.zeros(4)}, r"not a tensor of shape \(4,\)"),
        (
            lambda w: {n: v for n, v in w.items() if ".stages.2.blocks.1." not in n and ".block.2.1." not in n},
            r"No SegFormer from B0 to B5 .* depths=\(2, 2, 1, 2\)",
        ),
    ],
)
def test_shapes_that_no_model_has(weights: dict[str, torch.Tensor], change: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        foreground_shapes(change(weights))


def test_a_transformer_is_untrained_while_its_layers_are_copies() -> None:
    layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8), 2, enable_nested_tensor=False).state_dict()
    named = {f"transformer.{name}": value for name, value in layers.items()}
    assert not has_trained_transformer(named)
    assert not has_trained_transformer({})
    assert has_trained_transformer({**named, "transformer.layers.1.norm1.weight": torch.full((8,), 0.99)})


def test_a_background_shows_its_size_and_channels(weights: dict[str, torch.Tensor], original: type) -> None:
    assert background_picture_size(weights) == (32, 32)
    assert background_picture_size({}) is None
    simple = BackgroundLayout((3, 64, 160, 160, 32, 16), (4, 144, 256, 256, 32, 16), 255.0)
    assert background_networks(weights, (32, 32), 255.0) == ("simple", simple)
    wide: Any = original(size=(32, 32), background="complex")
    states = {**wide.background_encoder.state_dict(), **wide.background_generator.state_dict()}
    complexity, found = background_networks(states, (32, 32), 255.0)
    assert (complexity, found) == ("complex", published_layout((32, 32), "complex"))
    _, shown_one = background_networks(states, (32, 32), 1.0)
    assert shown_one == replace(found, largest_value=1.0)
    # What is missing is taken to be as published, to be listed by its name later on.
    assert background_networks(without(weights, "background_encoder.2."), (32, 32), 255.0)[1] == simple


@pytest.mark.parametrize(
    ("name", "shape", "size", "message"),
    [
        ("background_encoder.0.downsample.0.weight", None, (8, 8), "no background network of 3 blocks is defined"),
        ("background_encoder.1.downsample.0.weight", (50, 66, 5, 5), (32, 32), "must be divisible"),
        ("background_generator.4.upsample.0.weight", (146, 3, 5, 5), (32, 32), "do not fit together"),
    ],
)
def test_a_background_that_cannot_be_built(
    weights: dict[str, torch.Tensor], name: str, shape: Any, size: tuple[int, int], message: str
) -> None:
    changed = {**weights, name: torch.zeros(shape)} if shape else weights
    with pytest.raises(UserError, match=f"This background cannot be read: .*{message}"):
        background_networks(changed, size, 255.0)
