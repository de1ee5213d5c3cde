from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest

from astseg._core.settings_io import override
from astseg.model.architecture import Architecture
from astseg.model.label_rule.settings import LabelRule
from astseg.model.latents import LatentLayout
from astseg.model.refinement import TransformerLayout
from astseg.model.slow_features.features import SlowFeatureLayout
from astseg.training.config import BackgroundTraining, BaselineTraining, ForegroundTraining, Recipe, Scenario, is_read
from astseg.training.phases import phases
from astseg.training.schedules import LearningRate


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
    def test_refuses_the_impossible(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=rf"^{next(iter(settings))} should be at least [01], not"):
            BackgroundTraining(**settings)


class TestForegroundTraining:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"scenario": "both"}, "not 'both'"),
            ({"steps": 0}, "^steps should be at least 1, not 0$"),
            ({"batch_size": 0}, "^batch_size should be at least 1"),
            ({"entropy_weight": -1e-3}, r"^entropy_weight should be at least 0, not -0\.001$"),
            ({"slot_use_weight": -1e-3}, "^slot_use_weight"),
            ({"entropy_warmup_steps": -1}, "^entropy_warmup_steps"),
            ({"slot_use_warmup_steps": -1}, "^slot_use_warmup_steps"),
            ({"steps": 30_000}, r"^frozen_steps should be below steps \(30000\), not 30000$"),
            ({"frozen_steps": -1}, "^frozen_steps should be at least 0"),
        ],
    )
    def test_refuses_the_impossible(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ForegroundTraining(**settings)

    @pytest.mark.parametrize("scenario", ["baseline", "frozen", "background"])
    def test_only_the_curriculum_reads_the_frozen_steps(self, scenario: Scenario) -> None:
        assert ForegroundTraining(scenario=scenario, steps=10).steps == 10


@pytest.mark.parametrize("scenario", get_args(Scenario))
def test_what_a_scenario_reads_changes_its_phases(scenario: Scenario, tiny_recipe: Recipe) -> None:
    """Another value of a setting shows in the phases, exactly if it is read."""
    recipe = override(tiny_recipe, {"foreground.scenario": scenario})
    for name, value in {
        "background.batch_size": 7,
        "background.learning_rate.peak": 0.5,
        "foreground.steps": 9,
        "foreground.frozen_steps": 2,
        "foreground.entropy_weight": 0.5,
        "foreground.baseline.background_rate": 3.0,
    }.items():
        assert is_read(name, scenario) == (_seen(override(recipe, {name: value})) != _seen(recipe)), name
    assert is_read("foreground.scenario", scenario)
    assert is_read("architecture.num_slots", scenario)


def _seen(recipe: Recipe) -> list[Any]:
    """What training takes from the phases."""
    return [
        (phase.steps, phase.settings.batch_size, phase.group_rates(1), phase.schedule(1)) for phase in phases(recipe)
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"background_rate": 0.0},
        {"objects_warmup_steps": -1},
        {"placement_step": -1},
        {"shadow_start": -1},
        {"background_rate": float("nan")},
    ],
)
def test_an_impossible_baseline(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(settings))} should be (at least|above|a finite)"):
        BaselineTraining(**settings)


class TestRecipe:
    ARCHITECTURE = Architecture((64, 64), 3)

    def test_slots_with_places_get_them_in_baseline_training_too(self) -> None:
        placed, baseline = replace(self.ARCHITECTURE, slot_position_prior=True), ForegroundTraining(scenario="baseline")
        Recipe(self.ARCHITECTURE, foreground=baseline)
        Recipe(placed)
        Recipe(placed, foreground=replace(baseline, baseline=BaselineTraining(placement_step=1)))
        with pytest.raises(ValueError, match="placement_step"):
            Recipe(placed, foreground=baseline)

    def test_needs_a_background_network(self) -> None:
        with pytest.raises(ValueError, match="background network"):
            Recipe(replace(self.ARCHITECTURE, background_network=None))

    def test_backbone_weights_are_for_segformer(self) -> None:
        assert Recipe(self.ARCHITECTURE, backbone="nvidia/mit-b3").backbone
        with pytest.raises(ValueError, match="backbone"):
            Recipe(replace(self.ARCHITECTURE, feature_network="unet"), backbone="nvidia/mit-b3")
        with pytest.raises(ValueError, match="see images, not slow features"):
            Recipe(replace(self.ARCHITECTURE, slow_features=SlowFeatureLayout()), backbone="nvidia/mit-b3")

    def test_automatic_complexity_is_for_ae_ne(self) -> None:
        with pytest.raises(ValueError, match="AE-NE"):
            Recipe(
                replace(self.ARCHITECTURE, background_network="region"), BackgroundTraining(automatic_complexity=True)
            )


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "make",
    [
        lambda: LearningRate(NAN),
        lambda: LearningRate(INFINITE),
        lambda: LearningRate(1e-3, warmup_steps=2.5),  # type: ignore[arg-type]
        lambda: LearningRate(1e-3, decay_start=NAN),
        lambda: LearningRate("1e-3"),  # type: ignore[arg-type]
        lambda: BackgroundTraining(steps=2.5),  # type: ignore[arg-type]
        lambda: BackgroundTraining(batch_size=True),
        lambda: ForegroundTraining(steps=NAN),  # type: ignore[arg-type]
        lambda: ForegroundTraining(entropy_weight=NAN),
        lambda: ForegroundTraining(slot_use_weight=INFINITE),
        lambda: LabelRule(object_error=NAN),
        lambda: LabelRule(min_pixels=1.5),  # type: ignore[arg-type]
        lambda: Architecture((64, 64), 2.5),  # type: ignore[arg-type]
        lambda: Architecture((64, 64.5), 2),  # type: ignore[arg-type]
        lambda: Architecture((64, 64), 2, initial_background_log_activation=NAN),
        lambda: LatentLayout(max_inverse_scale=NAN),
        lambda: TransformerLayout(dropout=NAN),
        lambda: SlowFeatureLayout(scale=NAN),
    ],
)
def test_numbers_that_are_none(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"should (each )?be a (finite|whole) number, not"):
        make()
