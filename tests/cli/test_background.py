"""``astseg background`` on tiny images, with a handful of steps."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Program, ctrl_c_after, press_ctrl_c
from tests.files import contents

from astseg.data.store import Store
from astseg.data.video_writer import VideoWriter
from astseg.inference import background_masks, resuming

SHORT = ("--minutes", 1e-4, "--device", "cpu")


@pytest.fixture(autouse=True)
def _few_steps(few_steps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astseg.training.time_budget.MIN_STEPS", 3)
    monkeypatch.setattr("astseg.training.time_budget.MAX_TIMED_SECONDS", 0.0)


def test_masks_and_f_measure(astseg: Program, tiny_store: Store, tmp_path: Path) -> None:
    out = tmp_path / "back[1]"
    assert astseg("background", tiny_store.path, *SHORT, "--out", out) == 0
    assert "F-measure: " in astseg.out
    assert astseg.out.endswith(f"4 images: {out / 'images'}\n")
    for kind in ("backgrounds", "masks"):
        assert len(list((out / "images" / kind).iterdir())) == 4
    assert "exists already" in astseg.mistake("background", tiny_store.path, *SHORT, "--out", out)


def test_some_frames_of_a_film(astseg: Program, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "film.mp4", Fraction(10)) as writer:
        for index in range(12):
            writer.append(np.full((48, 64, 3), 20 * index, np.uint8))
    command = ("background", tmp_path / "film.mp4", *SHORT, "--out", tmp_path / "out", "--every")
    assert astseg(*command, 2, "--max-frames", 4) == 0
    names = ["000000", "000003", "000006", "000009"]
    assert sorted(path.stem for path in (tmp_path / "out/images/masks").iterdir()) == names
    assert sum(len(split) for split in map(Store(tmp_path / "out/run/data").__getitem__, ("train", "test"))) == 4
    shutil.rmtree(tmp_path / "out/images")
    assert astseg(*command, 6) == 0  # what is painted may differ from what was learned from
    assert "ignored: --minutes.\n" in astseg.err
    assert sorted(path.stem for path in (tmp_path / "out/images/masks").iterdir()) == ["000000", "000006"]


def test_masks_in_another_folder(astseg: Program, images: Path, masks_of_images: Path, tmp_path: Path) -> None:
    command = ("background", images, "--masks", masks_of_images, *SHORT, "--out")
    assert astseg(*command, tmp_path / "out") == 0
    assert "over 6 images" in astseg.out
    assert astseg(*command, tmp_path / "other", "--ignore", "1,7") == 0
    assert "F-measure" not in astseg.out  # nothing is left to score


def test_the_same_run_by_either_rule(astseg: Program, tiny_store: Store, tmp_path: Path) -> None:
    for flags, rule in (((), "noise"), (("--by-predicted-error",), "predicted error")):
        assert astseg("background", tiny_store.path, *SHORT, "--out", tmp_path, *flags) == 0
        assert json.loads((tmp_path / "images/summary.json").read_text())["rule"] == rule
        shutil.rmtree(tmp_path / "images")
    assert "by-predicted-error" not in astseg.err


def test_masks_that_look_wrong_are_reported(astseg: Program, tmp_path: Path) -> None:
    gray = np.full((12, 32, 32, 3), 128, np.uint8)  # the initial color of a static background
    np.save(tmp_path / "gray.npy", gray)
    assert astseg("background", tmp_path / "gray.npy", *SHORT, "--out", tmp_path / "out") == 0
    assert "Note The masks cover only 0.0 %" in " ".join(astseg.err.split())


def test_stopped_and_resumed(astseg: Program, tiny_store: Store, rooms: Path, tmp_path: Path) -> None:
    options = (*SHORT, "--out", tmp_path / "out")
    with ctrl_c_after():
        assert astseg("background", tiny_store.path, *options) == 130
    assert "The same command continues." in astseg.err
    assert "--out" in astseg.mistake("background", rooms, *options)
    assert astseg("background", tiny_store.path, *options) == 0
    assert "ignored: --minutes." in astseg.err


@pytest.mark.parametrize("rule", ["noise", "predicted error"])
def test_painting_goes_on_where_it_was_stopped(
    rule: str, astseg: Program, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--by-predicted-error",) if rule == "predicted error" else ()
    other = () if flags else ("--by-predicted-error",)
    command = ("background", tiny_store.path, *SHORT, "--out", tmp_path / "out")
    assert astseg(*command, *flags) == 0
    whole = contents(tmp_path / "out" / "images")
    shutil.rmtree(tmp_path / "out" / "images")
    save = background_masks._save

    def save_until_third(path: Path, image: np.ndarray) -> None:
        if path.name == "000002.png":
            press_ctrl_c()
        save(path, image)

    with monkeypatch.context() as patch:
        patch.setattr(background_masks, "_save", save_until_third)
        assert astseg(*command, *flags) == 130
    assert "Stopped after 4 images. The same command goes on from there." in " ".join(astseg.err.split())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".images.kept", "run"]
    assert "with other settings (rule for the masks)" in astseg.mistake(*command, *other)
    assert astseg(*command, *flags) == 0
    assert "4 images had been done when the command was stopped" in " ".join(astseg.err.split())
    assert contents(tmp_path / "out" / "images") == whole
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images", "run"]


def test_what_is_kept_does_not_outlive_whole_images(
    astseg: Program, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("background", tiny_store.path, *SHORT, "--out", tmp_path / "out")

    def press_at_the_end(folder: Path, last: str = "") -> None:
        if last:
            press_ctrl_c()

    with monkeypatch.context() as patch:
        patch.setattr(resuming, "remove_contents", press_at_the_end)
        assert astseg(*command) == 130
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".images.kept", "images", "run"]
    assert "exists already" in astseg.mistake(*command)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images", "run"]


def test_a_start_that_failed_does_not_prevent_another(
    astseg: Program, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert "do not suit the model" in astseg.mistake("background", images, "--size", 12, *SHORT, "--out", out)
    assert not (out / "run" / "data").exists()
    with monkeypatch.context() as patch:
        patch.setattr("astseg.training.recipe_reasons.fit_to_time", press_ctrl_c)
        assert astseg("background", images, "--size", 64, *SHORT, "--out", out) == 130
    assert Store(out / "run" / "data").image_size == (64, 64)
    assert astseg("background", images, "--size", "32x32", *SHORT, "--out", out) == 0
    assert Store(out / "run" / "data").image_size == (32, 32)
    assert "of 32x32 to learn from." in astseg.err
    assert "fewer would teach nothing" in astseg.err


def test_mistakes(astseg: Program, images: Path, tmp_path: Path) -> None:
    for minutes in (0, -1, "nan"):
        message = astseg.mistake("background", images, "--minutes", minutes, "--out", tmp_path / "out")
        assert "more than 0 minutes" in message
    assert "no file or folder" in astseg.mistake("background", tmp_path / "nowhere", "--out", tmp_path / "out")
