"""``astseg ablate`` in miniature, on twelve tiny images and with three steps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.cli.conftest import Program

from astseg._core.errors import NonFiniteWeightsError
from astseg.cli import _runs
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter
from astseg.paper.ablation import choose_rows, plan_runs
from astseg.training.run import train_run

SHORT = ("--device", "cpu", "--miniature", "--steps", 3)


def test_a_row_that_diverges_does_not_stop_the_others(
    astseg: Program, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_diverges(folder: Path, *arguments: Any, **options: Any) -> None:
        if "no-transformer" in folder.name:
            raise NonFiniteWeightsError("Training diverged.")
        _runs.train_and_score(folder, *arguments, **options)

    monkeypatch.setattr("astseg.cli.ablate.train_and_score", first_diverges)
    rows = ("--data", tiny_store.path, "--out", tmp_path, "--rows", "no-transformer,unet", "--seeds", 1)
    message = astseg.mistake("ablate", "clevrtex", *rows, *SHORT)
    assert "Failed Training diverged." in message
    assert "clevrtex-no-transformer-seed-0 became non-finite" in message
    assert (tmp_path / "clevrtex-unet-seed-0/scores.json").is_file()


def test_two_rows_on_two_data_sets_and_their_report(astseg: Program, tiny_store: Store, tmp_path: Path) -> None:
    out, data = tmp_path / "table", tiny_store.path
    rows = ("--data", data, "--out", out, "--rows", "no-transformer,unet", "--seeds", 1, "--ood", data)
    assert astseg("ablate", "clevrtex", *rows, *SHORT) == 0
    assert sorted(path.name for path in out.iterdir()) == ["clevrtex-no-transformer-seed-0", "clevrtex-unet-seed-0"]
    content = json.loads((out / "clevrtex-unet-seed-0/scores.json").read_text())
    assert content["data"]["images"] == {"train": 12, "test": 4}
    assert (out / "clevrtex-unet-seed-0/clevrtex-ood/per_image.csv").is_file()

    before = {file: file.stat().st_mtime_ns for file in out.rglob("scores.json")}
    assert astseg("ablate", "clevrtex", *rows, *SHORT) == 0
    assert {file: file.stat().st_mtime_ns for file in out.rglob("scores.json")} == before
    assert "2 of 2: clevrtex-unet-seed-0 (finished)" in astseg.err
    with StoreWriter(tmp_path / "other", (32, 32), "others", "none") as writer, writer.split("test") as split:
        split.append(tiny_store["test"].images[:2], np.ones((2, 32, 32), np.uint8))
    assert "is of other data than" in astseg.mistake("ablate", "clevrtex", *rows[:-1], tmp_path / "other", *SHORT)

    assert astseg("report", out) == 0
    assert "## CLEVRTEX: Table 4" in astseg.out
    assert "astseg clevrtex-unet on OOD [MINIATURE, OTHER DATA]" in astseg.out  # brackets are not markup here


def test_resumes_an_interrupted_run_to_the_same_end(astseg: Program, tiny_store: Store, tmp_path: Path) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    (run,) = plan_runs(choose_rows("clevr", ["unet"]), 1, tiny_store, cut, small=True, steps=3)
    assert not train_run(run.folder, run.settings, torch.device("cpu"), stop=lambda: True)
    for out, state in ((cut, "interrupted"), (whole, "new")):
        rows = ("--data", tiny_store.path, "--out", out, "--rows", "unet", "--seeds", 1)
        assert astseg("ablate", "clevr", *rows, *SHORT) == 0
        assert f"1 of 1: clevr-unet-seed-0 ({state})" in astseg.err
    ours, theirs = (load_file(out / "clevr-unet-seed-0/model/model.safetensors") for out in (cut, whole))
    for name, weights in theirs.items():
        torch.testing.assert_close(ours[name], weights, rtol=0, atol=0)


def test_notes(astseg: Program, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astseg.cli.ablate.train_and_score", lambda *_, **__: None)
    data = ("--data", tiny_store.path, "--out", tmp_path / "out")
    assert astseg("ablate", "objectsroom", *data, *SHORT) == 0
    assert "the same recipe: objectsroom, objectsroom-random-backbone." in astseg.err
    assert "30 of 30: objectsroom-isotropic-seed-2 (new)" in astseg.err  # ten rows, three seeds
    assert astseg("ablate", "clevr", "--rows", "unet", *data) == 0
    assert "32x32, but the paper's are 128x128" in astseg.err


def test_mistakes(astseg: Program, tiny_store: Store, tmp_path: Path) -> None:
    path, nothing, plain = tiny_store.path, tmp_path / "nothing", tmp_path / "plain"
    with StoreWriter(plain, tiny_store.image_size, "s", "p") as writer, writer.split("test") as split:
        split.append(np.array(tiny_store["test"].images))
    cases: list[tuple[tuple[object, ...], str]] = [
        (("clevr", "--data", path, "--rows", "more"), "no row 'more'"),
        (("clevr", "--data", path, "--rows", ""), "--rows names no row"),
        (("clevr", "--data", path, "--steps", 9), "only a miniature"),
        (("clevr", "--data", path, "--camo", path), "Only models of clevrtex"),
        (("clevrtex", "--data", path, "--camo", nothing), "no prepared data set"),
        (("clevr", "--data", nothing), "no prepared data set"),
        (("clevrtex", "--data", path, "--camo", plain), f"{plain} has no split 'test' with masks"),
    ]
    for arguments, message in cases:
        assert message in astseg.mistake("ablate", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
