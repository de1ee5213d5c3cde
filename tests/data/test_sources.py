import io
import os
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.films import cut_off, damage, plain_images, write_film, write_tracks

from astseg._core.errors import AstSegError
from astseg.data.file_source import FileSource
from astseg.data.folders import find_files, natural_key
from astseg.data.opening import open_source
from astseg.data.sources import Source
from astseg.data.store_writer import StoreWriter
from astseg.training.presets import PRESETS
from astseg.training.run_folder import RunSettings, write_run


def save_image(path: Path, value: int = 0, size: tuple[int, int] = (6, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path)


def names(source: Source) -> list[str]:
    return [sample.name for sample in source]


def test_reads_a_nested_folder_in_natural_order(tmp_path: Path) -> None:
    for name in ("b/frame10.png", "b/frame2.jpg", "b/frame1.webp", "a.bmp", "B/x.png"):
        save_image(tmp_path / name)
    for name in (".hidden.png", ".git/x.png"):
        save_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_source(tmp_path)
    assert names(source) == ["a", "b/frame1", "b/frame2", "b/frame10", "B/x"]
    assert source.estimated_length() == 5
    assert source.fps is None
    assert not source.has_masks


def make_run(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_run(folder, RunSettings("", PRESETS["demo"].recipe, "data"), torch.device("cpu"))


@pytest.mark.parametrize(
    "marks",
    [
        (),  # a run
        ("objects.json", "labels/a.png"),
        ("backgrounds/a.png", "masks/a.png"),  # from an older version
        ("backgrounds/a.png", "masks/a.png", "summary.json"),
    ],
)
def test_leaves_out_what_astseg_made_in_the_folder(tmp_path: Path, marks: tuple[str, ...]) -> None:
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "more" / "b.png")
    for mark in marks:
        (tmp_path / "own" / mark).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / mark).touch()
    if not marks:
        make_run(tmp_path / "own")
    if "backgrounds/a.png" not in marks:
        save_image(tmp_path / "own/overlays/a.jpg")
    save_image(tmp_path / ".masks.partial/labels/a.png")
    with StoreWriter(tmp_path / "prepared", (8, 8), "s", "p") as writer, writer.split("train") as split:
        split.append(np.zeros((2, 8, 8, 3), np.uint8))
    source = open_source(tmp_path)
    assert names(source) == ["a", "more/b"]
    assert source.left_out[-1] == "what astseg made itself: 2 (own, prepared)"


def test_reads_a_run_that_the_user_names(tmp_path: Path) -> None:
    save_image(tmp_path / "overlays/a.jpg")
    make_run(tmp_path)
    assert names(open_source(tmp_path)) == ["overlays/a"]


@pytest.mark.parametrize("content", ["", "[1]", '{"experiment": 7}'])
def test_other_programs_have_a_run_json_too(tmp_path: Path, content: str) -> None:
    save_image(tmp_path / "seven/a.png")
    (tmp_path / "seven/run.json").write_text(content)
    assert names(open_source(tmp_path)) == ["seven/a"]


def test_backgrounds_beside_images_are_images_of_their_own(tmp_path: Path) -> None:
    save_image(tmp_path / "train/images/a.png")
    save_image(tmp_path / "train/backgrounds/a.png")
    save_mask(tmp_path / "train/masks/a.png", 1)
    assert names(open_source(tmp_path)) == ["train/backgrounds/a", "train/images/a"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("a.jpg", "a.png", "a.jpg.png"), ["a.jpg", "a.jpg.png", "a.png"]),
        (("a.jpg", "a.png", "A.jpg.PNG/b.png"), ["A.jpg.PNG/b", "a.jpg_", "a.png"]),
        (("a.jpg", "a.png", "a.jpg.png/b.png", "a.jpg_.png"), ["a.jpg.png/b", "a.jpg_", "a.jpg__", "a.png"]),
        (("a.jpg", "a.png/b.png"), ["a.jpg", "a.png/b"]),
        (("a.jpg", "b.png"), ["a", "b"]),
        (("A.jpg", "a.png"), ["A.jpg", "a.png"]),
        (("Ä.jpg", "A\u0308.png", "b/c.png", "B.jpg"), ["A\u0308.png", "B.jpg", "b/c", "Ä.jpg"]),
        (("a.png", "a.jpg", "b.png", "c.png", "c/d.png"), ["a.jpg", "a.png", "b", "c.png", "c/d"]),
    ],
)
def test_no_two_images_share_a_name(tmp_path: Path, files: tuple[str, ...], expected: list[str]) -> None:
    for file in files:
        save_image(tmp_path / file)
    assert sorted(names(open_source(tmp_path))) == expected


def test_the_images_of_an_array_share_no_name_with_a_result(tmp_path: Path) -> None:
    np.save(tmp_path / "x.png.npy", np.zeros((2, 8, 8, 3), np.uint8))
    save_image(tmp_path / "x.jpg")
    assert sorted(names(open_source(tmp_path))) == ["x.jpg", "x.png/000000", "x.png/000001"]


def test_a_bad_image_in_an_array_is_skipped_alone(tmp_path: Path) -> None:
    values = np.zeros((4, 8, 8, 3), np.float32)
    values[1] = 1.01
    np.save(tmp_path / "a.npy", values)
    source = open_source(tmp_path / "a.npy")
    assert names(source) == ["000000", "000002", "000003"]
    ((name, reason),) = source.skipped
    assert name == "000001"
    assert "from 1.01 to 1.01; they should lie in [0, 1]" in reason


def test_sorts_numbers_as_numbers() -> None:
    unsorted = ["a10", "a2", "a", "A1", "10", "9", "a2b", "a02"]
    assert sorted(unsorted, key=natural_key) == ["9", "10", "a", "A1", "a02", "a2", "a2b", "a10"]


def test_yields_images_lazily_and_again(tmp_path: Path) -> None:
    for index in range(3):
        save_image(tmp_path / f"{index}.png", index)
    source = open_source(tmp_path)
    first = next(iter(source))
    assert first.image.shape == (5, 6, 3)
    (tmp_path / "2.png").unlink()
    assert [sample.image[0, 0, 0] for sample in source] == [0, 1]
    assert [name for name, _ in source.skipped] == ["2"]


def test_mixes_arrays_with_images(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", np.full((2, 4, 4, 3), 7, np.uint8))
    np.savez(tmp_path / "c.npz", image=np.zeros((1, 4, 4), np.uint8))
    source = open_source(tmp_path)
    assert names(source) == ["a", "b/000000", "b/000001", "c/000000"]
    assert source.estimated_length() == 4


def test_opens_a_single_file(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", np.zeros((2, 4, 4, 3), np.uint8))
    assert names(open_source(str(tmp_path / "a.png"))) == ["a"]
    assert names(open_source(tmp_path / "b.npy")) == ["000000", "000001"]


def test_names_what_it_skips(tmp_path: Path) -> None:
    save_image(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("nothing")
    (tmp_path / "worse.npz").write_text("nothing")
    source = open_source(tmp_path)
    assert source.estimated_length() == 2  # damaged images are noticed when they are read
    for _ in range(2):  # the second pass does not add to the list
        assert names(source) == ["good"]
        assert [name for name, _ in source.skipped] == ["bad", "worse"]
    assert "bad.png is not a readable image" in source.skipped[0][1]


def test_a_damaged_array_has_no_notes_and_stops_no_other(tmp_path: Path) -> None:
    save_image(tmp_path / "good.png")
    np.savez(tmp_path / "bad.npz", images=np.zeros((2, 8, 8, 3)))
    content = bytearray((tmp_path / "bad.npz").read_bytes())
    content[14] ^= 1  # the member's checksum
    content[content.index(b"PK\x01\x02") + 16] ^= 1
    (tmp_path / "bad.npz").write_bytes(content)
    source = open_source(tmp_path)
    assert source.notes == ()
    assert names(source) == ["good"]
    assert [name for name, _ in source.skipped] == ["bad"]


def test_reads_an_array_up_to_where_it_is_cut_off(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8, 3), np.uint8))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-10])
    source = open_source(tmp_path / "a.npy")
    assert names(source) == ["000000", "000001", "000002"]
    assert "cut off" in source.skipped[0][1]


def test_a_part_names_its_images_as_the_whole_does(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.png"):
        save_image(tmp_path / name)
    source = open_source(tmp_path)
    assert isinstance(source, FileSource)
    parts = [source.part([file]) for file in source.files]
    assert [name for part in parts for name in names(part)] == names(source) == ["a.jpg", "a.png", "b"]


def test_nothing_readable_is_an_error_that_gives_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("nothing")
    (tmp_path / "b.png").write_text("nothing")
    with pytest.raises(AstSegError, match=r"2 tried.*a\.png"):
        list(open_source(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent", "There is no file"), ("notes.txt", "neither an image"), ("empty", "holds no images")],
)
def test_refuses_what_holds_no_images(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AstSegError, match=message):
        open_source(tmp_path / name)


def test_points_at_videos_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("")
    with pytest.raises(AstSegError, match="It holds a video: name that instead"):
        open_source(tmp_path)


def save_mask(path: Path, value: int, size: tuple[int, int] = (6, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def test_finds_the_masks_beside_the_images(tmp_path: Path) -> None:
    save_image(tmp_path / "set/images/deep/a.jpg")
    save_mask(tmp_path / "set/masks/deep/a.png", 3)
    source = open_source(tmp_path)
    assert source.has_masks
    (sample,) = source
    assert sample.name == "set/images/deep/a"
    np.testing.assert_array_equal(sample.mask, np.full((5, 6), 3))


def test_images_with_missing_or_unusable_masks_are_read(tmp_path: Path) -> None:
    for name in "abcd":
        save_image(tmp_path / f"images/{name}.png")
    save_mask(tmp_path / "masks/a.png", 1, size=(2, 2))
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).save(tmp_path / "masks/b.png")
    (tmp_path / "masks/c.png").write_text("nothing")
    source = open_source(tmp_path)
    assert not source.has_masks
    samples = list(source)
    assert [sample.name for sample in samples] == [f"images/{name}" for name in "abcd"]
    assert not source.skipped
    assert all(sample.mask is None for sample in samples)
    reasons = (
        "has .2, 2. pixels, its image .5, 6.",
        "mask .*b.png has objects up to number 399",
        "c.png is not a readable image",
    )
    for sample, reason in zip(samples, reasons, strict=False):
        assert re.search(reason, str(sample.mask_problem))
    assert samples[3].mask_problem is None


def test_masks_are_only_found_below_or_beside_the_named_folder(tmp_path: Path) -> None:
    place = tmp_path / "images" / "2026"
    save_image(place / "a.png")
    save_mask(tmp_path / "masks/2026/a.png", 3)
    assert open_source(tmp_path).has_masks
    assert open_source(tmp_path / "images").has_masks
    assert not open_source(place).has_masks
    assert not open_source(place / "a.png").has_masks


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image(tmp_path / "images/a.png")
    save_mask(tmp_path / "masks/a.png", 3)
    monkeypatch.chdir(tmp_path / "images")
    assert open_source(".").has_masks
    assert open_source("a.png").has_masks


def test_describes_what_else_is_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "elsewhere/b.png")
    save_image(tmp_path / ".cache/b.png")
    for name in ("film.AVI", "notes.txt", "deep/more.txt", "Makefile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for run in ("run1", "run2", "run3", "run4"):
        make_run(tmp_path / run)
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def closed(path: Path) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    source = open_source(tmp_path)
    assert names(source) == ["a", "elsewhere/b"]
    assert source.left_out == (
        "files of other kinds: 4 (.avi, .txt, no ending)",
        "what astseg made itself: 4 (run1, run2, run3 and 1 more)",
        "linked folders: 1 (link)",
        "folders that may not be opened: 1 (closed)",
    )


def test_a_folder_that_cannot_be_identified_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "deep/b.png")

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("astseg.data.folders.Store.is_store", refused)
    assert find_files(tmp_path).files == (tmp_path / "a.png", tmp_path / "deep/b.png")


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    found = find_files(tmp_path)
    assert found.files == (tmp_path / "a.png",)
    assert found.left_out == ("links that lead nowhere: 2 (loop.png, nowhere)",)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert find_files(tmp_path).left_out == ("pipes, devices and the like: 1 (pipe.png)",)
    with pytest.raises(AstSegError, match="pipe"):
        open_source(tmp_path / "pipe.png")


def test_an_image_without_a_suffix_is_read(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "0001")
    (tmp_path / "notes").write_text("P3 is not an image here")
    assert names(open_source(tmp_path)) == ["0001"]


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp", "a.png"])
def test_every_frame_of_a_file_is_an_image(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 6), (20 * index, 0, 0)) for index in range(11)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    source = open_source(tmp_path / name)
    assert source.estimated_length() == 11
    assert names(source) == [f"{index:06d}" for index in range(11)]
    assert [sample.image[0, 0, 0] for sample in source] == [20 * index for index in range(11)]
    save_image(tmp_path / "b.jpg")
    assert names(open_source(tmp_path)) == [*(f"a/{index:06d}" for index in range(11)), "b"]


def test_the_frames_of_masks_belong_to_those_of_images(tmp_path: Path) -> None:
    for place, frames in (("images", [(0,) * 3] * 3), ("masks", [1, 2, 3]), ("short/images", [(0,) * 3] * 3)):
        (tmp_path / place).mkdir(parents=True)
        first, *others = [Image.new("L" if isinstance(value, int) else "RGB", (8, 6), value) for value in frames]
        first.save(tmp_path / place / "a.tif", save_all=True, append_images=others)
    save_mask(tmp_path / "short/masks/a.tif", 1, size=(8, 6))
    samples = list(open_source(tmp_path / "images"))
    assert [np.max(np.asarray(sample.mask)) for sample in samples] == [1, 2, 3]
    samples = list(open_source(tmp_path / "short"))
    assert [sample.mask is None for sample in samples] == [False, True, True]
    assert "fewer frames" in str(samples[1].mask_problem)


def test_masks_of_single_objects_have_the_same_number_of_frames(tmp_path: Path) -> None:
    for name, mode, count in (("images/a", "RGB", 2), ("masks/1", "L", 2), ("masks/2", "L", 1)):
        save_mask(tmp_path / f"x/{name}.tif", 0)
        first, *others = [Image.new(mode, (8, 6)) for _ in range(count)]
        first.save(tmp_path / f"x/{name}.tif", save_all=True, append_images=others)
    samples = list(open_source(tmp_path))
    assert [sample.mask is None for sample in samples] == [False, True]
    assert "2.tif has fewer frames" in str(samples[1].mask_problem)


def test_a_mask_is_rotated_by_exif_data(tmp_path: Path) -> None:
    image = Image.new("RGB", (6, 5), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    image.save(tmp_path / "images/a.jpg", exif=exif)
    labels = np.zeros((5, 6), np.uint8)
    labels[:2] = 1
    (tmp_path / "masks").mkdir()
    Image.fromarray(labels).save(tmp_path / "masks/a.png")
    (sample,) = open_source(tmp_path)
    assert sample.image.shape == (6, 5, 3)
    np.testing.assert_array_equal(sample.mask, np.rot90(labels, -1))


def test_pixels_that_are_not_scored_have_a_label_of_their_own(tmp_path: Path) -> None:
    labels = np.zeros((6, 8), np.uint8)
    labels[:3], labels[0] = 1, 255
    save_image(tmp_path / "images/a.jpg", size=(8, 6))
    (tmp_path / "masks").mkdir()
    Image.fromarray(labels).save(tmp_path / "masks/a.png")
    np.savez(tmp_path / "b.npz", images=np.zeros((1, 6, 8, 3), np.uint8), masks=labels[None])
    for source in (open_source(tmp_path), open_source(tmp_path / "b.npz")):
        assert source.ignored_label == 255
        for sample in source:
            np.testing.assert_array_equal(sample.mask, labels)
    assert open_source(tmp_path, ignored=frozenset()).ignored_label is None
    (sample,) = open_source(tmp_path / "b.npz", ignored=frozenset({1}))
    np.testing.assert_array_equal(sample.mask == 255, labels == 1)


def test_describes_a_folder_without_images(tmp_path: Path) -> None:
    save_image(tmp_path / "elsewhere/b.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/notes.txt").write_text("")
    with pytest.raises(AstSegError, match=r"1 \(\.txt\); linked folders: 1 \(link\)"):
        open_source(tmp_path / "in")


def test_every_nth_image_of_a_folder_cannot_be_read(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    for path in (tmp_path, tmp_path / "a.png"):
        with pytest.raises(AstSegError, match="Only of a video"):
            open_source(path, every=2)


def test_a_folder_called_masks_may_hold_images(tmp_path: Path) -> None:
    save_image(tmp_path / "masks/venice.png")
    assert names(open_source(tmp_path)) == ["masks/venice"]


def test_arrays_contain_their_masks(tmp_path: Path) -> None:
    masks = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4, 3), np.uint8), masks=masks)
    source = open_source(tmp_path)
    assert source.has_masks
    np.testing.assert_array_equal([sample.mask for sample in source], masks)
    (tmp_path / "broken.npz").write_text("")  # skipped, and does not count
    assert open_source(tmp_path).has_masks


@pytest.fixture
def film(tmp_path: Path) -> Path:
    write_film(tmp_path / "a.mp4", plain_images(range(0, 210, 30)), rate=30)
    return tmp_path / "a.mp4"


def test_reads_a_video(film: Path) -> None:
    source = open_source(film)
    assert source.fps == 30
    assert source.estimated_length() == 7
    samples = list(source)
    assert [sample.name for sample in samples] == [f"{index:06d}" for index in range(7)]
    assert all(abs(int(sample.image[8, 8, 0]) - 30 * index) < 8 for index, sample in enumerate(samples))


def test_reads_each_nth_frame_at_a_slower_rate(film: Path) -> None:
    source = open_source(film, every=3)
    assert source.fps == 10
    assert source.estimated_length() == 3
    assert names(source) == ["000000", "000003", "000006"]
    with pytest.raises(AstSegError, match="1 or more"):
        open_source(film, every=0)


def test_reports_frames_that_cannot_be_decoded(tmp_path: Path) -> None:
    write_film(tmp_path / "a.avi", plain_images(range(0, 160, 4)))
    damage(tmp_path / "a.avi")
    source = open_source(tmp_path / "a.avi")
    assert 0 < len(names(source)) < 40
    for name, reason in source.skipped:
        assert f"Frame {int(name)} of {source.path} cannot be decoded" in reason
    assert source.skipped


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [
        ("a.y4m", "rawvideo", "yuv4mpegpipe"),
        ("a.h264", "libx264", "h264"),
        ("a.hevc", "libx265", "hevc"),
        ("a.mts", "libx264", "mpegts"),
        ("a.mjpg", "mjpeg", "mjpeg"),
        ("a.vob", "mpeg2video", "vob"),
        ("a.mxf", "mpeg2video", "mxf"),
        ("a.asf", "wmv2", "asf"),
        ("a.ivf", "libvpx-vp9", "ivf"),
        ("a.m1v", "mpeg1video", "mpeg1video"),
        ("a.m2v", "mpeg2video", "mpeg2video"),
        ("a.f4v", "libx264", "f4v"),
        ("a.nut", "mpeg4", "nut"),
        ("a.M4V", "mpeg4", "m4v"),
        ("camera.001", "libx264", "mpegts"),
        ("recording", "libx264", "matroska"),
        ("film.bin", "mpeg1video", "mpeg1video"),  # Pillow recognizes it too
    ],
)
def test_reads_every_kind_of_video(tmp_path: Path, name: str, codec: str, form: str | None) -> None:
    write_film(tmp_path / name, plain_images([0, 50, 100, 150, 200]), codec, form=form)
    frames = list(open_source(tmp_path / name, every=2))
    assert [frame.name for frame in frames] == ["000000", "000002", "000004"]
    assert [int(frame.image[24, 32, 0]) for frame in frames] == pytest.approx([0, 100, 200], abs=10)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "PPM"])
def test_detects_the_kind_of_a_file_with_an_unknown_suffix(tmp_path: Path, form: str | None) -> None:
    Image.new("RGB", (20, 10), (9, 9, 9)).save(tmp_path / "IMG_0001", form)
    (sample,) = open_source(tmp_path / "IMG_0001")
    assert sample.image.shape == (10, 20, 3)
    with pytest.raises(AstSegError, match="Only of a video"):
        open_source(tmp_path / "IMG_0001", every=2)


def zipped(film: Path, kind: str) -> bytes:
    """Return a video in an archive without compression."""
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.write(film)
    else:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(film)
    return file.getvalue()


def pdf_of_an_image() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 10)).save(file, "PDF")
    return file.getvalue()


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("kind", ["text", "subtitles", "empty", "noise", "pdf", "zip", "tar", "playlist", "list"])
def test_refuses_files_that_hold_no_images(tmp_path: Path, kind: str, every: int) -> None:
    write_film(tmp_path / "film.ts", plain_images(9 * [0]), "mpeg2video")
    contents = {
        "text": b"nothing to see\n" * 99,
        "subtitles": b"1\n00:00:01,000 --> 00:00:02,000\nHello\n",
        "empty": b"",
        "noise": np.random.default_rng(0).bytes(9_999),
        "pdf": pdf_of_an_image(),
        "zip": zipped(tmp_path / "film.ts", "zip"),
        "tar": zipped(tmp_path / "film.ts", "tar"),
        "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nfilm.ts\n#EXT-X-ENDLIST\n",
        "list": b"ffconcat version 1.0\nfile film.ts\n",
    }
    for name in ("a.txt", "noending", "a.m3u8"):
        (tmp_path / name).write_bytes(contents[kind])
        with pytest.raises(AstSegError, match=f"{name} .*neither an image"):
            open_source(tmp_path / name, every=every)


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nfilm.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile film.ts\n",
        "nothing to see\n" * 99,
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.avi"])
def test_a_playlist_named_like_a_video_opens_no_other_file(tmp_path: Path, name: str, content: str) -> None:
    write_film(tmp_path / "film.ts", plain_images(9 * [0]), "mpeg2video")
    (tmp_path / name).write_text(content)
    with pytest.raises(AstSegError, match=f"{name} cannot be read"):
        open_source(tmp_path / name)


@pytest.mark.parametrize(("share", "told"), [(0.5, True), (1.0, False)])
def test_says_that_a_film_is_cut_off(tmp_path: Path, share: float, told: bool) -> None:
    write_film(tmp_path / "a.avi", plain_images(range(0, 160, 4)))
    cut_off(tmp_path / "a.avi", share, after=b"movi")
    left_out = open_source(tmp_path / "a.avi").left_out
    assert [text.startswith("the end of the film, which is cut off:") for text in left_out] == [True] * told
    assert all(text.endswith("of 40 frames are there") for text in left_out)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.flv"])
@pytest.mark.parametrize(("share", "told"), [(0.5, True), (1.0, False)])
def test_says_that_a_film_without_a_number_of_frames_is_cut_off(
    tmp_path: Path, name: str, share: float, told: bool
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 48, 64, 3), dtype=np.uint8)
    write_film(tmp_path / name, list(noise), {"a.mkv": "mpeg4", "a.webm": "libvpx", "a.flv": "flv"}[name])
    cut_off(tmp_path / name, share)
    source = open_source(tmp_path / name)
    seconds = (50 - len(names(source))) / 25
    said = [
        re.fullmatch(r"the end of the film, which is cut off: (.*) seconds are missing", text)
        for text in source.left_out
    ]
    assert [float(match[1]) for match in said if match] == pytest.approx([seconds] if told else [], abs=0.1)
    assert len(said) == told


@pytest.mark.parametrize(("share", "told"), [(0.5, True), (1.0, False)])
def test_sound_that_goes_on_is_no_missing_end(tmp_path: Path, share: float, told: bool) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream, sound = container.add_stream("mpeg4", rate=25), container.add_stream("pcm_s16le", rate=8000)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in plain_images(range(0, 100, 4)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
        for index in range(20):
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            heard.sample_rate, heard.pts = 8000, 800 * index
            container.mux(sound.encode(heard))
    cut_off(tmp_path / "a.mkv", share)
    assert bool(open_source(tmp_path / "a.mkv").left_out) == told


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_names_the_frames_of_which_a_part_is_missing(tmp_path: Path, codec: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 48, 64, 3), dtype=np.uint8)
    write_film(tmp_path / "a.ts", list(noise), codec, form="mpegts")
    source = open_source(tmp_path / "a.ts")
    assert len(names(source)) == 50
    assert source.skipped == []
    cut_off(tmp_path / "a.ts", 0.5)
    source = open_source(tmp_path / "a.ts")
    last = names(source)[-1]
    ((name, reason),) = source.skipped
    assert name == last
    assert "cannot be decoded as a whole" in reason
    every = open_source(tmp_path / "a.ts", every=int(last) + 1)
    assert names(every) == ["000000"]
    assert every.skipped == []


@pytest.mark.parametrize(("more", "words"), [(0, ()), (1, ("1 more video track",)), (2, ("2 more video tracks",))])
def test_names_the_tracks_that_are_not_read(tmp_path: Path, more: int, words: tuple[str, ...]) -> None:
    write_tracks(tmp_path / "a.mkv", [True, *(more * [False])])
    assert open_source(tmp_path / "a.mkv").left_out == words


@pytest.mark.parametrize("with_masks", [True, False])
def test_reads_a_split_of_a_store(tmp_path: Path, with_masks: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    masks = np.arange(60, dtype=np.uint8).reshape(3, 4, 5) if with_masks else None
    with StoreWriter(tmp_path / "store", (4, 5), "here", "so") as writer, writer.split("held_out") as split:
        split.append(images, masks)
    source = open_source(tmp_path / "store", split="held_out")
    assert source.estimated_length() == 3
    assert source.has_masks is with_masks
    samples = list(source)
    np.testing.assert_array_equal([sample.image for sample in samples], images)
    assert all((sample.mask is None) is not with_masks for sample in samples)
    with pytest.raises(AstSegError, match="no split 'test'"):
        open_source(tmp_path / "store")


def test_arrays_of_masks_are_not_images(tmp_path: Path) -> None:
    for index in range(3):
        for place, shape in (("images", (8, 8, 3)), ("masks", (8, 8, 3))):
            (tmp_path / place).mkdir(exist_ok=True)
            np.save(tmp_path / place / f"{index}.npy", np.zeros(shape, np.uint8))
    source = open_source(tmp_path)
    assert source.estimated_length() == 3
    assert "arrays of masks" in source.left_out[0]
    assert "3 (masks/0.npy, masks/1.npy, masks/2.npy)" in source.left_out[0]


def test_arrays_that_are_not_read_are_named(tmp_path: Path) -> None:
    images = np.full((2, 8, 8, 3), 90, np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=images[..., 0])
    assert open_source(tmp_path / "a.npz").notes == (f"Not read: the arrays labels in {tmp_path / 'a.npz'}.",)


def test_a_folder_with_pipes_and_devices_is_read_without_them(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    for name in ("b.png", "manifest.json", "run.json"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "c.png").symlink_to("b.png")
    (tmp_path / "d.png").symlink_to("/dev/zero")
    (tmp_path / "e.png").symlink_to("nowhere")
    source = open_source(tmp_path)
    assert [sample.name for sample in source] == ["a"]
    assert "pipes, devices and the like: 5 (b.png, c.png, d.png and 2 more)" in source.left_out
    assert "links that lead nowhere: 1 (e.png)" in source.left_out
    with pytest.raises(AstSegError, match="no mask files"):
        open_source(tmp_path, masks=tmp_path / "b.png")


def test_an_animation_whose_name_ends_like_an_image(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "b.jpg")
    frames = [Image.fromarray(np.full((9, 9), value, np.uint8)) for value in (10, 90)]
    frames[0].save(tmp_path / "b.png.gif", save_all=True, append_images=frames[1:])
    names = sorted(sample.name for sample in open_source(tmp_path))
    assert names == ["b.jpg", "b.png/000000", "b.png/000001"]
