"""Finished runs, written by hand: settings and scores, without a model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from astseg._core.provenance import Provenance
from astseg.evaluation.evaluator import Means, ScoreSummary
from astseg.evaluation.scores_file import DataDescription, ScoreRecord, write_scores
from astseg.paper.ablation import miniature
from astseg.training.presets import PRESETS
from astseg.training.run_folder import RunSettings, write_run

Make = Callable[..., Path]


def data_description(source: str, name: str | None, side: int) -> DataDescription:
    return DataDescription(source, "a rule", name, (side, side), {"train": 40_000, "test": 5_000})


def means(miou: float, mse: float | None) -> Means:
    """Scores that follow from mIoU."""
    return Means(5_000, miou, miou / 2, miou, miou / 4, miou, miou, mse)


def score_record(miou: float, data: DataDescription, model: str, **more: Any) -> ScoreRecord:
    summary = ScoreSummary(means(miou, 100 * miou), {}, None, means(0.25, None), 0, 0, 3, "a protocol")
    origin = Provenance("0.1.0", "abc1234", "a machine", "2.0", "3.11")
    return ScoreRecord(summary, model, data, "test", origin, **more)


@pytest.fixture
def make_run(tmp_path: Path) -> Make:
    """Write a run, by default of the published recipe on the published files."""

    def make(
        preset: str | None, seed: int = 0, miou: float | None = 0.5, *, small: bool = False, ood: float | None = None,
        data: DataDescription | None = None, name: str | None = None, **more: Any,
    ) -> Path:  # fmt: skip
        published = PRESETS[preset or "clevr"].recipe
        recipe = miniature(published) if small else published
        side = recipe.architecture.image_size[0]
        if data is None:
            kind = "clevrtex" if small or "clevrtex" in (preset or "") else "clevr"
            data = data_description("astseg scenes" if small else "the files", kind, side)
        folder = tmp_path / "runs" / (name or f"{preset}-seed-{seed}")
        settings = RunSettings(f"{preset} by hand", recipe, "/data", seed, preset)
        write_run(folder, settings, torch.device("cpu"))
        if miou is not None:
            seconds = {"background": 60.0 + seed, "objects": 100.0, "joint": 200.0}
            record = score_record(miou, data, str(folder), **{"seed": seed, "seconds": seconds, **more})
            write_scores(folder / "scores.json", record)
        if ood is not None:
            (folder / "clevrtex-ood").mkdir()
            record = score_record(ood, data_description("files", "clevrtex-ood", side), str(folder))
            write_scores(folder / "clevrtex-ood/scores.json", record)
        return folder

    return make


@pytest.fixture
def changed_run(make_run: Make) -> Make:
    """Write a run whose recipe differs from its preset's in the foreground's settings that are given."""

    def make(preset: str, **changes: Any) -> Path:
        folder = make_run(preset)
        recipe = PRESETS[preset].recipe
        recipe = replace(recipe, foreground=replace(recipe.foreground, **changes))
        write_run(folder, RunSettings("changed", recipe, "/data", 0, preset), torch.device("cpu"))
        return folder

    return make
