"""Runs as training would leave them, written by hand: settings and scores, without a model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from astseg.paper.ablation import miniature
from astseg.training.presets import PRESETS
from astseg.training.run import RunSettings, write_run

Make = Callable[..., Path]


def store(source: str, name: str | None, side: int) -> dict[str, Any]:
    images = {"train": 40_000, "test": 5_000}
    return {"source": source, "protocol": "a rule", "set": name, "image_size": [side, side], "images": images}


def scores(miou: float, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What is read of ``scores.json``, with the other scores tied to mIoU."""
    values = {"images": 5_000, "miou": miou, "ari_fg": miou / 2, "msc_fg": miou / 4, "mse": 100 * miou}
    nothing = {"images": 5_000, "miou": 0.25, "ari_fg": 0.125, "msc_fg": 0.0625, "mse": None}
    details = {"store": data, "machine": "a machine", "commit": "abc1234", **more}
    return {**values, "background_everywhere": nothing, **details}


@pytest.fixture
def make_run(tmp_path: Path) -> Make:
    """Write a run: of the published recipe on the published files, unless told otherwise."""

    def make(
        preset: str | None, seed: int = 0, miou: float | None = 0.5, *, small: bool = False, ood: float | None = None,
        data: dict[str, Any] | None = None, name: str | None = None, **more: Any,
    ) -> Path:  # fmt: skip
        published = PRESETS[preset or "clevr"].recipe
        recipe = miniature(published) if small else published
        side = recipe.architecture.image_size[0]
        if data is None:
            kind = "clevrtex" if small or "clevrtex" in (preset or "") else "clevr"
            data = store("astseg scenes" if small else "the files", kind, side)
        folder = tmp_path / "runs" / (name or f"{preset}-seed-{seed}")
        settings = RunSettings(f"{preset} by hand", recipe, "/data", seed, preset)
        write_run(folder, settings, torch.device("cpu"))
        if miou is not None:
            seconds = {"seconds": {"background": 60.0 + seed, "objects": 100.0, "joint": 200.0}, **more}
            (folder / "scores.json").write_text(json.dumps(scores(miou, data, seed=seed, **seconds)))
        if ood is not None:
            (folder / "clevrtex-ood").mkdir()
            found = scores(ood, store("files", "clevrtex-ood", side))
            (folder / "clevrtex-ood/scores.json").write_text(json.dumps(found))
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
