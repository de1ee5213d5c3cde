import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from astseg._core.settings_io import override
from astseg.training.config import Recipe, Scenario
from astseg.training.memory import PROCESS_BYTES, LiveBytes, training_memory
from astseg.training.small_recipes import cpu_recipe, custom_images_recipe, textures_recipe

MEASURE = Path(__file__).parents[2] / "benchmarks" / "training_memory.py"


class TestLiveBytes:
    def test_counts_what_is_alive_together(self) -> None:
        with LiveBytes(nn.Module()) as live:
            first = torch.zeros(1000, device="meta")
            second = first + 1
            assert live.peak == 8_000
            del first
            third = second * 2  # in place of the first
            assert live.peak == 8_000
            fourth = third.view(10, 100)  # no memory of its own
            fourth += 1
            assert live.peak == 8_000
            torch.cat([fourth, fourth])
            assert live.peak == 16_000

    def test_counts_what_is_kept_for_going_back_and_not_the_model(self) -> None:
        with torch.device("meta"):
            layers = nn.Sequential(*(layer for _ in range(5) for layer in (nn.Linear(50, 50), nn.Sigmoid())))
        with LiveBytes(layers) as live:
            output = layers(torch.zeros(7, 50, device="meta"))
            forward = live.peak
            output.sum().backward()
        row = 4 * 7 * 50
        assert 6 * row <= forward <= 7 * row  # what went in and came out of each sigmoid; and a linear layer's
        assert live.peak - forward >= 4 * 50 * 50  # gradients


class TestEstimate:
    def test_more_of_anything_takes_more(self) -> None:
        def most(recipe: Recipe) -> float:
            return max(training_memory(recipe).values())

        recipe = cpu_recipe((64, 64), 8)
        assert most(override(recipe, {"foreground.batch_size": 32})) > 1.5 * most(recipe)
        assert most(override(recipe, {"architecture.num_slots": 16})) > 1.3 * most(recipe)
        assert most(cpu_recipe((128, 128), 8)) < most(cpu_recipe((256, 256), 8)) < most(cpu_recipe((512, 512), 8))

    def test_parts_take_what_a_smaller_batch_takes(self) -> None:
        recipe = cpu_recipe((64, 64), 8)
        smaller = override(recipe, {"foreground.batch_size": 4, "background.batch_size": 8})
        whole, divided, small = training_memory(recipe), training_memory(recipe, parts=4), training_memory(smaller)
        for name in ("background", "objects", "joint"):
            assert small[name] <= divided[name] < 1.1 * small[name] < 0.6 * whole[name]
        assert divided["saving"] == whole["saving"]

    def test_grows_with_the_pixels(self) -> None:
        small, large = (training_memory(custom_images_recipe((side, side), 8)) for side in (256, 512))
        for name in ("background", "objects", "painting"):
            assert large[name] / small[name] == pytest.approx(4, rel=0.15)

    @pytest.mark.parametrize("scenario", ["curriculum", "frozen", "baseline", "background"])
    def test_has_the_phases_of_the_scenario(self, scenario: Scenario, tiny_recipe: Recipe) -> None:
        parts = training_memory(override(tiny_recipe, {"foreground.scenario": scenario}))
        expected = {"curriculum": {"background", "objects", "joint", "painting"}, "baseline": {"joint"}}
        expected |= {"frozen": {"background", "objects", "painting"}, "background": {"background"}}
        assert parts.keys() == expected[scenario] | {"saving"}

    def test_few_images_are_soon_painted(self) -> None:
        recipe = custom_images_recipe((64, 64), 8)
        assert training_memory(recipe, 8)["painting"] < training_memory(recipe)["painting"] / 7
        assert training_memory(recipe, 1_000) == training_memory(recipe)

    def test_counts_the_larger_network_that_a_background_may_turn_out_to_need(self, tiny_recipe: Recipe) -> None:
        recipe = override(tiny_recipe, {"architecture.background_network": "simple"})
        unsure = override(recipe, {"background.automatic_complexity": True})
        assert training_memory(unsure)["background"] > 1.5 * training_memory(recipe)["background"]

    @pytest.mark.skipif(sys.platform != "linux", reason="measured by what Linux tells of a process")
    @pytest.mark.parametrize(("name", "build"), [("small", cpu_recipe), ("textures", textures_recipe)])
    def test_against_a_process_that_trains(self, name: str, build: Callable[[tuple[int, int], int], Recipe]) -> None:
        """Its most resident memory; docs/own-pictures.md has more of them."""
        command = [sys.executable, str(MEASURE), name, "--size", "128x128", "--images", "64"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        measured, estimated = (float(word) for word in output.split()[-5:-1:3])
        estimate = max(training_memory(build((128, 128), 8), 64).values()) + PROCESS_BYTES
        assert estimated == pytest.approx(estimate / 1e9, abs=0.01)
        assert estimated == pytest.approx(measured, rel=0.3)
