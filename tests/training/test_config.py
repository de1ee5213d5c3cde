from dataclasses import replace

import pytest

from astseg.model.architecture import Architecture
from astseg.training.config import BackgroundTraining, ForegroundTraining, Recipe


class TestBackgroundTraining:
    @pytest.mark.parametrize(
        "settings",
        [
            {"steps": 0},
            {"batch_size": 0},
            {"complex_steps": 0},
            {"complex_epochs": -1},
            {"exponent_ramp_steps": -1},
            {"exponent_ramp_start": -1},
        ],
    )
    def test_refuses_the_impossible(self, settings) -> None:
        with pytest.raises(ValueError, match="impossible background training"):
            BackgroundTraining(**settings)


class TestForegroundTraining:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"scenario": "both"}, "one of curriculum, baseline, frozen, background, not 'both'"),
            ({"steps": 0}, "impossible foreground training"),
            ({"batch_size": 0}, "impossible foreground training"),
            ({"entropy_weight": -1e-3}, "impossible foreground training"),
            ({"slot_use_weight": -1e-3}, "impossible foreground training"),
            ({"entropy_warmup_steps": -1}, "impossible foreground training"),
            ({"slot_use_warmup_steps": -1}, "impossible foreground training"),
            ({"steps": 30_000}, "of 30000 steps, 30000 cannot have a frozen background"),
            ({"frozen_steps": -1}, "of 125000 steps, -1 cannot have a frozen background"),
        ],
    )
    def test_refuses_the_impossible(self, settings, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ForegroundTraining(**settings)

    @pytest.mark.parametrize("scenario", ["baseline", "frozen", "background"])
    def test_only_the_curriculum_reads_the_frozen_steps(self, scenario) -> None:
        assert ForegroundTraining(scenario=scenario, steps=10).steps == 10


class TestRecipe:
    ARCHITECTURE = Architecture((64, 64), 3)

    def test_needs_a_background_network(self) -> None:
        with pytest.raises(ValueError, match="without a background network cannot be trained"):
            Recipe(replace(self.ARCHITECTURE, background_network=None))

    def test_backbone_weights_are_for_segformer(self) -> None:
        assert Recipe(self.ARCHITECTURE, backbone="nvidia/mit-b3").backbone
        with pytest.raises(ValueError, match="backbone weights are for SegFormer, not for unet"):
            Recipe(replace(self.ARCHITECTURE, feature_network="unet"), backbone="nvidia/mit-b3")
