"""``astseg evaluate`` with a model that was trained for a few steps."""

import json
from pathlib import Path

import numpy as np
from tests.cli.conftest import Program

from astseg.data.store import Store
from astseg.evaluation.scores_file import read_scores


def test_scores_and_files(astseg: Program, finished: Path, rooms: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores[1]"
    assert astseg("evaluate", finished, rooms, "--out", out, "--device", "cpu") == 0
    assert astseg.out.endswith(f"Files: {out / 'scores.json'}, {out / 'per_image.csv'}\n")
    assert "4 images of the split 'test' at 32 x 32 pixels" in astseg.out
    assert "not finished" not in astseg.err
    masks = Store(rooms)["test"].masks
    assert masks is not None
    crowded = sum(len(np.unique(mask[mask > 0])) > 2 for mask in masks)
    assert crowded
    assert f"Note {crowded} image" in astseg.out
    # The run scored the same images at its end.
    assert read_scores(out / "scores.json").summary == read_scores(finished / "scores.json").summary
    assert json.loads((out / "scores.json").read_text())["split"] == "test"
    assert len((out / "per_image.csv").read_text().splitlines()) == 1 + 4
    assert "exists already" in astseg.mistake("evaluate", finished, rooms, "--out", out)


def test_mistakes(astseg: Program, finished: Path, rooms: Path, images: Path, tmp_path: Path) -> None:
    assert astseg("data", "import", images, "--size", 32, "--out", tmp_path / "data") == 0
    cases: list[tuple[tuple[object, ...], str]] = [
        ((finished, images), "no prepared data set"),
        ((finished, rooms, "--split", "val"), "no split 'val'"),
        ((finished, tmp_path / "data"), "no masks"),
        (("nowhere", rooms), "no model 'nowhere'"),
    ]
    for arguments, message in cases:
        assert message in astseg.mistake("evaluate", *arguments, "--out", tmp_path / "out")
        assert "Scoring" not in astseg.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "images"]
