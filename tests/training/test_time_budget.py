from dataclasses import replace

import pytest
import torch

from astseg.data.store import Bytes
from astseg.model.backgrounds.build import BackgroundNetwork
from astseg.training import time_budget as budget
from astseg.training.config import Recipe, Scenario
from astseg.training.presets import cpu_recipe, gpu_recipe
from astseg.training.time_budget import background_steps, fit_to_steps, fit_to_time, with_steps

CPU = torch.device("cpu")


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

    def test_takes_any_number_of_steps(self) -> None:
        recipe = with_steps(cpu_recipe((64, 64), 3), 1, 1)
        assert (recipe.background.steps, recipe.foreground.steps, recipe.foreground.frozen_steps) == (1, 1, 0)


class TestFitting:
    @pytest.fixture(autouse=True)
    def _known_speed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Half a second, two seconds and four seconds a step."""
        seconds = {"background": 0.5, "objects": 2.0, "joint": 4.0}
        monkeypatch.setattr(budget._Stopwatch, "seconds_per_step", lambda _, name: seconds[name])

    def test_never_fewer_steps_than_can_teach_anything(self, tiny_recipe: Recipe, tiny_images: Bytes) -> None:
        recipe, minutes = fit_to_time(tiny_recipe, tiny_images, CPU, 0.01)
        assert (recipe.background.steps, recipe.foreground.steps) == (200, 200)
        assert minutes == pytest.approx(200 * (0.5 + 0.6 * 2.0 + 0.4 * 4.0) / 60)

    @pytest.mark.parametrize(("scenario", "share"), [("frozen", 2.0), ("baseline", 4.0)])
    def test_other_scenarios_take_the_time_too(
        self, scenario: Scenario, share: float, tiny_recipe: Recipe, tiny_images: Bytes
    ) -> None:
        recipe = replace(tiny_recipe, foreground=replace(tiny_recipe.foreground, scenario=scenario))
        fitted, estimate = fit_to_time(recipe, tiny_images, CPU, 240.0)
        assert estimate == pytest.approx(240.0, rel=1e-3)
        background = 0.0 if scenario == "baseline" else 0.5 * fitted.background.steps
        assert background + share * fitted.foreground.steps == pytest.approx(60 * 240.0, rel=1e-3)

    def test_phases_take_the_time(self, tiny_recipe: Recipe, tiny_images: Bytes) -> None:
        minutes = 240.0
        recipe, _ = fit_to_time(tiny_recipe, tiny_images, CPU, minutes)
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
    def test_a_still_background_is_soon_learned(
        self, minutes: float, steps: int, tiny_recipe: Recipe, tiny_images: Bytes
    ) -> None:
        recipe = replace(tiny_recipe, architecture=replace(tiny_recipe.architecture, background_network="static"))
        fitted, _ = fit_to_time(recipe, tiny_images, CPU, minutes)
        foreground = fitted.foreground
        joint = foreground.steps - foreground.frozen_steps
        assert fitted.background.steps == steps
        assert 0.5 * steps + 2.0 * foreground.frozen_steps + 4.0 * joint == pytest.approx(60 * minutes, rel=1e-3)

    @pytest.mark.parametrize(("network", "steps"), [("static", 1_500), ("region", 3_000)])
    def test_to_steps(self, network: BackgroundNetwork, steps: int, tiny_recipe: Recipe) -> None:
        recipe = replace(tiny_recipe, architecture=replace(tiny_recipe.architecture, background_network=network))
        assert fit_to_steps(recipe, 9_000) == with_steps(recipe, steps, 9_000)
        assert fit_to_steps(recipe, 2) == with_steps(recipe, 1, 2)

    def test_background_alone(self, tiny_recipe: Recipe, tiny_images: Bytes) -> None:
        assert background_steps(tiny_recipe, tiny_images, CPU, 10.0) == (1_200, 10.0)
        assert background_steps(tiny_recipe, tiny_images, CPU, 0.1) == (200, pytest.approx(200 * 0.5 / 60))
        still = replace(tiny_recipe, architecture=replace(tiny_recipe.architecture, background_network="static"))
        assert background_steps(still, tiny_images, CPU, 30.0) == (1_500, pytest.approx(1_500 * 0.5 / 60))


def test_measures_a_few_steps_of_each_phase(
    tiny_recipe: Recipe, tiny_images: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {}
    original = budget._Stopwatch.seconds_per_step

    def remember(self, name: str) -> float:
        measured[name] = (len(self.times[name]), original(self, name))
        return measured[name][1]

    monkeypatch.setattr(budget._Stopwatch, "seconds_per_step", remember)
    # A backbone that cannot be had and an automatic choice must not matter for measuring.
    shape = replace(tiny_recipe.architecture, feature_network="segformer-b0")
    recipe = replace(tiny_recipe, architecture=shape, backbone="./nowhere")
    recipe = replace(recipe, background=replace(recipe.background, automatic_complexity=True))
    fitted, _ = fit_to_time(recipe, tiny_images, CPU, 1e-3)
    assert {name: count for name, (count, _) in measured.items()} == {"background": 6, "objects": 6, "joint": 6}
    assert all(seconds > 0 for _, seconds in measured.values())
    assert fitted.backbone == "./nowhere"
    assert fitted.background.automatic_complexity


@pytest.mark.parametrize(("seconds", "timed"), [(0.0, 6), (3.0, 3), (60.0, 2)])
def test_slow_steps_of_the_background_are_timed_twice_only(
    seconds: float, timed: int, tiny_recipe: Recipe, tiny_images: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1_000))
    monkeypatch.setattr(budget.time, "monotonic", lambda: 0.0)
    counted = []

    def on_step_end(self, state) -> None:
        counted.append(state.step)
        self.times[state.phase.name].append(seconds * next(clock))

    monkeypatch.setattr(budget._Stopwatch, "on_step_end", on_step_end)
    monkeypatch.setattr(budget._Stopwatch, "seconds_per_step", lambda self, name: 1.0)
    background_steps(tiny_recipe, tiny_images, CPU, 10.0)
    assert len(counted) == timed


def test_seconds_per_step_leave_out_the_first() -> None:
    stopwatch = budget._Stopwatch()
    stopwatch.times["joint"] = [100.0, 101.0, 103.0, 106.0]
    assert stopwatch.seconds_per_step("joint") == pytest.approx(2.0)
