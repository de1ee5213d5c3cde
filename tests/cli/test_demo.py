"""``astseg demo`` with few rooms and few steps."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.cli.conftest import Program, ctrl_c_after, press_ctrl_c

from astseg.cli import demo
from astseg.cli._inputs import make_scenes
from astseg.data.store import Store
from astseg.training.presets import PRESETS
from astseg.training.run_folder import read_run

pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.fixture(autouse=True)
def _small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = PRESETS["demo"].recipe
    recipe = replace(
        recipe,
        background=replace(recipe.background, steps=2, batch_size=4, exponent_ramp_steps=1),
        foreground=replace(recipe.foreground, steps=4, frozen_steps=2, batch_size=4),
    )
    monkeypatch.setattr("astseg.training.presets.PRESETS", {"demo": replace(PRESETS["demo"], recipe=recipe)})
    monkeypatch.setattr(demo, "NUM_TRAIN_IMAGES", 6)
    monkeypatch.setattr(demo, "NUM_TEST_IMAGES", 4)
    monkeypatch.setattr(demo, "NUM_FIRST_LOOK_IMAGES", 2)


def test_from_nothing_to_a_page(astseg: Program, tmp_path: Path) -> None:
    out = tmp_path / "demo[1]"
    assert astseg("demo", "--out", out, "--seed", 3, "--device", "cpu") == 0
    assert f": {out / 'first-look.png'}" in astseg.out.splitlines()[0]
    with Image.open(out / "first-look.png") as look:
        assert look.width > look.height  # two rows with truth, segmentation and each slot
    assert astseg.out.endswith(f"Scores: {out / 'scores.json'}\nPage:   {out / 'page.html'}\n")
    scores = json.loads((out / "scores.json").read_text())
    assert {"miou", "ari_fg", "ari", "msc_fg", "mse"} <= scores["summary"]["overall"].keys()
    assert all({"miou", "ari_fg", "mse"} <= means.keys() for means in scores["summary"]["by_objects"].values())
    assert scores["seed"] == 3
    assert scores["seconds"].keys() == {"generating", "background", "objects", "joint"}
    assert all(seconds > 0 for seconds in scores["seconds"].values())
    assert scores["summary"]["overall"]["images"] == 4
    page = (out / "page.html").read_text(encoding="utf-8")
    assert "data:image/png;base64" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert not any("partial" in path.name for path in tmp_path.rglob("*"))

    before = (out / "checkpoint.pt").read_bytes()
    assert "--resume" in astseg.mistake("demo", "--out", out)
    assert (out / "checkpoint.pt").read_bytes() == before


def test_stopped_and_resumed(astseg: Program, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert astseg("demo", "--out", whole, "--device", "cpu") == 0
    with ctrl_c_after(3):
        assert astseg("demo", "--out", stopped, "--device", "cpu") == 130
    assert "--resume continues" in astseg.err
    assert astseg("demo", "--out", stopped, "--device", "cpu", "--resume", "--seed", 9) == 0
    assert "ignored: --seed" in astseg.err
    first, second = (load_file(out / "model" / "model.safetensors") for out in (whole, stopped))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_resumed_before_training_had_begun(astseg: Program, tmp_path: Path) -> None:
    assert "no demo" in astseg.mistake("demo", "--resume", "--out", tmp_path / "nowhere")
    assert astseg("data", "make", "rooms", tmp_path / "demo" / "data", "--train", 6, "--test", 2, "--seed", 4) == 0
    assert astseg("demo", "--resume", "--seed", 9, "--out", tmp_path / "demo", "--device", "cpu") == 0
    assert "ignored: --seed" in astseg.err
    assert read_run(tmp_path / "demo").seed == 4, "the seed of the rooms"
    assert len(Store(tmp_path / "demo" / "data")["train"]) == 6


def test_started_again_in_the_same_folder(astseg: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rooms").mkdir()  # must not be taken for the model of that name
    out = tmp_path / "demo"
    (out / ".data.partial").mkdir(parents=True)  # left by a process that was killed while it made rooms
    (out / ".data.partial" / "train.images.npy").write_bytes(b"")
    assert astseg("demo", "--out", out, "--device", "cpu") == 0
    for path in (out / "run.json", out / "scores.json"):
        path.unlink()
    assert "unfinished demo" in astseg.mistake("demo", "--out", out)


def test_stopped_while_rooms_are_made(astseg: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("astseg.data.store_writer.SplitWriter.append", press_ctrl_c)
        assert astseg("demo", "--out", tmp_path / "demo", "--device", "cpu") == 130
    assert not list((tmp_path / "demo").glob("*"))


def test_stopped_after_the_first_look(astseg: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str, destination: Path, counts: dict[str, int], seed: int) -> None:
        if "train" in counts:
            raise KeyboardInterrupt
        make_scenes(name, destination, counts, seed)

    with monkeypatch.context() as patch:
        patch.setattr(demo, "make_scenes", interrupted)
        assert astseg("demo", "--out", tmp_path / "demo", "--device", "cpu") == 130
    assert [path.name for path in (tmp_path / "demo").glob("*")] == ["first-look.png"]
    assert astseg("demo", "--out", tmp_path / "demo", "--device", "cpu") == 0
