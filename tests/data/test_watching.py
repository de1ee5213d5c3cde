import os
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg.data import watching
from astseg.data.sources import Sample
from astseg.data.watching import WatchedFolder


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(watching, "SETTLED_SECONDS", 0.1)


def save(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (value, 0, 0)).save(path)
    return path


def watch(folder: Path, *events: Callable[[], object], until: int) -> tuple[WatchedFolder, list[Sample]]:
    """Watch a folder in which something happens after each image, until a number of images have come."""
    source = WatchedFolder(folder)
    waiting = list(events)
    samples: list[Sample] = []
    deadline = time.monotonic() + 20
    source.stop = lambda: len(samples) >= until or time.monotonic() > deadline
    for sample in source:
        samples.append(sample)
        if waiting:
            waiting.pop(0)()
    return source, samples


def test_images_that_are_there_and_that_come(tmp_path: Path) -> None:
    save(tmp_path / "a10.png")
    save(tmp_path / "a2.png")
    source, samples = watch(
        tmp_path,
        lambda: None,
        lambda: save(tmp_path / "more/a1.jpg"),
        lambda: save(tmp_path / "a2.jpg"),  # another image of the same name
        until=4,
    )
    assert [sample.name for sample in samples] == ["a2", "a10", "more/a1", "a2.jpg"]
    assert [sample.file_name for sample in samples] == ["a2.png", "a10.png", "more/a1.jpg", "a2.jpg"]
    assert source.state == ""
    assert source.estimated_length() is None


def test_a_file_is_read_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = save(tmp_path / "elsewhere.png", 77).read_bytes()
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "a.png"
    pauses = iter((0.02, 0.3, 0.02))  # the second one is so long that half a file has settled

    def write() -> None:
        for part in (content[:20], content[20:40], content[40:60], content[60:]):
            with file.open("ab") as opened:
                opened.write(part)
            time.sleep(next(pauses, 0))

    thread = threading.Thread(target=write)
    thread.start()
    source, samples = watch(tmp_path / "in", until=1)
    thread.join()
    np.testing.assert_array_equal(samples[0].image[..., 0], 77)
    assert source.skipped == []


def test_a_damaged_file_is_given_up_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "GIVE_UP_SECONDS", 0.3)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    source = WatchedFolder(tmp_path)
    states = set()

    def stop() -> bool:
        states.add(source.state)
        return bool(source.skipped)

    source.stop = stop
    assert list(source) == []
    assert [name for name, _ in source.skipped] == ["broken.png"]
    assert states >= {"not whole yet: 1"}


def test_a_damaged_file_that_is_mended_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "GIVE_UP_SECONDS", 0.3)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    source = WatchedFolder(tmp_path)
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    deadline = time.monotonic() + 20

    def stop() -> bool:
        if source.skipped and not skipped:
            skipped.extend(source.skipped)
            save(tmp_path / "a.png", 9)
        return time.monotonic() > deadline

    source.stop = stop
    samples.extend(islice(source, 1))
    assert samples[0].image[0, 0, 0] == 9
    assert [name for name, _ in skipped] == ["a.png"]
    assert source.skipped == []


def test_a_file_that_is_written_anew_is_named_once(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path / name)
    os.utime(tmp_path / "c.png", ns=(0, 0))

    def write_anew() -> None:
        save(tmp_path / "a.png", 8)
        save(tmp_path / "c.png", 9)  # whose turn has not come

    source, samples = watch(
        tmp_path,
        write_anew,
        lambda: None,
        lambda: save(tmp_path / "d.png"),
        lambda: save(tmp_path / "d.png", 7),  # and nobody looks again
        until=4,
    )
    assert [(sample.name, sample.image[0, 0, 0]) for sample in samples] == [("a", 0), ("b", 0), ("c", 9), ("d", 0)]
    assert [name for name, _ in source.skipped] == ["a.png", "d.png"]
    assert "written anew after it had been read" in source.skipped[0][1]
    assert source.state == "written anew, and not read again: 2"


def test_animations_and_files_that_go_again(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), (40 * index, 0, 0)) for index in range(3)]
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[1:])
    save(tmp_path / "notes.txt.png").rename(tmp_path / "notes.txt")
    _, samples = watch(tmp_path, (tmp_path / "b.gif").unlink, until=3)
    assert [sample.name for sample in samples] == ["b/000000", "b/000001", "b/000002"]


def test_an_animation_beside_a_folder_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    save(tmp_path / "b/000000.png")
    frames = [Image.new("RGB", (4, 4), (40 * index, 0, 0)) for index in range(2)]
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[1:])
    _, samples = watch(tmp_path, lambda: None, until=3)
    assert sorted(sample.name for sample in samples) == ["b.gif/000000", "b.gif/000001", "b/000000"]


def test_a_folder_beside_an_animation_of_its_name(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), (40 * index, 0, 0)) for index in range(2)]
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[1:])
    _, samples = watch(tmp_path, lambda: save(tmp_path / "b/000000.png"), until=3)
    assert [sample.name for sample in samples] == ["b/000000", "b/000001", "b/000000.png"]


def test_names_whose_results_would_be_in_each_other_s_way(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), (40 * index, 0, 0)) for index in range(2)]
    for name in ("c.jpg", "b.jpg", "e.png/1.png"):
        save(tmp_path / name)
    _, samples = watch(
        tmp_path,
        lambda: None,
        lambda: None,
        lambda: frames[0].save(tmp_path / "b.png.gif", save_all=True, append_images=frames[1:]),
        lambda: None,
        lambda: save(tmp_path / "e.bmp"),
        lambda: save(tmp_path / "B.png"),
        until=7,
    )
    names = [sample.name for sample in samples]
    assert names[:3] == ["b", "c", "e.png/1"]
    assert sorted(names[3:]) == ["B.png", "b.png.gif/000000", "b.png.gif/000001", "e.bmp"]


def test_an_image_without_a_name_for_its_results_is_left_out(tmp_path: Path) -> None:
    save(tmp_path / "c.jpg")
    source, samples = watch(tmp_path, lambda: [save(tmp_path / "c.png/1.png"), save(tmp_path / "d.png")], until=2)
    assert [sample.name for sample in samples] == ["c", "d"]
    ((name, reason),) = source.skipped
    assert name == "c.png/1.png"
    assert reason == "Its results would have the place of another image's. Save it under another name."
    assert source.state == "left out: 1"


def test_a_stack_that_is_cut_off_while_it_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), (40 * index, 0, 0)) for index in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    save(tmp_path / "b.png")
    source = WatchedFolder(tmp_path)
    taken = []
    for sample in source:
        taken.append(sample.name)
        if len(taken) == 1:
            content = (tmp_path / "a.tif").read_bytes()
            (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
        source.stop = lambda: taken[-1] == "b"
    assert (taken[0], taken[-1]) == ("a/000000", "b")
    assert [name for name, _ in source.skipped] == ["a.tif"]


def test_results_in_the_folder_are_no_images(tmp_path: Path) -> None:
    save(tmp_path / "a.png")

    def write_results() -> None:
        (tmp_path / "masks").mkdir()
        (tmp_path / "masks/objects.json").touch()
        save(tmp_path / "masks/labels/a.png")
        save(tmp_path / "b.png")

    _, samples = watch(tmp_path, write_results, until=2)
    assert [sample.name for sample in samples] == ["a", "b"]


def test_only_folders(tmp_path: Path) -> None:
    for path, what in ((save(tmp_path / "a.png"), "a file"), (tmp_path / "nowhere", "not there")):
        with pytest.raises(AstSegError, match=f"Only a folder can be watched, and .* is {what}"):
            WatchedFolder(path)
