import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from astseg._core.errors import AstSegError, MemoryShortageError
from astseg._core.settings_io import override
from astseg.data.store import Bytes, Store
from astseg.data.store_writer import StoreWriter
from astseg.training import auto_config as choices
from astseg.training.auto_config import check_background_size, check_size, choose_background, choose_recipe
from astseg.training.config import Recipe
from astseg.training.memory import Memory
from astseg.training.presets import PRESETS, custom_images_recipe
from astseg.training.time_budget import with_steps

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def store(tiny_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store, and a machine on which a minute is a hundred steps."""

    def fit(recipe: Recipe, images: Bytes, device: torch.device, minutes: float) -> tuple[Recipe, float]:
        return with_steps(recipe, int(100 * minutes), int(300 * minutes)), max(minutes, 0.7)

    def alone(recipe: Recipe, images: Bytes, device: torch.device, minutes: float) -> tuple[int, float]:
        pace = {"simple": 100, "complex": 25, "region": 100, "static": 100}[recipe.architecture.background_network]
        return int(pace * minutes), max(minutes, 7)

    monkeypatch.setattr(choices, "machine_memory", lambda _: Memory(16e9, 12e9))
    monkeypatch.setattr(choices, "fit_to_time", fit)
    monkeypatch.setattr(choices, "background_steps", alone)
    return tiny_store


def small_store(path: Path, side: int, largest: int = 0) -> Store:
    images = np.random.default_rng(0).integers(0, largest, (12, side, side, 3), np.uint8, endpoint=True)
    with StoreWriter(path, (side, side), "nothing", "none") as writer, writer.split("train") as split:
        split.append(images)
    return Store(path)


class TestOwnRecipe:
    def test_changes_hold_whatever_the_time_makes_of_the_rest(self, store: Store) -> None:
        usual = choose_recipe(store, CPU, minutes=1).recipe
        changes = {"foreground.entropy_warmup_steps": 77_000, "label_rule.max_shade": 0.9}
        choice = choose_recipe(store, CPU, minutes=1, changes=changes)
        assert choice.recipe == override(usual, changes)
        assert any("foreground.entropy_warmup_steps = 77000, " in reason.text for reason in choice.reasons)

    def test_who_sets_the_steps_sets_no_time(self, store: Store) -> None:
        changes = {"foreground.steps": 70, "foreground.frozen_steps": 30, "background.steps": 9}
        recipe = choose_recipe(store, CPU, changes=changes).recipe
        assert (recipe.foreground.steps, recipe.foreground.frozen_steps, recipe.background.steps) == (70, 30, 9)
        for options in ({"minutes": 1}, {"steps": 9}):
            with pytest.raises(AstSegError, match="Give either a time"):
                choose_recipe(store, CPU, changes=changes, **options)

    def test_takes_the_place_of_a_preset(self, store: Store) -> None:
        own = PRESETS["demo"].recipe
        choice = choose_recipe(store, CPU, recipe=own)
        assert choice == replace(choose_recipe(store, CPU, preset="demo"), reasons=choice.reasons)
        assert choice.reasons[0].text == "Recipe: as you give it."
        with pytest.raises(AstSegError, match="either a preset or a recipe"):
            choose_recipe(store, CPU, recipe=own, preset="demo")
        with pytest.raises(AstSegError, match="has a background network of its own"):
            choose_recipe(store, CPU, recipe=own, static=True)

    def test_a_size_of_its_own_comes_from_the_images(self, store: Store) -> None:
        with pytest.raises(AstSegError, match="at the size of its images"):
            choose_recipe(store, CPU, changes={"architecture.image_size": [64, 64]})


class TestRecipe:
    def test_by_default_half_an_hour_of_the_small_one(self, store: Store) -> None:
        choice = choose_recipe(store, CPU)
        assert choice.recipe == with_steps(custom_images_recipe((32, 32), 8, static=True), 3_000, 9_000)
        reasons = "\n".join(reason.text for reason in choice.reasons)
        for words in ("the one for a CPU", "12 of 32x32", "at most 8", "a guess", "3000 for", "9000 for", "30 min"):
            assert words in reasons

    def test_says_when_it_takes_longer_than_was_wished(self, store: Store) -> None:
        assert "about 0.6 min on this machine." in choose_recipe(store, CPU, minutes=0.6).reasons[-1].text
        longer = "about 1 min on this machine: fewer would teach nothing."
        assert longer in choose_recipe(store, CPU, minutes=0.5).reasons[-1].text

    @pytest.mark.parametrize("device", [CPU, torch.device("cuda")])
    @pytest.mark.parametrize(
        ("largest", "static", "network", "reason"),
        [
            (0, None, "static", r"one for all images \(100% of nearly every image is as in the others\)\."),
            (255, None, "region", r"many \(\d% of nearly every image is as in the others\)\."),
            (255, True, "static", r"one for all images \(as you say\)\."),
            (0, False, "region", r"many \(as you say\)\."),
        ],
    )
    def test_one_background_or_many(
        self,
        device: torch.device,
        largest: int,
        static: bool | None,
        network: str,
        reason: str,
        store: Store,
        tmp_path: Path,
    ) -> None:
        choice = choose_recipe(small_store(tmp_path / "small", 32, largest), device, static=static)
        assert choice.recipe.architecture.background_network == network
        (background,) = (line for line in choice.reasons if re.fullmatch(f"Background: {reason}", line.text))
        assert background.wish == ("static" if static is None else None)

    def test_a_gpu_gets_the_large_one(self, store: Store) -> None:
        choice = choose_recipe(store, torch.device("cuda"), minutes=10)
        assert choice.recipe.architecture.feature_network == "unet"
        assert "GPU" in choice.reasons[0].text

    def test_what_the_user_says(self, store: Store) -> None:
        choice = choose_recipe(store, CPU, num_slots=4, minutes=5)
        assert choice.recipe.architecture.num_slots == 4
        assert choice.recipe.foreground.steps == 1_500
        assert any("as you say" in reason.text for reason in choice.reasons)

    def test_steps_in_place_of_a_time(self, store: Store) -> None:
        recipe = choose_recipe(store, CPU, steps=3_000).recipe
        assert recipe.foreground.steps == 3_000
        assert recipe.background.steps == 1_000

    def test_a_preset_keeps_its_steps_and_takes_the_images_size(self, store: Store) -> None:
        recipe = choose_recipe(store, CPU, preset="clevr").recipe
        published = PRESETS["clevr"].recipe
        assert recipe.architecture.image_size == (32, 32)
        assert recipe.architecture.glimpse_channels == (64, 32, 16, 8)
        assert recipe.architecture.num_slots == 10
        assert recipe.foreground == published.foreground
        assert recipe.background == published.background

    def test_a_preset_with_another_k_and_time(self, store: Store) -> None:
        recipe = choose_recipe(store, CPU, preset="demo", num_slots=5, minutes=7).recipe
        assert recipe.architecture.num_slots == 5
        assert recipe.foreground.steps == 2_100

    @pytest.mark.parametrize(
        ("wishes", "message"),
        [
            ({"num_slots": 0}, "between 1 and 254, not 0"),
            ({"num_slots": 255}, "between 1 and 254, not 255"),
            ({"minutes": 0}, "should be more than 0"),
            ({"minutes": -3.0}, "should be more than 0"),
            ({"steps": 0}, "should be more than 0"),
            ({"minutes": 3, "steps": 100}, "either the minutes or the steps"),
            ({"preset": "demo", "static": False}, "a recipe has a background network of its own"),
            ({"preset": "nothing"}, "There is no preset 'nothing'"),
        ],
    )
    def test_refuses_the_impossible(self, store: Store, wishes, message: str) -> None:
        with pytest.raises(AstSegError, match=message):
            choose_recipe(store, CPU, **wishes)

    @pytest.mark.parametrize("wishes", [{}, {"preset": "demo"}, {"preset": "objectsroom-unet"}, {"steps": 300}])
    def test_images_that_are_too_small(self, store: Store, tmp_path: Path, wishes) -> None:
        with pytest.raises(AstSegError, match=r"These images do not suit the model: .* at least \d+ pixels a side"):
            choose_recipe(small_store(tmp_path / "small", 12), CPU, **wishes)


class TestBackgroundRecipe:
    @pytest.mark.parametrize(("largest", "network"), [(8, "static"), (255, "region")])
    def test_a_processor_gets_a_small_network(self, largest: int, network: str, store: Store, tmp_path: Path) -> None:
        choice = choose_background(small_store(tmp_path / "small", 32, largest), CPU, 3.0)
        assert choice.recipe.architecture.background_network == network
        assert choice.recipe.foreground.scenario == "background"
        assert choice.recipe.background.steps == 300
        background, images, memory, steps = (reason.text for reason in choice.reasons)
        assert background.startswith("Background: one for all" if network == "static" else "Background: many (")
        assert images == "Images: 12 of 32x32 to learn from."
        assert memory.startswith("Memory: about 0.5 GB")
        assert steps.startswith("Steps: 300, about 7 min")

    def test_a_gpu_chooses_its_channels_by_itself(self, store: Store) -> None:
        recipe = choose_background(store, GPU, 20.0).recipe
        assert recipe.architecture.background_network == "simple"
        assert recipe.background.automatic_complexity
        assert (recipe.background.steps, recipe.background.complex_steps) == (2_000, 500), "each takes the minutes"
        assert recipe.foreground.scenario == "background"

    def test_says_what_it_takes(self, store: Store) -> None:
        images, memory, steps, more = (reason.text for reason in choose_background(store, GPU, 20.0).reasons)
        assert images == "Images: 12 of 32x32 to learn from."
        assert re.fullmatch(r"Memory: about \d\.\d GB \(12 GB are free\)\.", memory)
        assert steps == "Steps: 2000, about 20 min on this machine."
        assert more.endswith("a larger network, 500 more, about 20 min on this machine.")
        too_little = choose_background(store, GPU, 2.0).reasons[2].text
        assert too_little == "Steps: 200, about 7 min on this machine: fewer would teach nothing."

    def test_images_that_are_too_small(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(AstSegError, match="These images do not suit the model"):
            choose_background(small_store(tmp_path / "small", 12), CPU, 1.0)
        with pytest.raises(AstSegError, match="These images do not suit the model"):
            choose_background(small_store(tmp_path / "tiny", 12), GPU, 1.0)


class TestMemory:
    @pytest.mark.parametrize(
        ("free", "said"),
        [(9e9, r"\(9\.0 GB are free\)\."), (0.3e9, r", but only 0\.3 GB are free: end other programs")],
    )
    def test_is_told_among_the_reasons(self, free: float, said: str, store: Store, monkeypatch) -> None:
        monkeypatch.setattr(choices, "machine_memory", lambda _: Memory(12e9, free))
        for choice in (choose_recipe(store, CPU), choose_background(store, CPU, 1.0)):
            assert any(re.match(rf"Memory: about 0\.\d GB ?{said}", reason.text) for reason in choice.reasons)

    @pytest.mark.parametrize("device", [CPU, GPU])
    def test_more_than_there_is_is_refused_before_a_step_is_timed(
        self, device: torch.device, store: Store, monkeypatch
    ) -> None:
        monkeypatch.setattr(choices, "machine_memory", lambda _: Memory(1e6, 1e6))
        for name in ("fit_to_time", "background_steps"):
            monkeypatch.setattr(choices, name, lambda *_: pytest.fail("a step was timed"))
        message = (
            r"Training at 32x32 takes about \d\.\d GB of memory, and .* has 0\.0 GB\. Less is taken by a smaller size"
        )
        for refused in (
            lambda: choose_recipe(store, device),
            lambda: choose_background(store, device, 1.0),
            lambda: check_size((32, 32), device),
            lambda: check_background_size((32, 32), device),
        ):
            with pytest.raises(MemoryShortageError, match=message):
                refused()


class TestSizes:
    @pytest.mark.parametrize("device", [CPU, GPU])
    @pytest.mark.parametrize("wishes", [{}, {"static": True}, {"preset": "demo"}, {"preset": "objectsroom-unet"}])
    def test_what_would_be_refused_later(self, device: torch.device, wishes, store: Store) -> None:
        check_size((64, 64), device, **wishes)
        with pytest.raises(AstSegError, match="These images do not suit the model"):
            check_size((12, 12), device, **wishes)

    @pytest.mark.parametrize("device", [CPU, GPU])
    def test_of_the_background_alone(self, device: torch.device, store: Store) -> None:
        check_background_size((64, 64), device)
        with pytest.raises(AstSegError, match="These images do not suit the model"):
            check_background_size((12, 12), device)
