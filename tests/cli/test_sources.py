"""Every kind of source that ``astseg segment`` takes."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Program
from tests.data.films import plain_images, write_film
from tests.data.streams import StreamServer, serving, transport_stream
from tests.data.test_remote import Server

from astseg.cli import _sources
from astseg.data import live, watching
from astseg.data.video import read_facts
from astseg.inference.formats.results import read_results


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of images and a film, in the working folder."""
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(("x/1.png", "x/2.png", "y/1.jpg")):
        save(tmp_path / name, index)
    write_film(tmp_path / "film.avi", plain_images(range(0, 200, 20)))
    return tmp_path


def names(out: Path) -> list[str]:
    """The names in objects.json, whose labels and overlays must be there, and nothing else."""
    found = sorted(entry["name"] for entry in json.loads((out / "objects.json").read_text())["images"])
    labels = (path.relative_to(out / "labels").with_suffix("").as_posix() for path in out.glob("labels/**/*.*"))
    overlays = (path.relative_to(out / "overlays").with_suffix("").as_posix() for path in out.glob("overlays/**/*.*"))
    assert found == sorted(labels) == sorted(overlays)
    return found


def pipe(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_several_with_a_pattern_and_a_list(astseg: Program, finished: Path, folder: Path) -> None:
    (folder / "list.txt").write_text("y/1.jpg\nfilm.avi\n")
    words = ["x/*.png", "list.txt", "--every", 5]
    assert astseg("segment", finished, *words, "--out", "out", "--format", "cutouts,coco") == 0
    assert names(folder / "out") == ["film/000000", "film/000005", "x/1", "x/2", "y/1"]
    head = json.loads((folder / "out/objects.json").read_text())
    assert head["source"] == str(folder)
    assert head["sources"] == [str(folder / name) for name in ("x/1.png", "x/2.png", "y/1.jpg", "film.avi")]
    entries = {entry["name"]: entry for entry in head["images"]}
    assert entries["y/1"]["file_name"] == "y/1.jpg"
    assert entries["film/000005"]["time"] == 0.2
    images = {
        image["file_name"] for image in json.loads(next((folder / "out/coco").glob("*.json")).read_text())["images"]
    }
    assert images == {"x/1.png", "x/2.png", "y/1.jpg", "film/000000.png", "film/000005.png"}
    (folder / "x/1.png").unlink()
    assert f"not in {folder / 'x/1.png'}" in astseg.mistake("convert", "out", "--format", "cutouts")


def test_the_masks_do_not_depend_on_how_an_image_is_named(
    astseg: Program, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert astseg("segment", finished, "x", "--out", "by-folder") == 0
    assert astseg("segment", finished, "x/1.png", "x/2.png", "--out", "by-file") == 0
    pipe(b"x/2.png\nx/1.png\n", monkeypatch)
    assert astseg("segment", finished, "-", "--out", "by-pipe") == 0
    for name in ("1", "2"):
        contents = {
            (folder / out / "labels" / f"{name}.png").read_bytes() for out in ("by-folder", "by-file", "by-pipe")
        }
        assert len(contents) == 1


def test_an_image_from_standard_input(
    astseg: Program, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe((folder / "x/1.png").read_bytes(), monkeypatch)
    assert astseg("segment", finished, "-", "--out", "out", "--format", "cutouts") == 0
    assert names(folder / "out") == ["stdin"]
    assert not list(Path("/tmp").glob("astseg-*/stdin"))


def test_standard_input_that_is_neither(
    astseg: Program, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content, message in ((b"nowhere.png", "names 'nowhere.png'"), (b"", "standard input names no files")):
        pipe(content, monkeypatch)
        assert message in astseg.mistake("segment", finished, "-", "--out", "out")
    pipe((folder / "x/1.png").read_bytes()[:-30], monkeypatch)
    assert "Error: The image from standard input is " in astseg.mistake("segment", finished, "-", "--out", "out")
    pipe(b"x/1.png", monkeypatch)
    monkeypatch.setattr(sys.stdin.buffer, "isatty", lambda: True)
    assert astseg("segment", finished, "-", "--out", "out") == 0
    assert "Ctrl-D ends them" in astseg.err
    monkeypatch.setattr(_sources, "MAX_STANDARD_INPUT", 4)
    pipe(b"x/1.png", monkeypatch)
    assert "of 4 bytes at most" in astseg.mistake("segment", finished, "-", "--out", "other")


def test_processes_do_not_share_standard_input(
    astseg: Program, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    pipe(b"x/1.png", monkeypatch)
    assert "Name a list.txt instead" in astseg.mistake("segment", finished, "-", "--shard", 1, "--out", "out")


def test_an_address(astseg: Program, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTSEG_CACHE", str(folder / "cache"))
    with serving(Server()) as server:
        server.content = (folder / "x/1.png").read_bytes()
        for out in ("one", "two"):
            assert astseg("segment", finished, server.address, "--out", out) == 0
            assert names(folder / out) == ["a_b"]
        assert server.requests.count("GET") == 1
        monkeypatch.setenv("ASTSEG_CACHE_GB", "0")
        assert astseg("segment", finished, server.address, "--out", "none-kept") == 0
        assert list((folder / "cache").iterdir()) == []
    assert "Connection refused" in astseg.mistake("segment", finished, server.address, "--out", "three")


def press_ctrl_c_when(happened: Path, count: int) -> threading.Thread:
    """Press Ctrl-C once a folder holds a number of files, or after a long time."""

    def wait() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and len([*happened.glob("[!.]*")]) < count:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_ctrl_c_leaves_whole_results_of_live_video(astseg: Program, finished: Path, folder: Path) -> None:
    with serving(StreamServer(transport_stream(50), seconds=2.0)) as server:
        thread = press_ctrl_c_when(folder / "out/labels", 3)
        assert astseg("segment", finished, server.address, "--out", "out", "--track") == 0
        thread.join()
        assert "Stopping after this step" in astseg.err
        error = astseg.mistake("segment", finished, server.address, "--out", "other", "--format", "cutouts")
        assert "Images of live video are not kept" in error
    found = names(folder / "out")
    assert len(found) >= 3
    assert read_facts(folder / "out/overlay.mp4").frames == len(found)
    results = read_results(folder / "out")
    assert results.head.source == server.address
    times = [record.time or 0.0 for record in results.records()]
    assert times[0] < 1  # the first frames may have been dropped
    assert times == sorted(times)
    assert not (folder / "out/.lock").exists()


def test_live_video_that_never_sends_a_frame(
    astseg: Program, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(live._Reader, "_put", lambda *_: None)
    with serving(StreamServer(transport_stream(10), seconds=0.1)) as server:
        assert astseg("segment", finished, server.address, "--out", "out", "--format", "coco") == 0
    assert astseg.out.startswith("0 images, 0 objects")
    assert "Note the stream broke off" in astseg.err
    assert json.loads((folder / "out/objects.json").read_text())["images"] == []
    assert not (folder / "out/overlay.mp4").exists()


def test_a_watched_folder(astseg: Program, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(watching, "SETTLED_SECONDS", 0.05)
    thread = press_ctrl_c_when(folder / "x/out/labels", 3)
    late = threading.Timer(0.5, save, [folder / "x/0.png", 7])
    late.start()
    assert astseg("segment", finished, "x", "--watch", "--out", "x/out", "--batch-size", 99) == 0
    thread.join()
    late.join()
    assert names(folder / "x/out") == ["0", "1", "2"]
    assert astseg("convert", "x/out", "--format", "cutouts") == 0  # though the images came in another order
    assert "exists already" in astseg.mistake("segment", finished, "x", "--watch", "--out", "x/out")


def test_formats_of_a_watched_folder_whose_images_come_in_any_order_and_go(
    astseg: Program, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(watching, "SETTLED_SECONDS", 0.05)

    def change() -> None:
        (folder / "x/1.png").unlink()
        frames = [Image.new("RGB", (64, 48), (40 * index, 0, 0)) for index in range(3)]
        frames[0].save(folder / "x/0.gif", save_all=True, append_images=frames[1:])

    frames = [Image.new("RGB", (64, 48), (50 * index, 0, 0)) for index in range(2)]
    frames[0].save(folder / "x/9.gif", save_all=True, append_images=frames[1:])
    thread = press_ctrl_c_when(folder / "out/labels/0", 3)
    late = threading.Timer(0.5, change)
    late.start()
    assert astseg("segment", finished, "x", "--watch", "--out", "out", "--format", "yolo,coco") == 0
    thread.join()
    late.join()
    records = json.loads((folder / "out/objects.json").read_text())["images"]
    assert [record["name"] for record in records] == [
        *("1", "2", "9/000000", "9/000001"),
        *("0/000000", "0/000001", "0/000002"),
    ]
    assert len(json.loads((folder / "out/coco/instances.json").read_text())["images"]) == 7
    kept = {path.relative_to(folder / "out/yolo/images").as_posix() for path in folder.glob("out/yolo/images/**/*.png")}
    assert kept == {"2.png", *(f"9/{index:06}.png" for index in range(2)), *(f"0/{index:06}.png" for index in range(3))}
    assert "left out, as no longer there as segmented: 1 (1)" in astseg.out


def test_an_error_leaves_what_was_done_of_a_watched_folder(
    astseg: Program, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SETTLED_SECONDS", 0.05)
    write, count = Image.Image.save, 0

    def fill_disk(*arguments: object, **options: object) -> None:
        nonlocal count
        count += 1
        if count > 2:  # the label image and the overlay of the first
            raise OSError(28, "No space left on device")
        write(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "save", fill_disk)
    assert astseg("segment", finished, "x", "--watch", "--out", "out") == 2
    assert "No space" in astseg.err
    assert names(folder / "out") == ["1"]


def test_mistakes(astseg: Program, finished: Path, folder: Path) -> None:
    cases: list[tuple[tuple[object, ...], str]] = [
        (("x", "y", "--watch"), "for a single folder"),
        (("x", "--watch", "--every", 2), "for a single folder"),
        (("camera:0", "--watch"), "for a single folder"),
        (("camera:0", "--max-frames", 9), "--max-frames is for videos whose length is known"),
        (("x", "--watch", "--max-frames", 9), "--max-frames is for videos whose length is known"),
        (("film.avi", "--watch"), "Only a folder can be watched"),
        (("x", "camera:0"), "camera:0 is live video"),
        (("camera:nothing",), "camera:0 is the first"),
        (("x/*.bmp",), "x/*.bmp, and as a pattern it matches nothing"),
        (("x", "film.avi", "--track"), "one video or folder"),
        (("https://[nowhere/a.png",), "https://[nowhere/a.png does not answer"),
        (("x", "rtsp://me:secret@h/1"), "rtsp://h/1 is live video"),
        (("rtmp://me:secret@h/1",), "rtmp://h/1 is an address that astseg does not know"),
    ]
    for arguments, message in cases:
        assert message in astseg.mistake("segment", finished, *arguments, "--out", "out")
    assert sorted(path.name for path in folder.iterdir()) == ["film.avi", "x", "y"]


def test_json_and_quiet(astseg: Program, finished: Path, folder: Path) -> None:
    (folder / "x/3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    options = ("--json", "--quiet", "--format", "coco")
    assert astseg("segment", finished, "x", "--out", "out", *options) == 0
    assert astseg.err == ""
    found = json.loads(astseg.out)
    assert (found["out"], found["images"]) == ("out", 2)
    assert found["objects"] == sum(
        len(entry["objects"]) for entry in json.loads((folder / "out/objects.json").read_text())["images"]
    )
    assert [name for name, _ in found["skipped"]] == ["3"]
    assert [(one["format"], one["path"]) for one in found["formats"]] == [("coco", "out/coco/instances.json")]
    assert astseg("convert", "out", "--format", "grey", "--json") == 0
    assert "Converting" in astseg.err
    assert json.loads(astseg.out)["formats"][0]["format"] == "grey"
    assert astseg("data", "import", "x", "film.avi", "--out", "data", "--size", "16", *options[:2]) == 0
    assert json.loads(astseg.out)["images"] == {"train": 10, "test": 2}
    assert astseg.err == ""
    assert "exists already" in astseg.mistake("segment", finished, "x", "--out", "out", "--quiet")
    assert astseg("segment", finished, "x", "--out", "loud") == 0
    assert "Skipped 3" in astseg.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    variables = {**os.environ, "_ASTSEG_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'astseg'; from astseg.cli import main; main()"]
    shown = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    assert "_ASTSEG_COMPLETE=complete_" in shown


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            ("run.json", "data/manifest.json"),
            "own is a training run, not a folder of images. Its prepared images are in",
        ),
        (("run.json",), "own is a training run, not a folder of images. Name what it was trained on."),
        (("objects.json", "labels/a.png"), "own holds what was found in images, not images. Name the images, or"),
        (("backgrounds/a.png", "masks/a.png"), "own holds backgrounds and masks, not images. Name the images, or"),
    ],
)
def test_a_folder_of_what_astseg_made_is_no_source(
    made: tuple[str, ...], message: str, tmp_path: Path, astseg: Program
) -> None:
    contents = {"run.json": {"recipe": {}, "data": "", "seed": 0}, "manifest.json": {"format": "astseg-store"}}
    own = tmp_path / "own"
    for file in made:
        (own / file).parent.mkdir(parents=True, exist_ok=True)
        (own / file).write_text(json.dumps(contents.get(Path(file).name, {})))
    out = ("--out", tmp_path / "out")
    for command in (("segment", "rooms", own), ("train", own), ("data", "import", own), ("evaluate", "rooms", own)):
        assert message in astseg.mistake(*command, *out)
    assert message in astseg.mistake("background", own, *out)
    assert not (tmp_path / "out").exists()
