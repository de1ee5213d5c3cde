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
        ({"image_size": (64,)}, "image_size"),
        ({"image_size": ()}, "image_size"),
        ({"image_size": (64, 0)}, "image_size"),
        ({"num_slots": 0}, "num_slots should be between 1 and 254"),
        ({"num_slots": 255}, "num_slots should be between 1 and 254"),
        ({"glimpse_channels": (16, 0)}, "^glimpse_channels should each be between 1 and 65536, not 0$"),
        ({"glimpse_channels": (-8,)}, "glimpse_channels"),
        ({"initial_background_log_activation": 1e308}, r"should be between -80\.0 and 80\.0, not 1e\+308$"),
        ({"residual_attention_bias": -1.0}, "residual_attention_bias should be at least 0"),
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
