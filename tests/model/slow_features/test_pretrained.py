from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetModel,
    SegformerConfig,
    SegformerModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTModel,
)

from astseg._core.errors import AstSegError
from astseg.model.slow_features.build import build_responses
from astseg.model.slow_features.features import SlowFeatureLayout
from astseg.training.memory import training_memory
from astseg.training.small_recipes import textures_recipe

TOKENS: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 8, "num_attention_heads": 2, "intermediate_size": 8}
NETWORKS: list[tuple[Any, Any, Any]] = [
    (Dinov2Model, Dinov2Config(**TOKENS, patch_size=2, image_size=8), 4 * [(8, 32, 24)]),
    (ViTModel, ViTConfig(**TOKENS, patch_size=4, image_size=8), 4 * [(8, 32, 24)]),
    (
        SegformerModel,
        SegformerConfig(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, num_attention_heads=[1] * 4),
        [(8, 64, 48), (8, 32, 24), (16, 16, 12), (16, 8, 6)],
    ),
    (
        ResNetModel,
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, layer_type="basic"),
        [(8, 64, 48), (8, 32, 24), (16, 16, 12), (16, 8, 6)],
    ),
]


@pytest.fixture
def dino(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    kind, config, _ = NETWORKS[0]
    kind(config).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("kind", "config", "shapes"), NETWORKS)
def test_four_maps_of_many_kinds_of_networks(
    kind: type[Any], config: Any, shapes: list[tuple[int, ...]], tmp_path: Path
) -> None:
    kind(config).save_pretrained(tmp_path)
    network = build_responses(str(tmp_path))
    images = torch.rand(2, 3, 64, 48)
    maps = network.responses(images, (32, 24))
    assert [tuple(one.values.shape[1:]) for one in maps] == shapes
    assert network.channels == 3 + sum(channels for channels, _, _ in shapes)
    assert network(images, (32, 24)).shape == (2, network.channels, 32, 24)
    assert not list(network.parameters())
    assert not network.state_dict()


def test_maps_are_the_hidden_states_of_patches(dino: Path) -> None:
    images = torch.rand(1, 3, 64, 64)
    mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    normalized = (images - mean) / deviation
    with torch.no_grad():
        states = Dinov2Model.from_pretrained(dino)(normalized, output_hidden_states=True).hidden_states
    found = build_responses(str(dino)).responses(images, (16, 16))
    for one, layer in zip(found, (2, 4, 6, 8), strict=True):
        expected: Tensor = states[layer][0, 1:]  # the first token is of the class
        for row, column in ((0, 0), (0, 31), (31, 0), (20, 7)):
            torch.testing.assert_close(one.values[0, :, row, column], expected[32 * row + column], rtol=1e-4, atol=1e-5)


def test_the_network_stays_in_evaluation_mode(tmp_path: Path) -> None:
    kind, config, _ = NETWORKS[3]
    kind(config).save_pretrained(tmp_path)
    network = build_responses(str(tmp_path))
    images = torch.rand(2, 3, 32, 32)
    before = network(images, (16, 16))
    network.train()
    assert network.training
    torch.testing.assert_close(network(images, (16, 16)), before)


def test_a_recipe_may_name_a_folder(dino: Path) -> None:
    recipe = textures_recipe((32, 32), 2, backbone=str(dino))
    assert recipe.architecture.slow_features == SlowFeatureLayout(str(dino), directions=16)
    assert training_memory(recipe)["objects"] > 0  # built where tensors have no content


class TestRefuses:
    def test_a_folder_without_a_network(self, tmp_path: Path) -> None:
        with pytest.raises(AstSegError, match="Cannot read"):
            build_responses(str(tmp_path))

    def test_weights_under_other_names(self, dino: Path) -> None:
        weights = load_file(dino / "model.safetensors")
        save_file({f"other.{name}": value for name, value in weights.items()}, dino / "model.safetensors")
        with pytest.raises(AstSegError, match="lacks"):
            build_responses(str(dino))

    def test_pickles(self, dino: Path) -> None:
        weights = load_file(dino / "model.safetensors")
        (dino / "model.safetensors").unlink()
        torch.save(weights, dino / "pytorch_model.bin")
        with pytest.raises(AstSegError, match="Cannot read"):
            build_responses(str(dino))

    def test_networks_whose_tokens_are_no_patches(self, tmp_path: Path) -> None:
        """Swin joins patches from layer to layer."""
        config = SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=4)
        SwinModel(config).save_pretrained(tmp_path)
        with pytest.raises(AstSegError, match=r"no feature maps: a hidden state has .* tokens for"):
            build_responses(str(tmp_path))

    def test_networks_for_text(self, tmp_path: Path) -> None:
        size: Any = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        BertModel(BertConfig(**size)).save_pretrained(tmp_path)
        with pytest.raises(AstSegError, match="no feature maps"):
            build_responses(str(tmp_path))


def test_enlarges_smoothly(dino: Path) -> None:
    """A network sees the whole image, whatever its size: an image and its enlargement give nearly the same maps."""
    small = F.interpolate(torch.rand(1, 3, 4, 4), (32, 32), mode="bicubic", antialias=True).clamp(0, 1)
    large = F.interpolate(small, (64, 64), mode="bicubic", antialias=True).clamp(0, 1)
    network = build_responses(str(dino))
    torch.testing.assert_close(network(large, (16, 16)), network(small, (16, 16)), rtol=0.1, atol=0.1)
