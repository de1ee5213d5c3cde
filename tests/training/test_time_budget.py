from itertools import accumulate

import pytest
import torch

from astseg._core.settings_io import override
from astseg.data.store import Bytes
from astseg.model.backgrounds.build import BackgroundNetwork
from astseg.training.config import BaselineTraining, Recipe, Scenario
from astseg.training.execution import Execution
from astseg.training.phases import phases
from astseg.training.shortening import with_steps
from astseg.training.small_recipes import cpu_recipe, gpu_recipe, textures_recipe
from astseg.training.time_budget import fit_to_steps, fit_to_time, measure_step_seconds

CPU = torch.device("cpu")
SECONDS = {"background": 0.5, "objects": 2.0, "joint": 4.0}
"""What a step of each phase takes."""


class TestWithSteps:
    def test_sets_the_steps_of_the_phases(self) -> None:
        recipe = with_steps(cpu_recipe((64, 64), 3), 1_000, 5_000)
        assert recipe.background.steps == 1_000
        assert recipe.foreground.steps == 5_000
        assert recipe.foreground.frozen_steps == 3_000

    def test_shortens_warmups_to_fit(self) -> None:
        recipe = with_steps(gpu_recipe((64, 64), 3), 400, 600)
        assert recipe.foreground.learning_rate.warmup_steps == 60
        assert recipe.foreground.entropy_warmup_steps == 200
        assert recipe.background.exponent_ramp_start + recipe.background.exponent_ramp_steps == 360
        assert recipe.background.exponent_ramp_start == 240
        assert recipe.background.learning_rate.warmup_steps == 30

    def test_keeps_warmups_that_fit(self) -> None:
        recipe = gpu_recipe((64, 64), 3)
        long = with_steps(recipe, 100_000, 1_000_000)
        assert long.foreground.learning_rate == recipe.foreground.learning_rate
        assert long.foreground.entropy_warmup_steps == recipe.foreground.entropy_warmup_steps
        assert long.background.exponent_ramp_steps == recipe.background.exponent_ramp_steps

    @pytest.mark.parametrize(
        ("steps", "expected"), [(1, (0, 1, 1)), (1_000, (400, 250, 650)), (60_000, (2_400, 1_500, 3_900))]
    )
    def test_shortens_what_precedes_the_objects_in_baseline_training(
        self, steps: int, expected: tuple[int, int, int]
    ) -> None:
        baseline = with_steps(cpu_recipe((64, 64), 3), 1, steps).foreground.baseline
        assert (baseline.objects_warmup_steps, baseline.placement_step, baseline.shadow_start) == expected

    def test_a_baseline_without_places_gets_none(self, tiny_recipe: Recipe) -> None:
        plain = override(tiny_recipe, {"foreground.baseline": {}})
        assert with_steps(plain, 10, 1_000).foreground.baseline == BaselineTraining()

    def test_takes_any_number_of_steps(self) -> None:
        recipe = with_steps(cpu_recipe((64, 64), 3), 1, 1)
        assert (recipe.background.steps, recipe.foreground.steps, recipe.foreground.frozen_steps) == (1, 1, 0)


class TestFitting:
    def test_never_fewer_steps_than_can_teach_anything(self, tiny_recipe: Recipe) -> None:
        recipe, minutes = fit_to_time(tiny_recipe, SECONDS, 0.01)
        assert (recipe.background.steps, recipe.foreground.steps) == (200, 200)
        assert minutes == pytest.approx(200 * (0.5 + 0.6 * 2.0 + 0.4 * 4.0) / 60)

    @pytest.mark.parametrize(("scenario", "share"), [("frozen", 2.0), ("baseline", 4.0)])
    def test_other_scenarios_take_the_time_too(self, scenario: Scenario, share: float, tiny_recipe: Recipe) -> None:
        recipe = override(tiny_recipe, {"foreground.scenario": scenario})
        fitted, estimate = fit_to_time(recipe, {phase.name: SECONDS[phase.name] for phase in phases(recipe)}, 240.0)
        assert estimate == pytest.approx(240.0, rel=1e-3)
        background = 0.0 if scenario == "baseline" else 0.5 * fitted.background.steps
        assert background + share * fitted.foreground.steps == pytest.approx(60 * 240.0, rel=1e-3)

    def test_phases_take_the_time(self, tiny_recipe: Recipe) -> None:
        minutes = 240.0
        recipe, _ = fit_to_time(tiny_recipe, SECONDS, minutes)
        foreground = recipe.foreground
        seconds = [
            0.5 * recipe.background.steps,
            2.0 * foreground.frozen_steps,
            4.0 * (foreground.steps - foreground.frozen_steps),
        ]
        assert sum(seconds) == pytest.approx(60 * minutes, rel=1e-3)
        assert seconds[0] == pytest.approx(0.2 * 60 * minutes, rel=1e-3)
        assert foreground.frozen_steps == round(0.6 * foreground.steps)
        assert recipe.architecture == tiny_recipe.architecture

    @pytest.mark.parametrize(("minutes", "steps"), [(240.0, 1_500), (30.0, 720)])
    def test_a_still_background_is_soon_learned(self, minutes: float, steps: int, tiny_recipe: Recipe) -> None:
        recipe = override(tiny_recipe, {"architecture.background_network": "static"})
        fitted, _ = fit_to_time(recipe, SECONDS, minutes)
        foreground = fitted.foreground
        joint = foreground.steps - foreground.frozen_steps
        assert fitted.background.steps == steps
        assert 0.5 * steps + 2.0 * foreground.frozen_steps + 4.0 * joint == pytest.approx(60 * minutes, rel=1e-3)

    @pytest.mark.parametrize(("network", "steps"), [("static", 1_500), ("region", 3_000)])
    def test_to_steps(self, network: BackgroundNetwork, steps: int, tiny_recipe: Recipe) -> None:
        recipe = override(tiny_recipe, {"architecture.background_network": network})
        assert fit_to_steps(recipe, 9_000) == with_steps(recipe, steps, 9_000)
        assert fit_to_steps(recipe, 2) == with_steps(recipe, 1, 2)

    def test_beside_slow_features_the_background_serves_the_colors_alone(self) -> None:
        recipe = textures_recipe((64, 64), 3, backbone="filters")
        steps = recipe.background.steps
        fitted, minutes = fit_to_time(recipe, {"background": 0.1, "objects": 0.1, "preparation": 300.0}, 30.0)
        assert minutes == pytest.approx(30.0, abs=0.01)
        assert fitted.background.steps == fit_to_steps(recipe, 9_000).background.steps == steps
        alone = override(recipe, {"foreground.scenario": "background"})
        assert fit_to_steps(alone, 9_000).background.steps == 9_000

    def test_background_alone(self, tiny_recipe: Recipe) -> None:
        alone = override(tiny_recipe, {"foreground.scenario": "background"})
        static = override(alone, {"architecture.background_network": "static"})
        for recipe, minutes, steps in ((alone, 10.0, 1_200), (alone, 0.1, 200), (static, 30.0, 1_500)):
            expected = with_steps(recipe, steps, tiny_recipe.foreground.steps)
            assert fit_to_time(recipe, {"background": 0.5}, minutes) == (expected, steps * 0.5 / 60)


class TestMeasuring:
    def test_a_few_steps_of_each_phase_but_the_first(self, tiny_recipe: Recipe, tiny_images: Bytes) -> None:
        # A backbone that cannot be had and an automatic choice must not matter.
        networks = {"architecture.feature_network": "segformer-b0", "architecture.background_network": "simple"}
        changes = {"background.automatic_complexity": True, "backbone": "./nowhere"}
        recipe = override(tiny_recipe, {**networks, **changes})
        ticks = accumulate(gap for step in (1.0, 2.0, 3.0) for gap in (100.0, *5 * [step]))
        found = measure_step_seconds(recipe, tiny_images, CPU, clock=lambda: next(ticks))
        assert found == {"background": 1.0, "objects": 2.0, "joint": 3.0}
        assert not list(ticks)

    @pytest.mark.parametrize(("seconds", "timed"), [(0.0, 6), (3.0, 3), (60.0, 2)])
    def test_of_the_background_alone_slow_steps_twice_only(
        self, seconds: float, timed: int, tiny_recipe: Recipe, tiny_images: Bytes
    ) -> None:
        times: list[float] = []

        def clock() -> float:
            times.append(len(times) * seconds)
            return times[-1]

        recipe = override(tiny_recipe, {"foreground.scenario": "background"})
        assert measure_step_seconds(recipe, tiny_images, CPU, clock) == {"background": seconds}
        assert len(times) == timed

    def test_not_while_losses_are_compiled(
        self, tiny_recipe: Recipe, tiny_images: Bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch, "compile", lambda function, **_: function)
        ticks = accumulate(gap for step in (1.0, 2.0, 3.0) for gap in (100.0, 90.0, 20.0, 10.0, *5 * [step]))
        found = measure_step_seconds(tiny_recipe, tiny_images, CPU, lambda: next(ticks), Execution(compiled=True))
        assert found == {"background": 1.0, "objects": 2.0, "joint": 3.0}
        assert not list(ticks)

    def test_by_the_time_that_passes(self, tiny_recipe: Recipe, tiny_images: Bytes) -> None:
        recipe = override(tiny_recipe, {"foreground.scenario": "baseline"})
        assert measure_step_seconds(recipe, tiny_images, CPU)["joint"] > 0
