import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg.data.scenes import store_generation
from astseg.data.scenes.generation import render, split_indices
from astseg.data.scenes.materials.images import open_textures
from astseg.data.scenes.store_generation import make_store

ENDLESS = """
from astseg.data.scenes import make_store

if __name__ == "__main__":
    print(0, flush=True)
    make_store({path!r}, "rooms", {{"train": 100_000}}, workers=2, progress=lambda count: print(count, flush=True))
"""


def test_a_store_holds_what_render_gives(tmp_path: Path) -> None:
    done: list[int] = []
    store = make_store(
        tmp_path / "rooms", "rooms", {"train": 20, "test": 3}, seed=4, image_size=32, progress=done.append
    )
    assert sum(done) == 23
    assert store.splits == ("train", "test")
    assert store.image_size == (32, 32)
    for split, count in (("train", 20), ("test", 3)):
        expected = render("rooms", 4, split_indices(split, count), 32)
        np.testing.assert_array_equal(store[split].images, expected.images)
        np.testing.assert_array_equal(store[split].masks, expected.masks)
        np.testing.assert_array_equal(store[split].shadows, expected.shadows)
    assert store.manifest.source == "astseg scenes"
    assert store.manifest.details == {"name": "rooms", "version": 1, "seed": 4}
    assert "rooms version 1, seed 4, 32 x 32" in store.manifest.protocol
    assert (store["train"].images[:3] != store["test"].images).any()


def test_workers_give_the_same_bytes_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_generation, "MIN_IMAGES_FOR_WORKERS", 0)
    monkeypatch.setattr(store_generation, "IMAGES_PER_TASK", 2)
    alone = make_store(tmp_path / "alone", "rooms", {"a": 17, "b": 2}, image_size=32, workers=1)
    shared = make_store(tmp_path / "shared", "rooms", {"a": 17, "b": 2}, image_size=32, workers=2)
    assert alone.manifest == shared.manifest  # with the sha256 of every array


def test_workers_take_textures_and_the_manifest_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_generation, "MIN_IMAGES_FOR_WORKERS", 0)
    monkeypatch.setattr(store_generation, "IMAGES_PER_TASK", 2)
    for color in ("red", "blue"):
        Image.new("RGB", (30, 30), color).save(tmp_path / f"{color}.png")
    textures = open_textures(tmp_path)
    store = make_store(tmp_path / "out", "camo-2", {"a": 4}, image_size=32, workers=2, textures=textures)
    expected = render("camo-2", 0, split_indices("a", 4), 32, textures=textures)
    np.testing.assert_array_equal(store["a"].images, expected.images)
    assert store.manifest.details["textures"] == {"sha256": textures.digest, "images": 2}
    assert textures.description in store.manifest.protocol
    with pytest.raises(AstSegError, match="but not of rooms"):
        make_store(tmp_path / "rooms", "rooms", {"a": 4}, textures=textures)
    assert not (tmp_path / "rooms").exists()


def fail(_count: int) -> None:
    raise RuntimeError("stop")


def kill_workers(_count: int) -> None:
    for worker in multiprocessing.active_children():
        worker.kill()


@pytest.mark.parametrize(
    ("progress", "error", "words"), [(fail, RuntimeError, "stop"), (kill_workers, AstSegError, "process ended")]
)
def test_an_error_on_the_way_leaves_nothing(
    tmp_path: Path, progress: Callable[[int], None], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        make_store(tmp_path / "rooms", "rooms", {"train": 200}, image_size=32, workers=2, progress=progress)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
@pytest.mark.parametrize("how", ["early ctrl-c", "ctrl-c", "killed"])
def test_all_processes_end_with_the_first(tmp_path: Path, how: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(ENDLESS.format(path=str(tmp_path / "out" / "rooms")))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "0"
        if how == "early ctrl-c":
            time.sleep(0.5)  # the workers' server still imports
        else:
            assert process.stdout.readline().strip() == "16"
        if how == "killed":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=40)
    assert process.returncode != 0
    # Of Ctrl-C the parent's own KeyboardInterrupt, none of a worker. Who is killed cannot tidy up.
    assert errors.count("Traceback") == (0 if how == "killed" else 1)
    assert (list((tmp_path / "out").iterdir()) == []) == (how != "killed")
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("processes are left over")


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="has no fork server")
def test_the_fork_server_ignores_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(forkserver, "ensure_running", lambda: seen.append(signal.getsignal(signal.SIGINT)))
    before = signal.getsignal(signal.SIGINT)
    store_generation._worker_context()
    assert seen == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) is before
    other = threading.Thread(target=store_generation._worker_context)  # where signals cannot be set
    other.start()
    other.join()
    assert len(seen) == 1


@pytest.mark.parametrize("counts", [{}, {"train": 0}, {"train": 5, "test": -1}])
def test_impossible_counts_are_refused(tmp_path: Path, counts: dict[str, int]) -> None:
    with pytest.raises(AstSegError, match="at least one image"):
        make_store(tmp_path / "rooms", "rooms", counts)


def test_other_impossible_arguments_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="At least one worker"):
        make_store(tmp_path / "rooms", "rooms", {"train": 5}, workers=0)
    with pytest.raises(AstSegError, match="no generated data set"):
        make_store(tmp_path / "rooms", "roms", {"train": 5})
    with pytest.raises(AstSegError, match="multiple of 8"):
        make_store(tmp_path / "rooms", "rooms", {"train": 5}, image_size=63)
    with pytest.raises(AstSegError, match="from 0 to"):
        make_store(tmp_path / "rooms", "rooms", {"train": 5}, seed=-1)
    with pytest.raises(ValueError, match="a split's name"):
        make_store(tmp_path / "rooms", "rooms", {"../train": 5})
    with pytest.raises(TypeError, match=r"such as \{'train': 4000\}, not an int"):
        make_store(tmp_path / "rooms", "rooms", 5)  # type: ignore[arg-type]
    with pytest.raises(AstSegError, match=r"no generated data set '.*rooms'"):
        make_store("rooms", tmp_path / "rooms", {"train": 5})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").write_text("mine")
    with pytest.raises(AstSegError, match="exists already"):
        make_store(tmp_path, "rooms", {"train": 5})
    assert (tmp_path / "something").read_text() == "mine"
