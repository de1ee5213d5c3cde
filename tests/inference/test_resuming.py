import json
import os
import shutil
import signal
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.files import contents
from tests.process_groups import MAX_SECONDS, leave_garbage_to_parent
from torch import Tensor

from astseg._core.atomic_io import unfinished_folder
from astseg._core.checksums import seal_file
from astseg._core.errors import AstSegError
from astseg.data.opening import open_source
from astseg.data.video_writer import VideoWriter
from astseg.inference.resuming import FOLDER_NUMBER_FILE, PLAN_FILE, ResumableSegmenter, read_batch, resumable
from astseg.inference.segmenting import Segmenter, segment_source
from astseg.inference.tiles import OF_OBJECTS, TiledSegmenter
from astseg.model.ast_seg import AstSeg
from astseg.model.segmentation import Segmentation

FRAMES = 9
PLAN = {"source": ["film"], "batch size": 2}


class Counting:
    """A model that counts its batches, and is stopped before one of them."""

    def __init__(self, model: Segmenter, stop_before: int | None = None) -> None:
        self.model = model
        self.stop_before = stop_before
        self.batches = 0

    @property
    def num_slots(self) -> int | None:
        return self.model.num_slots

    def segment(self, images: Tensor) -> Segmentation:
        if self.batches == self.stop_before:
            raise KeyboardInterrupt
        self.batches += 1
        return self.model.segment(images)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    with VideoWriter(tmp_path / "film.mp4", Fraction(10)) as writer:
        for index in range(FRAMES):
            image = np.full((32, 48, 3), 40, np.uint8)
            image[8:20, 3 * index : 3 * index + 12] = (250, 90, 30)
            writer.append(image)
    return tmp_path / "film.mp4"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for index in range(FRAMES + 1):
        height = 24 if index < 4 else 32
        pixels = np.random.default_rng(index).integers(0, 256, (height, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{index}.png")
    (tmp_path / "in" / "5.png").write_text("damaged")
    return tmp_path / "in"


def run(model: Segmenter, source: Path, out: Path, *, track: bool = False, plan: dict[str, object] = PLAN) -> int:
    with resumable(out, plan) as kept:
        segment_source(ResumableSegmenter(model, kept), open_source(source), out, batch_size=2, track=track)
    return kept.found


def stop(model: Segmenter, source: Path, out: Path, batches: int, *, track: bool = False) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Counting(model, stop_before=batches), source, out, track=track)
    assert not out.exists()


@pytest.mark.parametrize(
    ("kind", "tiled", "track"), [("film", False, True), ("film", True, False), ("folder", False, False)]
)
def test_what_was_stopped_ends_as_if_nothing_had_happened(
    kind: str, tiled: bool, track: bool, model: AstSeg, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(kind)
    segmenter: Segmenter = TiledSegmenter(model, 1, 2) if tiled else model
    segment_source(segmenter, open_source(source), tmp_path / "whole", batch_size=2, track=track)
    stop(segmenter, source, tmp_path / "out", 2, track=track)
    stop(segmenter, source, tmp_path / "out", 1, track=track)  # the second time, after one further batch
    counting = Counting(segmenter)
    assert run(counting, source, tmp_path / "out", track=track) == 6
    assert counting.batches == 2
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert len([path for path in tmp_path.iterdir() if path.name.startswith(".")]) == 0


def test_another_plan_is_refused_and_nothing_lost(model: AstSeg, film: Path, tmp_path: Path) -> None:
    stop(model, film, tmp_path / "out", 2)
    with pytest.raises(
        AstSegError, match=r"stopped with other settings \(source, batch size\): .*remove .*\.out\.kept"
    ):
        run(model, film, tmp_path / "out", plan={"source": ["another"], "batch size": 3})
    assert run(model, film, tmp_path / "out") == 4


def test_changed_images_are_segmented_anew(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    stop(model, folder, tmp_path / "out", 3)
    Image.fromarray(np.full((24, 40, 3), 7, np.uint8)).save(folder / "1.png")
    segment_source(model, open_source(folder), tmp_path / "whole", batch_size=2)
    assert run(model, folder, tmp_path / "out") == 4
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["zeros", "cut", "bit"])
def test_a_damaged_batch_is_segmented_anew(model: AstSeg, film: Path, tmp_path: Path, damage: str) -> None:
    stop(model, film, tmp_path / "out", 3)
    file = tmp_path / ".out.kept" / "000001.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    files: dict[str, bytes | bytearray] = {"zeros": bytes(len(content)), "cut": content[:-9], "bit": content}
    file.write_bytes(files[damage])
    counting = Counting(model)
    assert run(counting, film, tmp_path / "out") == 4
    assert counting.batches == 3


def test_a_sealed_file_of_anything_else_is_no_batch(tmp_path: Path) -> None:
    (tmp_path / "000000.pt").write_bytes(b"not of torch")
    seal_file(tmp_path / "000000.pt")
    assert read_batch(tmp_path / "000000.pt", "", (1, 2, 2)) is None


OTHER_ANSWERS: dict[str, Callable[[Any], Any]] = {
    "a list": lambda kept: [1],
    "nothing": lambda kept: {},
    "of pixels alone": lambda kept: {"pixels": kept["pixels"]},
    "a number": lambda kept: {**kept, "labels": 5},
    "no numbers of pixels": lambda kept: {**kept, "labels": torch.zeros(3, dtype=torch.uint8)},
    "too few pixels": lambda kept: {**kept, "labels": packed(torch.zeros(3, dtype=torch.uint8))},
    "labels of no object": lambda kept: {**kept, "labels": packed(torch.full((2, 32, 48), 200, dtype=torch.uint8))},
    "labels of another type": lambda kept: {**kept, "labels": torch.zeros(2, 32, 48)},
    "fewer images": lambda kept: {name: v[:1] if name in OF_OBJECTS else v for name, v in kept.items()},
    "fewer positions": lambda kept: {**kept, "positions": kept["positions"][:, :1]},
    "one coordinate": lambda kept: {**kept, "positions": kept["positions"][..., :1]},
    "no coordinate": lambda kept: {**kept, "scales": kept["scales"][..., 0]},
    "whole numbers": lambda kept: {**kept, "activations": kept["activations"].long()},
    "a sparse tensor": lambda kept: {**kept, "activations": kept["activations"].to_sparse()},
    "one more": lambda kept: {**kept, "more": torch.zeros(2)},
}
"""Whole files that hold something else than what a model finds in a batch."""


def packed(numbers: Tensor) -> Tensor:
    return torch.frombuffer(bytearray(zlib.compress(numbers.numpy().tobytes())), dtype=torch.uint8)


@pytest.mark.parametrize("other", OTHER_ANSWERS.values(), ids=OTHER_ANSWERS)
def test_whole_files_of_anything_else_are_segmented_anew(
    model: AstSeg, film: Path, tmp_path: Path, other: Callable[[Any], Any]
) -> None:
    segment_source(model, open_source(film), tmp_path / "whole", batch_size=2)
    stop(model, film, tmp_path / "out", 2)
    file = tmp_path / ".out.kept" / "000001.pt"
    torch.save(other(torch.load(file, weights_only=True)), file)
    seal_file(file)
    assert run(model, film, tmp_path / "out") == 2
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_what_has_no_plan_is_removed(model: AstSeg, film: Path, tmp_path: Path) -> None:
    stop(model, film, tmp_path / "out", 3)
    (tmp_path / ".out.kept" / PLAN_FILE).unlink()
    assert run(model, film, tmp_path / "out") == 0


def test_a_place_in_use_is_refused_before_anything_is_kept(model: AstSeg, film: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(AstSegError, match="exists already"):
        run(model, film, tmp_path / "out")
    with resumable(tmp_path / "other", PLAN), pytest.raises(AstSegError, match="Another command is writing"):
        run(model, film, tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(AstSegError, match="Cannot write"):
        run(model, film, tmp_path / "file" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "film.mp4", "out"]


def run_killed(number: int, source: Path, out: Path, model: Segmenter) -> bool:
    """Segment in a process that is killed before it removes or renames something for the n-th time after its results
    are in their place; tell whether it was.
    """
    child = os.fork()
    if child == 0:
        done = 0

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal done
            if event in ("os.remove", "os.rmdir", "os.rename") and (out / "objects.json").exists():
                done += 1
                if done == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        leave_garbage_to_parent()
        signal.alarm(MAX_SECONDS)  # a copy of a process that has threads may stand still
        sys.addaudithook(count)
        try:
            run(model, source, out)
        finally:
            os._exit(sys.exc_info()[0] is not None)  # an error must not go on in a second pytest
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and kills by a signal")
def test_what_is_kept_does_not_outlive_whole_results(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    segment_source(model, open_source(folder), tmp_path / "whole", batch_size=2)
    place, number, left = tmp_path / "results", 1, 0
    while run_killed(number, folder, place / "out", model):
        assert contents(place / "out") == contents(tmp_path / "whole")
        left += (place / ".out.kept" / "000000.pt").is_file()
        if number % 2:  # by the same command
            with pytest.raises(AstSegError, match="exists already"):
                run(model, folder, place / "out")
        else:  # by another one beside it
            run(model, folder, place / "other")
        assert not list(place.glob("*.kept"))
        assert contents(place / "out") == contents(tmp_path / "whole")
        shutil.rmtree(place)
        number += 1
    assert number > 8
    assert left


def test_what_is_kept_for_others_stays(model: AstSeg, film: Path, tmp_path: Path) -> None:
    stop(model, film, tmp_path / "out", 3)
    unfinished = unfinished_folder(tmp_path / "out")
    unfinished.mkdir(parents=True)  # as a kill leaves it
    kept = contents(tmp_path / ".out.kept")
    (tmp_path / ".out.kept" / FOLDER_NUMBER_FILE).write_text(str(unfinished.stat().st_ino))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "plan.json").write_text("{}")
    (tmp_path / "mine").rename(tmp_path / ".mine.kept")
    run(model, film, tmp_path / "other")
    (tmp_path / "out").mkdir()  # not the one that was written
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(AstSegError, match="exists already"):
        run(model, film, tmp_path / "out")
    assert contents(tmp_path / ".out.kept").items() > kept.items()
    assert contents(tmp_path / ".mine.kept") == {"plan.json": b"{}"}


@pytest.mark.parametrize("name", [".out.kept", ".out.partial"])
def test_a_link_in_place_of_a_working_folder_is_refused(model: AstSeg, film: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    for mine in ("plan.json", "a.txt"):
        (tmp_path / "mine" / mine).write_text("mine")
    (tmp_path / name).symlink_to("mine")
    (tmp_path / ".spent.kept").symlink_to("empty")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AstSegError, match=r"but is a link to mine\. Remove the link"):
        run(model, film, tmp_path / "out")
    run(model, film, tmp_path / "other")
    assert contents(tmp_path / "mine") == {"plan.json": b"mine", "a.txt": b"mine"}
    assert (tmp_path / "empty").is_dir()


def test_links_among_kept_batches_are_not_written_through(model: AstSeg, film: Path, tmp_path: Path) -> None:
    stop(model, film, tmp_path / "out", 3)
    (tmp_path / "mine").write_text("mine")
    for name in ("000001.pt", FOLDER_NUMBER_FILE):
        (tmp_path / ".out.kept" / name).unlink(missing_ok=True)
        (tmp_path / ".out.kept" / name).symlink_to(tmp_path / "mine")
    assert run(model, film, tmp_path / "out") == 4
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_place_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(AstSegError, match="leads back to itself"), resumable(tmp_path / "loop", PLAN):
        pytest.fail("nowhere to keep anything")


def test_a_full_disk_is_told(model: AstSeg, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        if path.suffix == ".pt":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(AstSegError, match="No space left"):
        run(model, film, tmp_path / "out")


def test_the_plan_can_be_read_by_people(model: AstSeg, film: Path, tmp_path: Path) -> None:
    stop(model, film, tmp_path / "out", 1)
    assert json.loads((tmp_path / ".out.kept" / PLAN_FILE).read_text()) == PLAN
