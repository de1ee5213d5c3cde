from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import SegformerConfig, SegformerForImageClassification, SegformerModel

from astseg._core.errors import AstSegError
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.features.backbone_weights import load_backbone
from astseg.model.slow_features.features import SlowFeatureLayout

ARCHITECTURE = Architecture((32, 32), 2, feature_network="segformer-b0", refinement="none", background_network=None)


@pytest.fixture(scope="module")
def model() -> AstSeg:
    torch.manual_seed(0)
    return AstSeg(ARCHITECTURE)


@pytest.mark.parametrize("kind", [SegformerModel, SegformerForImageClassification])
def test_from_a_folder(kind: type[SegformerModel], tmp_path: Path, model: AstSeg) -> None:
    """A bare backbone, and one with a classifier, as ImageNet models have."""
    saved = kind(SegformerConfig())
    saved.save_pretrained(tmp_path)
    network: Any = model.feature_maps.network
    decoder = {name: value.clone() for name, value in network.decode_head.state_dict().items()}
    load_backbone(model, str(tmp_path))
    expected = getattr(saved, "segformer", saved).state_dict()
    found = network.segformer.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    kept = network.decode_head.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in decoder.items())


def test_of_another_size(tmp_path: Path, model: AstSeg) -> None:
    SegformerModel(SegformerConfig(hidden_sizes=[64, 128, 320, 512])).save_pretrained(tmp_path)
    with pytest.raises(AstSegError, match="same size"):
        load_backbone(model, str(tmp_path))


def test_missing_and_damaged_weights(tmp_path: Path, model: AstSeg) -> None:
    with pytest.raises(AstSegError, match="Cannot read"):
        load_backbone(model, str(tmp_path))
    SegformerModel(SegformerConfig()).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(AstSegError, match="Cannot read"):
        load_backbone(model, str(tmp_path))


def test_weights_under_other_names(tmp_path: Path, model: AstSeg) -> None:
    SegformerModel(SegformerConfig()).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({f"other.{name}": value for name, value in weights.items()}, tmp_path / "model.safetensors")
    with pytest.raises(AstSegError, match="missing"):
        load_backbone(model, str(tmp_path))


def test_another_network() -> None:
    model = AstSeg(replace(ARCHITECTURE, feature_network="compact-unet"))
    with pytest.raises(AstSegError, match="compact-unet"):
        load_backbone(model, "anything")


def test_a_network_that_sees_slow_features() -> None:
    model = AstSeg(replace(ARCHITECTURE, slow_features=SlowFeatureLayout("filters", directions=4)))
    with pytest.raises(AstSegError, match="this model sees slow features"):
        load_backbone(model, "anything")
