import errno
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from astseg import __version__
from astseg._core.errors import AstSegError
from astseg._core.provenance import commit
from astseg.data.opening import open_source
from astseg.data.sources import EndlessSource, Sample
from astseg.data.store import Bytes
from astseg.data.store_writer import StoreWriter
from astseg.data.video import read_facts, read_frames
from astseg.data.video_writer import VideoWriter
from astseg.data.watching import WatchedFolder
from astseg.inference.segmenting import same_sized_batches, segment_source
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.segmentation import Segmentation
from astseg.visualization.colors import label_colors, overlay


class FakeModel:
    """Labels reddish pixels 1 and bluish ones 3; slot 2 finds nothing."""

    num_slots = 3
    image_size = (64, 64)

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def segment(self, images: Tensor) -> Segmentation:
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1
        self.batches.append(tuple(images.shape))
        count = len(images)
        labels = (images[:, 0] > 0.6).long() + 3 * (images[:, 2] > 0.6).long()
        return Segmentation(
            labels,
            torch.tensor([[-1.0, 1.0], [0.0, 0.0], [0.5, 0.0]]).expand(count, 3, 2),
            torch.full((count, 3, 2), 0.25),
            torch.tensor([1.5, 0.0, 2.5]).expand(count, 3),
            torch.arange(12.0).view(3, 4).expand(count, 3, 4) / 3,
        )


def block_image(height: int = 20, width: int = 30) -> Bytes:
    """Black, with a red block 4 wide and 3 high at (5, 2) and a blue column 2 wide at the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[2:5, 5:9] = (255, 0, 0)
    image[:, -2:] = (0, 0, 255)
    return image


def labels_of(image: Bytes) -> Bytes:
    return np.asarray((image[..., 0] > 150) + 3 * (image[..., 2] > 150), np.uint8)


def save(path: Path, image: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "in/a.png", block_image())
    save(tmp_path / "in/deep/b.x.png", block_image())
    save(tmp_path / "in/deep/c.png", np.zeros((8, 8, 3), np.uint8))
    save(tmp_path / "in/e.png", block_image(1, 1))
    (tmp_path / "in/d.png").write_text("")
    return tmp_path / "in"


def test_writes_labels_as_palette_images(tmp_path: Path, folder: Path) -> None:
    segment_source(FakeModel(), open_source(folder), tmp_path / "out")
    with Image.open(tmp_path / "out/labels/deep/b.x.png") as labels:
        assert labels.mode == "P"
        np.testing.assert_array_equal(np.array(labels), labels_of(block_image()))
        np.testing.assert_array_equal(np.array(labels.convert("RGB")), label_colors(3)[labels_of(block_image())])
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    names = ("a", "deep/b.x", "deep/c", "e")
    expected = [f"labels/{name}.png" for name in names] + [f"overlays/{name}.jpg" for name in names]
    assert found == sorted(["objects.json", *expected])


def test_writes_overlays(tmp_path: Path, folder: Path) -> None:
    segment_source(FakeModel(), open_source(folder), tmp_path / "out")
    with Image.open(tmp_path / "out/overlays/a.jpg") as image:
        difference = np.array(image).astype(int) - overlay(block_image(), labels_of(block_image()))
    assert np.abs(difference).mean() < 4


def test_lists_the_objects(tmp_path: Path, folder: Path) -> None:
    summary = segment_source(FakeModel(), open_source(folder), tmp_path / "out")
    content = json.loads((tmp_path / "out/objects.json").read_text())
    assert content["source"] == str(folder)
    assert content["slots"] == 3
    assert content["astseg"] == __version__
    assert content.get("commit", "") == commit()
    assert not {"model", "split", "fps"} & set(content)
    assert [entry["name"] for entry in content["skipped"]] == ["d"]
    assert [entry["file_name"] for entry in content["images"]] == ["a.png", "deep/b.x.png", "deep/c.png", "e.png"]
    entries = {entry["name"]: entry for entry in content["images"]}
    assert list(entries) == ["a", "deep/b.x", "deep/c", "e"]
    assert (entries["a"]["width"], entries["a"]["height"]) == (30, 20)
    assert entries["deep/c"]["objects"] == []
    assert entries["a"]["objects"] == [
        {
            "label": 1,
            "box": [5, 2, 4, 3],
            "area": 12,
            "centroid": [7, 3.5],
            "position": [0, 20],
            "scale": [0.25, 0.25],
            "activation": 1.5,
            "appearance": [0, 0.33333, 0.66667, 1],
        },
        {
            "label": 3,
            "box": [28, 0, 2, 20],
            "area": 40,
            "centroid": [29, 10],
            "position": [22.5, 10],
            "scale": [0.25, 0.25],
            "activation": 2.5,
            "appearance": [2.66667, 3, 3.33333, 3.66667],
        },
    ]
    assert summary.images == 4
    assert summary.objects == 5
    assert summary.out == tmp_path / "out"
    assert [name for name, _ in summary.skipped] == ["d"]


def test_names_the_model_and_the_split(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "data", (8, 8), "black", "none") as writer, writer.split("train") as split:
        split.append(np.zeros((1, 8, 8, 3), np.uint8))
    source = open_source(tmp_path / "data", "train")
    segment_source(FakeModel(), source, tmp_path / "out", model_name="fake")
    content = json.loads((tmp_path / "out/objects.json").read_text())
    assert (content["model"], content["split"]) == ("fake", "train")
    assert "file_name" not in content["images"][0]


@pytest.mark.parametrize(
    ("value", "note"),
    [(0, "cover only 0.0 %"), ((0, 0, 255), "In 100 % of the images the mask takes more than half.")],
)
def test_labels_that_look_wrong_are_told(tmp_path: Path, value: int | tuple[int, ...], note: str) -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[:] = value
    save(tmp_path / "a.png", image)
    found = segment_source(FakeModel(), open_source(tmp_path / "a.png"), tmp_path / "out").note
    assert found is not None
    assert note in found


def test_of_usual_labels_nothing_is_told(tmp_path: Path) -> None:
    save(tmp_path / "a.png", block_image())
    assert segment_source(FakeModel(), open_source(tmp_path / "a.png"), tmp_path / "out").note is None


def test_a_file_name_may_be_whatever_the_disk_says(tmp_path: Path) -> None:
    name = "caf\udce9"  # Latin-1 read as UTF-8
    save(tmp_path / "in" / f"{name}.png", block_image())
    (tmp_path / "in" / f"{name}-broken.png").write_text("")
    segment_source(FakeModel(), open_source(tmp_path / "in"), tmp_path / "out")
    assert (tmp_path / "out" / "labels" / f"{name}.png").is_file()
    content = (tmp_path / "out" / "objects.json").read_bytes().decode()
    assert '"name": "caf\\udce9"' in content
    assert json.loads(content)["images"][0]["name"] == name


@pytest.mark.parametrize(
    ("batch_size", "max_pixels", "sizes"), [(1, 10**6, [1, 1, 1, 1]), (2, 10**6, [2, 1, 1]), (16, 600, [1] * 4)]
)
def test_batches_hold_one_size_and_not_too_much(
    folder: Path, batch_size: int, max_pixels: int, sizes: list[int]
) -> None:
    batches = list(same_sized_batches(open_source(folder), batch_size, max_pixels))
    assert [len(batch) for batch in batches] == sizes


def test_a_full_batch_does_not_wait_for_the_next_image(folder: Path) -> None:
    taken: list[Sample] = []

    def samples() -> Iterator[Sample]:
        for sample in open_source(folder):
            taken.append(sample)
            yield sample

    next(same_sized_batches(samples(), 1))
    assert len(taken) == 1


def test_progress_tells_how_far_it_is(tmp_path: Path, folder: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    segment_source(
        FakeModel(), open_source(folder), tmp_path / "out", progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5)]


def test_makes_a_film_of_a_video(tmp_path: Path) -> None:
    image = np.zeros((31, 47, 3), np.uint8)
    image[:, 24:] = (0, 0, 255)
    with VideoWriter(tmp_path / "film.mp4", Fraction(30000, 1001)) as writer:
        for _ in range(5):
            writer.append(image)
    model = FakeModel()
    segment_source(model, open_source(tmp_path / "film.mp4"), tmp_path / "out", batch_size=2)
    assert [batch[0] for batch in model.batches] == [2, 2, 1]
    facts = read_facts(tmp_path / "out/overlay.mp4")
    assert facts.fps == Fraction(30000, 1001)
    assert json.loads((tmp_path / "out/objects.json").read_text())["fps"] == pytest.approx(30000 / 1001)
    assert facts.frames == 5
    frame = next(read_frames(tmp_path / "out/overlay.mp4")).image
    assert frame.shape == (32, 48, 3)
    assert np.abs(frame[:31, :47].astype(int) - overlay(image, labels_of(image))).mean() < 8
    assert len(list((tmp_path / "out/labels").iterdir())) == 5


@pytest.mark.parametrize("every", [1, 3])
def test_a_film_keeps_the_times_of_its_frames(tmp_path: Path, every: int) -> None:
    times = [0.0, 0.5, 0.6, 0.7, 2.0, 2.1, 2.25]
    with VideoWriter(tmp_path / "film.mp4", Fraction(7, 4), duration=4.0) as writer:
        for time in times:
            writer.append(block_image(32, 48), time)
    source = open_source(tmp_path / "film.mp4", every=every)
    assert [image.time for image in source] == pytest.approx(times[::every], abs=1e-4)
    segment_source(FakeModel(), source, tmp_path / "out")
    content = json.loads((tmp_path / "out/objects.json").read_text())
    assert content["fps"] == pytest.approx(7 / 4 / every)
    assert [image["time"] for image in content["images"]] == pytest.approx(times[::every], abs=1e-4)
    film = tmp_path / "out/overlay.mp4"
    assert [frame.time for frame in read_frames(film)] == pytest.approx(times[::every], abs=1e-4)
    assert read_facts(film).duration == pytest.approx(4.0, abs=1e-4)


def test_works_with_the_real_thing(tmp_path: Path, folder: Path) -> None:
    torch.manual_seed(0)
    model = AstSeg(Architecture(image_size=(64, 64), num_slots=3, feature_network="unet", background_network=None))
    summary = segment_source(model, open_source(folder), tmp_path / "out")
    assert summary.images == 4
    with Image.open(tmp_path / "out/labels/a.png") as labels:
        assert labels.size == (30, 20)


def test_refuses_names_in_place_of_things(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(TypeError, match=r"takes a model, such as load_model\('rooms'\), not a str"):
        segment_source("rooms", open_source(folder), tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"takes what open_source returns, not a .*Path"):
        segment_source(FakeModel(), folder, tmp_path / "out")  # type: ignore[arg-type]


def test_results_are_not_written_into_the_folder_that_is_watched(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="the folder that is watched"):
        segment_source(FakeModel(), WatchedFolder(tmp_path), tmp_path / ".")
    assert not list(tmp_path.iterdir())


class Endless(EndlessSource):
    """Two images, of which the first has a name that is too long for any disk."""

    def _samples(self) -> Iterator[Sample]:
        for name in ("x" * 300, "a"):
            yield Sample(name, block_image(), file_name=f"{name}.jpg")


def test_a_name_that_the_disk_does_not_allow_ends_no_endless_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = segment_source(FakeModel(), Endless(tmp_path), tmp_path / "out")
    assert (result.images, result.objects) == (1, 2)
    ((name, reason),) = result.skipped
    assert name == "x" * 300 + ".jpg"
    assert "Its results cannot have its name: File name too long. Save it under another name." in reason
    written = json.loads((tmp_path / "out/objects.json").read_text())
    assert ([one["name"] for one in written["images"]], len(written["skipped"])) == (["a"], 1)
    assert [path.name for path in (tmp_path / "out/labels").iterdir()] == ["a.png"]

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(AstSegError, match="No space left"):
        segment_source(FakeModel(), Endless(tmp_path), tmp_path / "full")


def test_refuses_a_place_that_is_taken(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious.txt").write_text("keep me")
    with pytest.raises(AstSegError, match="exists already"):
        segment_source(FakeModel(), open_source(folder), tmp_path / "out")
    assert (tmp_path / "out/precious.txt").read_text() == "keep me"
    with pytest.raises(AstSegError, match="exists already"):
        segment_source(FakeModel(), open_source(folder), folder / "a.png")


def test_takes_an_empty_folder(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "out").mkdir()
    segment_source(FakeModel(), open_source(folder), tmp_path / "out")
    assert (tmp_path / "out/objects.json").is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_leaves_nothing_behind_when_it_is_stopped(tmp_path: Path, folder: Path, error: type[BaseException]) -> None:
    class Failing(FakeModel):
        def segment(self, images: Tensor) -> Segmentation:
            if self.batches:
                raise error
            return super().segment(images)

    with pytest.raises(error):
        segment_source(Failing(), open_source(folder), tmp_path / "out", batch_size=1)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_full_disk_is_a_clear_error(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(AstSegError, match=r"Cannot write .*out: No space left on device"):
        segment_source(FakeModel(), open_source(folder), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_nothing_readable_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("")
    with pytest.raises(AstSegError, match="Nothing in"):
        segment_source(FakeModel(), open_source(tmp_path / "a.png"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_refuses_impossible_numbers(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(AstSegError, match="batch size"):
        segment_source(FakeModel(), open_source(folder), tmp_path / "out", batch_size=0)
    many = FakeModel()
    many.num_slots = 256
    with pytest.raises(AstSegError, match="256 slots"):
        segment_source(many, open_source(folder), tmp_path / "out")


def write_moving_film(folder: Path, frames: int = 12) -> Path:
    """A block that is red, and found by slot 1, in the first half, and then blue, and found by slot 3."""
    for frame in range(frames):
        image = np.zeros((20, 40, 3), np.uint8)
        image[5:12, 4 + frame : 12 + frame, 0 if frame < frames // 2 else 2] = 255
        save(folder / f"{frame:03d}.png", image)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tracked_objects_keep_their_label(tmp_path: Path) -> None:
    film = write_moving_film(tmp_path / "in")
    assert segment_source(FakeModel(), open_source(film), tmp_path / "by-slot").tracks is None
    assert segment_source(FakeModel(), open_source(film), tmp_path / "out", track=True).tracks == 1
    entries = json.loads((tmp_path / "out/objects.json").read_text())["images"]
    assert [[(entry["label"], entry["track"]) for entry in image["objects"]] for image in entries] == [[(1, 1)]] * 12
    with Image.open(tmp_path / "out/labels/011.png") as labels:
        np.testing.assert_array_equal(np.array(labels), np.pad(np.ones((7, 8), np.uint8), ((5, 8), (15, 17))))
    assert contents(tmp_path / "out")["overlays/011.jpg"] != contents(tmp_path / "by-slot")["overlays/011.jpg"]


def test_tracks_do_not_depend_on_batches_nor_on_an_attempt_that_was_stopped(tmp_path: Path) -> None:
    class Stopped(FakeModel):
        def segment(self, images: Tensor) -> Segmentation:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().segment(images)

    film = write_moving_film(tmp_path / "in")
    segment_source(FakeModel(), open_source(film), tmp_path / "whole", batch_size=16, track=True)
    with pytest.raises(KeyboardInterrupt):
        segment_source(Stopped(), open_source(film), tmp_path / "again", batch_size=3, track=True)
    segment_source(FakeModel(), open_source(film), tmp_path / "again", batch_size=3, track=True)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")
