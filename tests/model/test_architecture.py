import json
from dataclasses import replace

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
    ("settings", "message"),
    [
        ({"image_size": (64,)}, r"a height and a width, not \(64,\)"),
        ({"image_size": ()}, "a height and a width"),
        ({"image_size": (64, 0)}, r"a height and a width, not \(64, 0\)"),
        ({"num_slots": 0}, "between 1 and 254 slots, not 0"),
        ({"num_slots": 255}, "between 1 and 254 slots, not 255"),
        ({"feature_network": "segformer"}, "feature_network should be one of segformer-b0, .*, not 'segformer'"),
        ({"refinement": None}, "refinement should be one of transformer, residual, none, not None"),
        ({"corner_convention": "both"}, "corner_convention should be one of published, consistent, not 'both'"),
        ({"residual_attention_bias": 4.0, "background_network": None}, "needs a background network"),
        ({"background_network": "plain"}, "background_network should be one of simple, complex, region, static, None"),
    ],
)
def test_refuses_the_impossible(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(Architecture((64, 64), 3), **settings)
