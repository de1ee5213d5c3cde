"""``astseg data`` as a user gives it."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astseg.data.store import Store

STARTS_WITHIN = 60.0
"""Seconds that a process may take until it has begun its work, on a busy machine."""


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file may grow beyond 20 kB: what a full disk does, done by the system itself."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestMake:
    def test_makes_what_was_asked_for(self, rooms: Path) -> None:
        store = Store(rooms)
        assert {name: len(store[name]) for name in store.splits} == {"train": 8, "test": 4}
        assert store.image_size == (32, 32)
        assert store["test"].masks is not None
        assert store["test"].shadows is not None

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("castles",), "There is no generated data set 'castles'. There are: rooms, "),
            (("rooms", "--train", 0, "--test", 0), "No images were asked for"),
            (("rooms", "--size", 33), "multiple of 8 from 32 to 512, not 33"),
            (("rooms", "--train", -1), "--train"),
            (("rooms", "--device", "toaster"), "The device 'toaster' cannot be used"),
        ],
    )
    def test_mistakes(self, arguments, message, astseg, tmp_path: Path, capsys) -> None:
        assert astseg("data", "make", arguments[0], tmp_path / "out", *arguments[1:]) == 2
        assert message in capsys.readouterr().err
        assert not any(tmp_path.iterdir())

    def test_a_place_that_is_taken_stays_as_it_is(self, astseg, tmp_path: Path, capsys) -> None:
        (tmp_path / "notes.txt").write_text("dear diary")
        assert astseg("data", "make", "rooms", tmp_path, "--train", 1, "--test", 1) == 2
        assert f"{tmp_path} exists already" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    def test_a_full_disk(self, astseg, little_room: None, tmp_path: Path, capsys) -> None:
        assert astseg("data", "make", "rooms", tmp_path / "out", "--train", 16, "--test", 1, "--size", 32) == 2
        assert "The disk is full. Make room" in capsys.readouterr().err
        assert not any(tmp_path.iterdir())

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_stopped_by_the_keyboard_or_politely(self, number: int, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "astseg", "data", "make", "rooms", str(tmp_path / "out"), "--workers", "2"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        give_up = time.monotonic() + STARTS_WITHIN
        while not any(file.stat().st_size for file in tmp_path.rglob("*.npy")) and time.monotonic() < give_up:
            time.sleep(0.05)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # a terminal tells every process of the group
        else:
            process.send_signal(number)
        _, err = process.communicate(timeout=STARTS_WITHIN)
        assert process.returncode == 130
        assert "Interrupted: Stopped." in err
        assert "Traceback" not in err
        assert not any(tmp_path.iterdir())

    def test_a_place_is_no_name(self, astseg, tmp_path: Path, monkeypatch, capsys) -> None:
        monkeypatch.chdir(tmp_path)
        assert astseg("data", "make", "rooms", ".", "--train", 1, "--test", 1) == 2
        assert "'.' does not end in a name" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


class TestImport:
    def test_images_and_what_was_skipped(self, astseg, images: Path, tmp_path: Path, capsys) -> None:
        assert astseg("data", "import", images, "--size", "32x48", "--out", tmp_path / "data") == 0
        store = Store(tmp_path / "data")
        assert store.image_size == (32, 48)
        assert sum(len(store[name]) for name in store.splits) == 6
        out, err = capsys.readouterr()
        assert out == f"Data: {tmp_path / 'data'}\n"
        assert f"Skipped broken[b]: {images / 'broken[b].png'} is not a readable image" in err
        assert "6/6" in err

    def test_what_does_not_go_along_is_said(self, astseg, tmp_path: Path, capsys) -> None:
        (tmp_path / "in").mkdir()
        images = np.zeros((4, 16, 16, 3), np.uint8)
        np.savez(tmp_path / "in" / "a.npz", image=images, mask=images[..., 0])
        np.savez(tmp_path / "in" / "b.npz", image=images)
        (tmp_path / "in" / "film.avi").write_text("")
        assert astseg("data", "import", tmp_path / "in", "--test-share", 0, "--out", tmp_path / "data") == 0
        err = capsys.readouterr().err
        assert "Left out: files of other kinds: 1 (.avi)." in err
        assert "Left out 4 masks: not every image has one: b/000000 has none." in err
        assert astseg("data", "check", tmp_path / "data") == 0
        assert "Note 4 masks were left out: not every image has one" in capsys.readouterr().out

    def test_an_array_with_masks(self, astseg, tmp_path: Path) -> None:
        images, masks = np.zeros((4, 16, 16, 3), np.uint8), np.ones((4, 16, 16), np.uint8)
        np.savez(tmp_path / "some.npz", image=images, mask=masks)
        assert astseg("data", "import", tmp_path / "some.npz", "--size", 16, "--out", tmp_path / "data") == 0
        assert Store(tmp_path / "data")["train"].masks is not None

    def test_masks_are_taken_for_masks_and_not_learned_from(self, astseg, tmp_path: Path, capsys) -> None:
        random = np.random.default_rng(0)
        for index in range(8):
            for place, values in (
                ("in/a", random.integers(0, 256, (16, 16, 3), dtype=np.uint8)),
                ("in/a_gt", np.full((16, 16), 3, np.uint8)),
                ("mine", np.full((16, 16), 200 + index, np.uint8)),
            ):
                (tmp_path / place).mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(tmp_path / place / f"{index}.png")
        assert astseg("data", "import", tmp_path / "in", "--out", tmp_path / "data") == 0
        assert sum(map(len, map(Store(tmp_path / "data").__getitem__, ("train", "test")))) == 8
        err = capsys.readouterr().err
        assert "Left out: a_gt/: 8 masks, for 8 of 8 images; nothing learns from them, they are for scores." in err
        assert "Masks: their values are the labels." in err
        own = ("--masks", tmp_path / "mine", "--ignore", "200,201", "--out", tmp_path / "own")
        assert astseg("data", "import", tmp_path / "in", *own) == 0
        assert "not scored: 200, 201" in capsys.readouterr().err
        assert Store(tmp_path / "own")["train"].ignored_label == 255

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--ignore", "white"), "Values to ignore look like 255 or 85,170"),
            (("--masks", "nowhere"), "no mask files in nowhere"),
            (("--benchmark", "clevr", "--ignore", "255"), "are for your own images"),
            (("--test-share", 1), "should lie in 0 to below 1"),
            (("--size", "big"), "A size looks like 96x128"),
            (("--protocol", "authors"), "need a --benchmark"),
            (("--limit", 3), "need a --benchmark"),
            (("--exchange-red-and-blue",), "need a --benchmark"),
            (("--benchmark", "imagenet"), "There is no data set 'imagenet'. There are: clevrtex, "),
            (("--benchmark", "clevr"), "'clevr' is read from .tfrecords or .hdf5 files"),
            (("--benchmark", "clevr", "--size", "64x32"), "A benchmark's images are square"),
            (("--benchmark", "clevr", "--every", 3), "are for your own images"),
            (("--benchmark", "clevr", "--test-share", 0.4), "are for your own images"),
            (("--benchmark", "clevr", "--seed", 1), "are for your own images"),
        ],
    )
    def test_mistakes(self, options, message, astseg, images: Path, tmp_path: Path, capsys) -> None:
        assert astseg("data", "import", images, "--out", tmp_path / "out", *options) == 2
        assert message in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["images"]

    def test_several_sources_and_prepared_data(self, astseg, images: Path, rooms: Path, tmp_path: Path, capsys) -> None:
        assert astseg("data", "import", images, images, "--out", tmp_path / "out") == 2
        assert "put your images into one folder" in capsys.readouterr().err
        assert astseg("data", "import", rooms, "--out", tmp_path / "out") == 2
        assert "prepared data set already" in capsys.readouterr().err

    def test_a_full_disk(self, astseg, little_room: None, images: Path, tmp_path: Path, capsys) -> None:
        assert astseg("data", "import", images, "--size", 128, "--out", tmp_path / "out") == 2
        assert "The disk is full" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["images"]


class TestCheck:
    def test_says_what_is_there(self, astseg, rooms: Path, capsys) -> None:
        assert astseg("data", "check", rooms) == 0
        out, err = capsys.readouterr()
        assert "K:        not given; --objects gives it" in out
        assert "Nothing to complain about." in out
        assert "Checking train" in err

    def test_more_labels_than_slots(self, astseg, rooms: Path, capsys) -> None:
        assert astseg("data", "check", rooms, "--objects", 1) == 0
        assert "Note train: labels go up to 3, but there are 1 slots" in capsys.readouterr().out

    def test_damaged_data(self, astseg, tiny_store: Store, capsys) -> None:
        file = tiny_store.path / "train.images.npy"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        assert astseg("data", "check", tiny_store.path) == 1
        assert "train.images.npy" in capsys.readouterr().out

    def test_mistakes(self, astseg, rooms: Path, tmp_path: Path, capsys) -> None:
        assert astseg("data", "check", tmp_path) == 2
        assert "is no prepared data set" in capsys.readouterr().err
        assert astseg("data", "check", rooms, "--objects", 0) == 2
        assert "should be at least 1, not 0" in capsys.readouterr().err


def test_benchmarks_are_listed_whole(astseg, capsys) -> None:
    assert astseg("data", "benchmarks") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("clevr ") and "authors, clevrtex, genesis" in line for line in lines)


class TestDownload:
    def test_mistakes(self, astseg, tmp_path: Path, capsys) -> None:
        assert astseg("data", "download", "imagenet", tmp_path / "out") == 2
        assert "There is no data set 'imagenet'" in capsys.readouterr().err
        assert astseg("data", "download", "clevr", tmp_path / "out", "--mirror", "elsewhere") == 2
        assert "begins with http:// or https://" in capsys.readouterr().err

    def test_no_answer(self, astseg, tmp_path: Path, capsys) -> None:
        assert astseg("data", "download", "clevr", tmp_path / "out", "--mirror", "http://127.0.0.1:9") == 2
        assert "does not answer" in capsys.readouterr().err
        assert not any(tmp_path.iterdir())
