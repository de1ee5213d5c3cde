import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from tests.cli.conftest import Program

from astseg.data.store import Store

MAX_START_SECONDS = 60.0
"""How long a process may take until it does anything, on a busy machine."""


def test_counts_size_masks_and_shadows(rooms: Path) -> None:
    store = Store(rooms)
    assert {name: len(store[name]) for name in store.splits} == {"train": 8, "test": 4}
    assert store.image_size == (32, 32)
    assert store["test"].masks is not None
    assert store["test"].shadows is not None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("castles", (), "no generated data set 'castles'"),
        ("rooms", ("--train", 0, "--test", 0), "No images"),
        ("rooms", ("--size", 33), "multiple of 8 from 32 to 512, not 33"),
        ("rooms", ("--train", -1), "--train"),
        ("rooms", ("--device", "toaster"), "'toaster'"),
    ],
)
def test_mistakes(name: str, options: tuple[object, ...], message: str, astseg: Program, tmp_path: Path) -> None:
    assert message in astseg.mistake("data", "make", name, tmp_path / "out", *options)
    assert not any(tmp_path.iterdir())


def test_textures(astseg: Program, tmp_path: Path) -> None:
    textures = tmp_path / "textures"
    textures.mkdir()
    for color in ("red", "blue"):
        Image.new("RGB", (30, 30), color).save(textures / f"{color}.png")
    (textures / "broken.png").write_bytes(b"")
    (textures / "notes.txt").write_text("dear diary")
    counts = ("--train", 2, "--test", 1, "--size", 32)
    assert astseg("data", "make", "clevrtex-2", tmp_path / "out", *counts, "--textures", textures) == 0
    assert "Skipped broken.png" in astseg.err
    assert "Left out: files of other kinds: 1 (.txt)" in astseg.err
    assert Store(tmp_path / "out").manifest.details["textures"]["images"] == 2
    again = ("data", "make", "clevrtex-2", tmp_path / "out", *counts, "--textures", textures)
    assert "exists already" in astseg.mistake(*again)
    assert "Left out" not in astseg.err
    (tmp_path / "empty").mkdir()
    command = ("data", "make", "clevrtex-2", tmp_path / "other", *counts, "--textures")
    assert "holds no images" in astseg.mistake(*command, tmp_path / "empty")
    assert "is not a folder" in astseg.mistake(*command, tmp_path / "nowhere")
    message = astseg.mistake("data", "make", "clevr", tmp_path / "other", *counts, "--textures", textures)
    assert "clevrtex-2, ood-2, camo-2, but not of clevr" in message
    assert not (tmp_path / "other").exists()


def test_an_occupied_folder_stays_as_it_is(astseg: Program, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary")
    assert f"{tmp_path} exists" in astseg.mistake("data", "make", "rooms", tmp_path, "--train", 1, "--test", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_needs_a_name(astseg: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "'.'" in astseg.mistake("data", "make", "rooms", ".", "--train", 1, "--test", 1)
    assert not list(tmp_path.iterdir())


def test_a_full_disk(astseg: Program, little_room: None, tmp_path: Path) -> None:
    counts = ("--train", 16, "--test", 1, "--size", 32)
    assert "disk is full" in astseg.mistake("data", "make", "rooms", tmp_path / "out", *counts)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal(number: signal.Signals, code: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "astseg", "data", "make", "rooms", str(tmp_path / "out"), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + MAX_START_SECONDS
    while not any(file.stat().st_size for file in tmp_path.rglob("*.npy")) and time.monotonic() < deadline:
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=MAX_START_SECONDS)
    assert process.returncode == code
    assert "Interrupted: Stopped." in err
    assert "Traceback" not in err
    assert not any(tmp_path.iterdir())
