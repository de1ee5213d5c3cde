from dataclasses import replace
from pathlib import Path

import pytest
import torch

from astseg._core.errors import AstSegError, OtherRunError
from astseg._core.settings_io import flatten, to_builtins
from astseg.data.catalog import TRAINING_SETS
from astseg.data.store import Bytes, Store
from astseg.data.store_writer import StoreWriter
from astseg.model.ast_seg import AstSeg
from astseg.paper.ablation import (
    PlannedRun,
    State,
    choose_rows,
    coinciding_rows,
    is_miniature,
    miniature,
    plan_runs,
    rows_of,
)
from astseg.training.config import Recipe
from astseg.training.presets import PRESETS
from astseg.training.run_folder import write_run

ROWS = [name for name, preset in PRESETS.items() if preset.benchmark]


def changed_settings(ours: Recipe, theirs: Recipe) -> set[str]:
    """The dotted names of the settings in which two recipes differ."""
    others = flatten(to_builtins(theirs))
    return {name for name, value in flatten(to_builtins(ours)).items() if value != others[name]}


class TestRows:
    def test_full_comes_first(self) -> None:
        for dataset in TRAINING_SETS:
            rows = rows_of(dataset)
            assert next(iter(rows.values())) is PRESETS[dataset]
            assert len(rows) == 10

    def test_small_presets_are_in_no_table(self) -> None:
        assert "clevr-cpu" not in {preset.name for preset in rows_of("clevr").values()}

    def test_in_the_order_of_the_names_and_once(self) -> None:
        chosen = choose_rows("clevr", ["unet", "full", "unet"])
        assert [preset.name for preset in chosen] == ["clevr-unet", "clevr"]
        assert choose_rows("clevr", []) == list(rows_of("clevr").values())

    def test_unknown(self) -> None:
        with pytest.raises(AstSegError, match="OOD"):
            rows_of("ood")
        with pytest.raises(AstSegError, match="no row 'isotropic'"):
            choose_rows("clevr", ["full", "isotropic"])


@pytest.mark.parametrize("name", ROWS)
class TestEveryMiniature:
    def test_keeps_what_the_row_is_about(self, name: str) -> None:
        preset = PRESETS[name]
        full = PRESETS[preset.benchmark or ""].recipe
        published = changed_settings(preset.recipe, full)
        small = changed_settings(miniature(preset.recipe), miniature(full))
        assert small == published - {"backbone"}

    def test_is_small_and_can_be_built(self, name: str) -> None:
        recipe = miniature(PRESETS[name].recipe, (64, 64), 40)
        assert recipe.backbone is None
        assert recipe.foreground.steps == 40
        assert recipe.background.steps == 20
        assert is_miniature(recipe, PRESETS[name].recipe)
        with torch.device("meta"):
            model = AstSeg(recipe.architecture)
        assert sum(weights.numel() for weights in model.parameters()) < 8e6  # the published one has 50 million


class TestMiniature:
    def test_schedules_keep_their_shares(self) -> None:
        training = miniature(PRESETS["clevr"].recipe, steps=1000).foreground
        assert training.frozen_steps == 240  # 30 000 of 125 000
        assert training.learning_rate.warmup_steps == 40  # 5 000
        assert training.entropy_warmup_steps == 80  # 10 000
        assert training.learning_rate.decay_start == 0.9

    def test_two_steps_suffice(self) -> None:
        assert miniature(PRESETS["clevr"].recipe, steps=2).foreground.frozen_steps == 0

    def test_natural_video(self) -> None:
        shape = miniature(PRESETS["natural-video"].recipe, (64, 96)).architecture
        assert shape.image_size == (64, 96)
        assert shape.per_pixel_background_activation
        assert shape.latents.appearance_dim == 20

    def test_what_is_none(self) -> None:
        published = PRESETS["clevr"].recipe
        assert not is_miniature(published, published)
        assert not is_miniature(replace(published, backbone="./my-own"), published)
        longer = replace(published, foreground=replace(published.foreground, steps=200_000))
        assert not is_miniature(longer, published)
        larger = replace(published, architecture=replace(published.architecture, feature_network="segformer-b5"))
        assert not is_miniature(larger, published)
        assert is_miniature(published, larger)
        shorter = replace(published, background=replace(published.background, steps=100))
        assert is_miniature(shorter, published)

    def test_background_steps_do_not_matter_to_baseline_training(self) -> None:
        published = PRESETS["clevr-baseline"].recipe
        assert not is_miniature(replace(published, background=replace(published.background, steps=100)), published)


class TestPlan:
    def test_seed_by_seed(self, tiny_store: Store, tmp_path: Path) -> None:
        presets = choose_rows("objectsroom", ["full", "unet"])
        runs = plan_runs(presets, 2, tiny_store, tmp_path, small=True, steps=4)
        assert [run.folder.name for run in runs] == [
            "objectsroom-seed-0",
            "objectsroom-unet-seed-0",
            "objectsroom-seed-1",
            "objectsroom-unet-seed-1",
        ]
        assert [run.settings.seed for run in runs] == [0, 0, 1, 1]
        assert all(run.settings.preset == run.preset.name for run in runs)
        assert all("MINIATURE" in run.settings.title for run in runs)
        assert all(run.settings.recipe == miniature(run.preset.recipe, (32, 32), 4) for run in runs)

    def test_published_recipes_only_change_their_size(self, tiny_store: Store, tmp_path: Path) -> None:
        (run,) = plan_runs(choose_rows("objectsroom", ["full"]), 1, tiny_store, tmp_path)
        changed = changed_settings(run.settings.recipe, PRESETS["objectsroom"].recipe)
        assert changed == {"architecture.image_size"}
        assert "MINIATURE" not in run.settings.title

    def test_rows_that_become_the_same(self, tiny_store: Store, tmp_path: Path) -> None:
        presets = choose_rows("objectsroom", [])
        small = plan_runs(presets, 2, tiny_store, tmp_path, small=True)
        assert coinciding_rows(small) == [("objectsroom", "objectsroom-random-backbone")]
        assert coinciding_rows(plan_runs(presets, 2, tiny_store, tmp_path)) == []

    @pytest.mark.parametrize(
        ("seeds", "small", "steps", "message"),
        [(0, False, None, "one seed"), (1, False, 10, "only a miniature"), (1, True, 1, "two steps")],
    )
    def test_impossible_numbers(
        self, tiny_store: Store, tmp_path: Path, seeds: int, small: bool, steps: int | None, message: str
    ) -> None:
        with pytest.raises(AstSegError, match=message):
            plan_runs(choose_rows("clevr", ["full"]), seeds, tiny_store, tmp_path, small=small, steps=steps)

    @pytest.mark.parametrize(
        ("side", "has_masks", "message"),
        [
            (32, {"train": True, "test": False}, "with masks"),
            (32, {"test": True}, "train"),
            (16, {"train": True, "test": True}, "do not suit"),
        ],
    )
    def test_unsuitable_data(
        self, tmp_path: Path, tiny_images: Bytes, side: int, has_masks: dict[str, bool], message: str
    ) -> None:
        images = tiny_images[:, :side, :side]
        with StoreWriter(tmp_path / "data", (side, side), "squares", "none") as writer:
            for name, with_masks in has_masks.items():
                with writer.split(name) as split:
                    split.append(images, images[..., 0] if with_masks else None)
        with pytest.raises(AstSegError, match=message):
            plan_runs(choose_rows("clevr", ["full"]), 1, Store(tmp_path / "data"), tmp_path, small=True)


class TestState:
    @pytest.fixture
    def run(self, tiny_store: Store, tmp_path: Path) -> PlannedRun:
        (run,) = plan_runs(choose_rows("clevr", ["full"]), 1, tiny_store, tmp_path / "out", small=True)
        return run

    def test_new_interrupted_finished(self, run: PlannedRun) -> None:
        assert run.state() is State.NEW
        write_run(run.folder, run.settings, torch.device("cpu"))
        assert run.state() is State.INTERRUPTED
        (run.folder / "scores.json").write_text("{}")
        assert run.state() is State.FINISHED

    def test_another_run_of_that_name(self, run: PlannedRun) -> None:
        other = replace(run.settings, recipe=PRESETS["demo"].recipe)
        write_run(run.folder, other, torch.device("cpu"))
        with pytest.raises(OtherRunError, match="another recipe"):
            run.state()
