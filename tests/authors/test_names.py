import torch

from astseg.authors.names import addresses, published_names
from astseg.model.features.build import build_feature_maps

UP = "feature_and_attention_map_generator.upsample_blocks.0.bloc2"


def test_published_names_of_all_parts() -> None:
    expected = {
        "feature_maps.down.1.shrink.0.weight": "feature_and_attention_map_generator.downsample_blocks.1.bloc1.0.weight",
        "feature_maps.residual.weight": "feature_and_attention_map_generator.last_residual_layer.weight",
        "refinement.transformer.layers.0.norm1.bias": "transformer.layers.0.norm1.bias",
        "background_log_activation": "background_activation_logit",
        "pixel_log_activation": "local_background_activation_logit",
        "background.encoder.3.layers.1.bias": "background_encoder.3.downsample.1.bias",
        "background.decoder.5.layers.0.weight": "background_generator.5.upsample.0.weight",
        "glimpse_generator.13.weight": "glimpse_generator.13.weight",
    }
    assert published_names(expected) == {theirs: ours for ours, theirs in expected.items()}


def test_upsample_blocks_are_numbered_by_level() -> None:
    with torch.device("meta"):
        network = build_feature_maps("unet", (64, 64), 37)
    own = {f"feature_maps.{name}": value for name, value in network.state_dict().items()}
    found = {theirs: tuple(own[ours].shape) for theirs, ours in published_names(own).items()}
    blocks = "feature_and_attention_map_generator.upsample_blocks"
    assert found[f"{blocks}.0.bloc1.0.weight"] == (256, 256, 3, 3)
    assert found[f"{blocks}.0.bloc2.0.weight"] == (256, 80, 4, 4)  # a transposed kernel has its inputs first
    assert found[f"{blocks}.1.bloc2.0.weight"] == (384, 128, 4, 4)
    assert found[f"{blocks}.4.bloc2.0.weight"] == (512, 256, 4, 4)


def test_layers_are_addressed_by_order_and_kind() -> None:
    kernel, scale = torch.zeros(2, 2, 4, 4), torch.zeros(2)
    numbered = {f"{UP}.10.weight": scale, f"{UP}.10.running_mean": scale, f"{UP}.9.weight": kernel}
    named = {f"{UP}.grow.weight": kernel, f"{UP}.norm.weight": scale, f"{UP}.norm.running_mean": scale}
    expected = {f"{UP}.0.convolution.weight", f"{UP}.1.normalization.weight", f"{UP}.1.normalization.running_mean"}
    assert set(addresses(numbered)) == set(addresses(named)) == expected
    assert addresses(numbered)[f"{UP}.0.convolution.weight"] == f"{UP}.9.weight"
    bare = {"feature_and_attention_map_generator.conv1x1.weight": kernel}
    assert list(addresses(bare)) == ["feature_and_attention_map_generator.conv1x1.0.convolution.weight"]


def test_other_names_are_their_own_address() -> None:
    assert addresses({"position_map": torch.zeros(1)}) == {"position_map": "position_map"}
