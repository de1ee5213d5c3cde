import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from astseg._core.errors import AstSegError, MemoryShortageError
from astseg._core.machine_memory import Memory
from astseg._core.settings_io import override
from astseg.data.store import Bytes, Store
from astseg.data.store_writer import StoreWriter
from astseg.training import precision, recipe_reasons
from astseg.training.background_choice import check_background_size, choose_background
from astseg.training.config import Recipe
from astseg.training.execution import Execution
from astseg.training.memory import PROCESS_BYTES, training_memory
from astseg.training.presets import PRESETS
from astseg.training.recipe_choice import check_size, choose_recipe, unfinished_warmups
from astseg.training.recipe_reasons import Reason, RecipeChoice
from astseg.training.recipe_request import RecipeRequest
from astseg.training.shortening import with_steps
from astseg.training.small_recipes import cpu_recipe, custom_images_recipe, textures_recipe
from astseg.training.time_budget import fit_to_time, measure_step_seconds

SLOW = "architecture.slow_features."
CPU, GPU = torch.device("cpu"), torch.device("cuda")
SECONDS = {"simple": 0.6, "complex": 2.4, "region": 0.6, "static": 0.6}
"""What a step of the background takes on the machine of these tests; one of the objects takes 0.16."""


def measure(recipe: Recipe, images: Bytes, device: torch.device, execution: Execution) -> dict[str, float]:
    """A machine that is twice as fast in bf16."""
    assert recipe.architecture.background_network is not None
    seconds = {"background": SECONDS[recipe.architecture.background_network], "objects": 0.16, "joint": 0.16}
    return {name: value / (2 if execution.precision == "bf16" else 1) for name, value in seconds.items()}


@pytest.fixture
def store(tiny_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store, and a machine of a known speed with a GPU and enough memory."""
    monkeypatch.setattr(recipe_reasons, "machine_memory", lambda _: Memory(16e9, 12e9))
    monkeypatch.setattr(recipe_reasons, "measure_step_seconds", measure)
    return tiny_store


def choose(store: Store, device: torch.device = CPU, **request: Any) -> RecipeChoice:
    return choose_recipe(store, device, RecipeRequest(**request))


def small_store(path: Path, side: int, largest: int = 0) -> Store:
    images = np.random.default_rng(0).integers(0, largest, (12, side, side, 3), np.uint8, endpoint=True)
    with StoreWriter(path, (side, side), "nothing", "none") as writer, writer.split("train") as split:
        split.append(images)
    return Store(path)


class TestPrecision:
    def test_more_steps_fit_into_the_time(self, store: Store) -> None:
        usual, faster = choose(store, minutes=30), choose(store, minutes=30, precision="bf16")
        assert (usual.execution.precision, faster.execution.precision) == ("fp32", "bf16")
        ratio = faster.recipe.foreground.steps / usual.recipe.foreground.steps
        assert ratio == pytest.approx(2, rel=0.2)
        (reason,) = (one for one in faster.reasons if one.text.startswith("Precision"))
        assert reason == Reason("Precision: bf16 in the networks (as requested).")
        assert not any(one.text.startswith("Precision") for one in usual.reasons)

    def test_tf32_is_of_all_products(self, store: Store) -> None:
        found = choose(store, GPU, steps=3, precision="tf32")
        assert found.execution == Execution("tf32")
        assert Reason("Precision: tf32 in all products (as requested).") in found.reasons

    def test_the_machine_decides(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: True)
        found = choose(store, preset="objectsroom-unet", precision="auto")
        assert found.execution == Execution("bf16")
        (reason,) = (one for one in found.reasons if one.text.startswith("Precision"))
        assert reason.request == "precision"


class TestExecution:
    def test_is_as_requested_and_said(self, store: Store) -> None:
        found, plain = choose(store, steps=3, parts=4, compiled=True), choose(store, steps=3)
        assert found.execution == Execution(parts=4, compiled=True)
        more = [reason.text for reason in found.reasons if reason not in plain.reasons]
        assert more == [
            "Batches: in 4 parts each, as requested.",
            "Losses: compiled, as requested; the first steps of each phase wait for it.",
        ]

    def test_parts_fit_where_whole_batches_do_not(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        size, recipe = (32, 32), cpu_recipe((32, 32), 3)
        whole, divided = (max(training_memory(recipe, 1, parts).values()) for parts in (1, 16))
        limit = PROCESS_BYTES + (whole + divided) / 2
        monkeypatch.setattr(recipe_reasons, "machine_memory", lambda _: Memory(limit, limit))
        check_size(size, CPU, RecipeRequest(recipe=recipe, parts=16))
        with pytest.raises(MemoryShortageError, match="batches in parts"):
            check_size(size, CPU, RecipeRequest(recipe=recipe))


class TestOwnRecipe:
    def test_changes_hold_whatever_the_time_makes_of_the_rest(self, store: Store) -> None:
        usual = choose(store, minutes=1).recipe
        changes = {"foreground.entropy_warmup_steps": 77_000, "label_rule.max_shade": 0.9}
        choice = choose(store, minutes=1, changes=changes)
        assert choice.recipe == override(usual, changes)
        assert any("foreground.entropy_warmup_steps = 77000, " in reason.text for reason in choice.reasons)

    def test_who_sets_the_steps_sets_no_time(self, store: Store) -> None:
        changes = {"foreground.steps": 70, "foreground.frozen_steps": 30, "background.steps": 9}
        recipe = choose(store, changes=changes).recipe
        assert (recipe.foreground.steps, recipe.foreground.frozen_steps, recipe.background.steps) == (70, 30, 9)

    def test_takes_the_place_of_a_preset(self, store: Store) -> None:
        own = PRESETS["demo"].recipe
        choice = choose(store, recipe=own)
        assert choice == replace(choose(store, preset="demo"), reasons=choice.reasons)
        assert choice.reasons[0].text == "Recipe: your own."


class TestRecipe:
    def test_by_default_half_an_hour_of_the_small_one(self, store: Store) -> None:
        choice = choose_recipe(store, CPU)
        assert choice.recipe == with_steps(custom_images_recipe((32, 32), 8, static=True), 600, 9_000)
        reasons = "\n".join(reason.text for reason in choice.reasons)
        for words in ("the one for a CPU", "12 of 32x32", "at most 8", "a guess", "600 for", "9000 for", "30 min"):
            assert words in reasons

    def test_says_when_it_takes_longer_than_was_wished(self, store: Store) -> None:
        assert "about 9 min on this machine." in choose(store, minutes=9).reasons[-1].text
        longer = "about 3 min on this machine: fewer would teach nothing."
        assert longer in choose(store, minutes=0.5).reasons[-1].text

    @pytest.mark.parametrize("device", [CPU, GPU])
    @pytest.mark.parametrize(
        ("largest", "static", "network", "reason"),
        [
            (0, None, "static", r"one for all images \(100% of the pixels are the same in nearly every image\)\."),
            (255, None, "region", r"many \(\d% of the pixels are the same in nearly every image\)\."),
            (255, True, "static", r"one for all images \(as requested\)\."),
            (0, False, "region", r"many \(as requested\)\."),
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
        choice = choose(small_store(tmp_path / "small", 32, largest), device, static=static)
        assert choice.recipe.architecture.background_network == network
        (background,) = (line for line in choice.reasons if re.fullmatch(f"Background: {reason}", line.text))
        assert background.request == ("static" if static is None else None)

    def test_a_gpu_gets_the_large_one(self, store: Store) -> None:
        choice = choose(store, GPU, minutes=10)
        assert choice.recipe.architecture.feature_network == "unet"
        assert "GPU" in choice.reasons[0].text

    def test_what_the_user_says(self, store: Store) -> None:
        choice = choose(store, num_slots=4, minutes=5)
        assert choice.recipe.architecture.num_slots == 4
        assert choice.recipe.foreground.steps == 1_500
        assert any("as requested" in reason.text for reason in choice.reasons)

    def test_steps_in_place_of_a_time(self, store: Store) -> None:
        recipe = choose(store, steps=3_000).recipe
        assert recipe.foreground.steps == 3_000
        assert recipe.background.steps == 1_000

    def test_another_share_of_frozen_steps_than_the_recipes_is_said(self, store: Store) -> None:
        (steps,) = (
            reason.text for reason in choose(store, preset="clevr", steps=3_000).reasons if "Steps" in reason.text
        )
        assert "for the objects, 60% of these on the frozen background (of the recipe's own steps 24%)" in steps
        (own,) = (reason.text for reason in choose(store, preset="clevr").reasons if "Steps" in reason.text)
        assert "frozen" not in own

    def test_a_preset_keeps_its_steps_and_takes_the_images_size(self, store: Store) -> None:
        recipe = choose(store, preset="clevr").recipe
        published = PRESETS["clevr"].recipe
        assert recipe.architecture.image_size == (32, 32)
        assert recipe.architecture.glimpse_channels == (64, 32, 16, 8)
        assert recipe.architecture.num_slots == 10
        assert recipe.foreground == published.foreground
        assert recipe.background == published.background

    def test_what_counts_pixels_takes_the_images_size_too(self, store: Store) -> None:
        recipe = choose(store, preset="clevrtex-cpu").recipe
        assert recipe == textures_recipe((32, 32), recipe.architecture.num_slots)
        assert recipe.foreground.slot_use_weight == 4 * PRESETS["clevrtex-cpu"].recipe.foreground.slot_use_weight > 0
        changed = choose(store, preset="clevrtex-cpu", changes={"label_rule.min_pixels": 7}).recipe
        assert changed.label_rule is not None
        assert changed.label_rule.min_pixels == 7

    @pytest.mark.parametrize(
        ("scenario", "expected"),
        [
            ("background", "Steps: 2 for the background, as in the recipe."),
            ("baseline", "Steps: 8 for the background and the objects together, as in the recipe."),
            ("frozen", "Steps: 2 for the background and 8 for the objects, as in the recipe."),
            ("curriculum", "Steps: 2 for the background and 8 for the objects, as in the recipe."),
        ],
    )
    def test_the_steps_are_those_of_the_scenario(self, store: Store, scenario: str, expected: str) -> None:
        recipe = with_steps(override(PRESETS["demo"].recipe, {"foreground.scenario": scenario}), 2, 8)
        assert choose(store, recipe=recipe).reasons[-1].text == expected

    @pytest.mark.parametrize(
        ("scenario", "ignored"),
        [
            ("curriculum", "foreground.baseline.placement_step"),
            ("baseline", "background.steps, foreground.frozen_steps"),
            ("frozen", "foreground.baseline.placement_step, foreground.frozen_steps"),
        ],
    )
    def test_changes_that_no_phase_reads_are_told(self, store: Store, scenario: str, ignored: str) -> None:
        values = {"background.steps": 4, "foreground.baseline": {"placement_step": 5}, "foreground.frozen_steps": 6}
        reasons = choose(store, preset="demo", changes={"foreground.scenario": scenario, **values}).reasons
        (text,) = (reason.text for reason in reasons if "Ignored" in reason.text)
        assert text == f"Ignored, as foreground.scenario is {scenario}: {ignored}."
        used = choose(store, preset="demo", changes={"foreground.frozen_steps": 6}).reasons
        assert not any("Ignored" in reason.text for reason in used)

    @pytest.mark.parametrize("asked", [{"steps": 300}, {"changes": {"foreground.steps": 300}}])
    def test_places_that_slots_would_never_get(self, store: Store, asked: dict[str, Any]) -> None:
        never = {
            "foreground.scenario": "baseline",
            "foreground.baseline.placement_step": 301,
            **asked.pop("changes", {}),
        }
        with pytest.raises(AstSegError, match=r"placement_step, which is 301, .* after 300 steps"):
            choose(store, preset="demo", changes=never, **asked)
        last = {**never, "foreground.baseline.placement_step": 300}
        assert choose(store, preset="demo", changes=last, **asked).recipe.foreground.baseline.placement_step == 300

    def test_warm_ups_that_never_end_are_told(self, store: Store) -> None:
        """As they are where the steps are set, and not asked for: setting changes nothing else."""
        steps = {"background.steps": 10, "foreground.steps": 100, "foreground.frozen_steps": 50}
        reasons = choose(store, preset="clevr-cpu", changes=steps).reasons
        (reason,) = (one for one in reasons if one.text.startswith("Warm-ups"))
        assert reason.request == "steps"
        for name in ("background.learning_rate", "foreground.learning_rate", "foreground.entropy"):
            assert re.search(rf"{name}[._]warmup_steps = \d+", reason.text)
        assert "baseline" not in reason.text, "it is not read"
        others: list[dict[str, Any]] = [{}, {"steps": 100}, {"minutes": 1}]
        for asked in others:
            reasons = choose(store, preset="clevr-cpu", **asked).reasons
            assert not any(one.text.startswith("Warm-ups") for one in reasons)

    def test_no_preset_ends_before_its_warm_ups(self) -> None:
        assert not any(unfinished_warmups(preset.recipe) for preset in PRESETS.values())

    def test_a_preset_with_another_k_and_time(self, store: Store) -> None:
        recipe = choose(store, preset="demo", num_slots=5, minutes=7).recipe
        assert recipe.architecture.num_slots == 5
        assert recipe.foreground.steps == 2_100

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({"num_slots": 0}, "not 0"),
            ({"num_slots": 255}, "not 255"),
            ({"minutes": 0}, "should be more than 0"),
            ({"minutes": -3.0}, "should be more than 0"),
            ({"steps": 0}, "should be more than 0"),
            ({"minutes": 3, "steps": 100}, "either the minutes or the steps"),
            ({"preset": "demo", "static": False}, "networks of its own"),
            ({"recipe": PRESETS["demo"].recipe, "static": True}, "networks of its own"),
            ({"recipe": PRESETS["demo"].recipe, "preset": "demo"}, "either a preset or a recipe"),
            ({"changes": {"foreground.steps": 70}, "minutes": 1}, "either a time"),
            ({"changes": {"foreground.steps": 70}, "steps": 9}, "either a time"),
            ({"changes": {"architecture.image_size": [64, 64]}}, "size of its images"),
            ({"changes": {"foreground.entropy_wait": 1}}, "entropy_weight"),
            (
                {"changes": {"architecture.glimpse_channels": [0]}},
                r": architecture\.glimpse_channels .*, not 0\.$",
            ),
            ({"changes": {"foreground.entropy_weight": "nan"}}, r"be: foreground\.entropy_weight .* finite .*'nan'\.$"),
            ({"preset": "nothing"}, "There is no preset 'nothing'"),
            ({"parts": 0}, "whole numbers of at least 1"),
            ({"steps": 10.5}, "whole numbers of at least 1"),
            ({"steps": 3_000_000_000}, "The steps to train should be at most 2147483647, not 3000000000"),
            ({"precision": "fp16"}, "should be one of auto, fp32"),
        ],
    )
    def test_refuses_the_impossible(self, asked: dict[str, Any], message: str) -> None:
        with pytest.raises(AstSegError, match=message):
            RecipeRequest(**asked)

    @pytest.mark.parametrize(
        "asked",
        [{"steps": 3_000_000_000}, {"minutes": 1e9}, {"textured": True, "changes": {SLOW + "backbone": "filters"}}],
    )
    def test_refuses_what_cannot_be_computed(self, store: Store, asked: dict[str, Any]) -> None:
        if "changes" in asked:
            asked["changes"][SLOW + "directions"] = 64
        with pytest.raises(AstSegError, match=r"at most (2147483647|42)"):
            choose(store, **asked)

    def test_a_time_of_too_many_steps_is_not_the_fault_of_the_images(self, store: Store) -> None:
        with pytest.raises(AstSegError, match=r"^These steps cannot be trained: steps should be at most 2147483647"):
            choose(store, minutes=1e9)

    def test_says_who_chose_the_number_of_objects(self, store: Store) -> None:
        reasons = choose(store, changes={"architecture.num_slots": 5}).reasons
        assert any(reason.text == "Objects: at most 5 in an image (as requested)." for reason in reasons)

    @pytest.mark.parametrize("asked", [{}, {"preset": "demo"}, {"preset": "objectsroom-unet"}, {"steps": 300}])
    def test_images_that_are_too_small(self, store: Store, tmp_path: Path, asked: dict[str, Any]) -> None:
        with pytest.raises(AstSegError, match=r"do not suit .* pixels a side"):
            choose(small_store(tmp_path / "small", 12), **asked)


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
        assert steps.startswith("Steps: 300, about 3 min")

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
        too_little = choose_background(store, GPU, 1.0).reasons[2].text
        assert too_little == "Steps: 200, about 2 min on this machine: fewer would teach nothing."

    def test_images_that_are_too_small(self, store: Store, tmp_path: Path) -> None:
        small = small_store(tmp_path / "small", 12)
        for device in (CPU, GPU):
            with pytest.raises(AstSegError, match="do not suit"):
                choose_background(small, device, 1.0)


class TestMemory:
    @pytest.mark.parametrize(
        ("free", "said"),
        [(9e9, r"\(9\.0 GB are free\)\."), (0.3e9, r", but only 0\.3 GB are free: close other programs")],
    )
    def test_is_told_among_the_reasons(
        self, free: float, said: str, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recipe_reasons, "machine_memory", lambda _: Memory(12e9, free))
        for choice in (choose_recipe(store, CPU), choose_background(store, CPU, 1.0)):
            assert any(re.match(rf"Memory: about 0\.\d GB ?{said}", reason.text) for reason in choice.reasons)

    @pytest.mark.parametrize("device", [CPU, GPU])
    def test_more_than_there_is_is_refused_before_a_step_is_timed(
        self, device: torch.device, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recipe_reasons, "machine_memory", lambda _: Memory(1e6, 1e6))
        monkeypatch.setattr(recipe_reasons, "measure_step_seconds", lambda *_, **__: pytest.fail("a step was timed"))
        for refused in (
            lambda: choose_recipe(store, device),
            lambda: choose_background(store, device, 1.0),
            lambda: check_size((32, 32), device, RecipeRequest()),
            lambda: check_background_size((32, 32), device),
        ):
            with pytest.raises(MemoryShortageError, match=r"32x32 takes about \d\.\d GB .* has 0\.0 GB"):
                refused()


class TestSizes:
    @pytest.mark.parametrize("device", [CPU, GPU])
    @pytest.mark.parametrize("asked", [{}, {"static": True}, {"preset": "demo"}, {"preset": "objectsroom-unet"}])
    def test_what_would_be_refused_later(self, device: torch.device, asked: dict[str, Any], store: Store) -> None:
        request = RecipeRequest(**asked)
        check_size((64, 64), device, request)
        with pytest.raises(AstSegError, match="do not suit"):
            check_size((12, 12), device, request)

    @pytest.mark.parametrize("device", [CPU, GPU])
    def test_of_the_background_alone(self, device: torch.device, store: Store) -> None:
        check_background_size((64, 64), device)
        with pytest.raises(AstSegError, match="do not suit"):
            check_background_size((12, 12), device)


class TestTextures:
    @pytest.fixture
    def textured(self, tmp_path: Path) -> Store:
        random = np.random.default_rng(0)
        with StoreWriter(tmp_path / "textured", (32, 32), "s", "p") as writer, writer.split("train") as split:
            split.append(random.integers(0, 256, (12, 32, 32, 3), np.uint8))
        return Store(tmp_path / "textured")

    @pytest.mark.parametrize(
        ("asked", "slow"),
        [({}, True), ({"textured": False}, False), ({"static": True}, False), ({"textured": True}, True)],
    )
    def test_decide_what_slots_explain(self, textured: Store, asked: dict[str, Any], slow: bool) -> None:
        choice = choose_recipe(textured, CPU, RecipeRequest(**asked, steps=9))
        assert (choice.recipe.architecture.slow_features is not None) == slow
        assert any("told by" in reason.text for reason in choice.reasons) == ("textured" not in asked)
        assert any("one surface" in reason.text for reason in choice.reasons) == slow

    def test_are_looked_for_where_asked_even_if_the_camera_stands_still(self, tmp_path: Path) -> None:
        with StoreWriter(tmp_path / "still", (32, 32), "s", "p") as writer, writer.split("train") as split:
            split.append(np.random.default_rng(0).integers(0, 9, (12, 32, 32, 3), np.uint8))
        choice = choose_recipe(Store(tmp_path / "still"), CPU, RecipeRequest(textured=True, steps=9))
        assert choice.recipe.architecture.slow_features is not None

    def test_a_ground_of_several_surfaces(self, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        images = random.integers(0, 60, (12, 32, 32, 3), np.uint8)
        images[:, :12] += random.integers(0, 190, (12, 1, 1, 3), np.uint8)
        with StoreWriter(tmp_path / "rooms", (32, 32), "s", "p") as writer, writer.split("train") as split:
            split.append(images)
        filters = {"architecture.slow_features.backbone": "filters", "architecture.slow_features.directions": 12}
        for changes, surfaces in ((filters, 3), (filters | {"architecture.slow_features.surfaces": 2}, 2)):
            request = RecipeRequest(textured=True, steps=9, changes=changes)
            choice = choose_recipe(Store(tmp_path / "rooms"), CPU, request)
            assert choice.recipe.architecture.slow_features is not None
            assert choice.recipe.architecture.slow_features.surfaces == surfaces
            assert any("up to 3 surfaces" in reason.text for reason in choice.reasons) == (surfaces == 3)

    def test_what_contradicts_itself(self) -> None:
        with pytest.raises(AstSegError, match="give one"):
            RecipeRequest(static=True, textured=True)

    def test_the_time_of_the_features_counts(self, textured: Store) -> None:
        recipe = textures_recipe((32, 32), 3, backbone="filters")
        seconds = {"background": 1.0, "objects": 1.0}
        with_features, estimate = fit_to_time(recipe, {**seconds, "preparation": 600.0}, 30.0)
        without, _ = fit_to_time(recipe, seconds, 30.0)
        assert with_features.foreground.steps < without.foreground.steps - 400
        assert estimate == pytest.approx(30, abs=0.1)
        measured = measure_step_seconds(recipe, textured["train"].images, CPU)
        assert measured.keys() == {"background", "objects"}, "one batch alone tells nothing"
