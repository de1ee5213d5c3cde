import json
from dataclasses import replace
from typing import Any

import pytest

from astseg._core.settings_io import from_builtins, to_builtins
from astseg.model.architecture import Architecture
from astseg.model.latents import LatentLayout


def test_defaults_are_the_paper_s() -> None:
    architecture = Architecture((128, 128), 10)
    assert architecture.feature_network == "segformer-b3"
    assert architecture.refinement == "transformer"
    assert architecture.latents == LatentLayout(32, False, 1.3, 24.0, None, False)
    assert architecture.glimpse_channels == (128, 64, 32, 16, 8)
    assert architecture.corner_convention == "published"
    assert architecture.initial_background_log_activation == 11
    assert architecture.residual_attention_bias == 0
    assert not architecture.shadows


def test_plain_and_back() -> None:
    architecture = Architecture((32, 48), 3, latents=LatentLayout(appearance_dim=7), background_network=None)
    assert from_builtins(Architecture, json.loads(json.dumps(to_builtins(architecture)))) == architecture


@pytest.mark.parametrize(
    ("settings", "key_word"),
    [
        ({"image_size": (64,)}, "image size"),
        ({"image_size": ()}, "image size"),
        ({"image_size": (64, 0)}, "image size"),
        ({"num_slots": 0}, "254 slots"),
        ({"num_slots": 255}, "254 slots"),
        ({"feature_network": "segformer"}, "feature_network"),
        ({"refinement": None}, "refinement"),
        ({"corner_convention": "both"}, "corner_convention"),
        ({"residual_attention_bias": 4.0, "background_network": None}, "attention bias"),
        ({"background_network": "plain"}, "background_network"),
    ],
)
def test_refuses_the_impossible(settings: dict[str, Any], key_word: str) -> None:
    with pytest.raises(ValueError, match=key_word):
        replace(Architecture((64, 64), 3), **settings)
