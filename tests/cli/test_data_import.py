from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Program
from tests.data.films import plain_images, write_film

from astseg.data.store import Store


def test_images_and_what_was_skipped(astseg: Program, images: Path, tmp_path: Path) -> None:
    assert astseg("data", "import", images, "--size", "32x48", "--out", tmp_path / "data") == 0
    store = Store(tmp_path / "data")
    assert store.image_size == (32, 48)
    assert sum(len(store[name]) for name in store.splits) == 6
    assert astseg.out == f"Data: {tmp_path / 'data'}\n"
    assert f"Skipped broken[b]: {images / 'broken[b].png'}" in astseg.err
    assert "6/6" in astseg.err


def test_what_is_left_out_is_reported(astseg: Program, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    images = np.zeros((4, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "in" / "a.npz", image=images, mask=images[..., 0])
    np.savez(tmp_path / "in" / "b.npz", image=images)
    (tmp_path / "in" / "film.avi").write_text("")
    assert astseg("data", "import", tmp_path / "in", "--test-share", 0, "--out", tmp_path / "data") == 0
    assert "Left out: files of other kinds: 1 (.avi)." in astseg.err
    assert "Left out 4 masks: " in astseg.err
    assert astseg("data", "check", tmp_path / "data") == 0
    assert "Note 4 masks were left out" in astseg.out


def test_an_array_with_masks(astseg: Program, tmp_path: Path) -> None:
    images, masks = np.zeros((4, 16, 16, 3), np.uint8), np.ones((4, 16, 16), np.uint8)
    np.savez(tmp_path / "some.npz", image=images, mask=masks)
    assert astseg("data", "import", tmp_path / "some.npz", "--size", 16, "--out", tmp_path / "data") == 0
    assert Store(tmp_path / "data")["train"].masks is not None


def test_masks_are_not_taken_for_images(astseg: Program, tmp_path: Path) -> None:
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
    assert "Left out: a_gt/: 8 masks, for 8 of 8 images" in astseg.err
    assert "Masks: their values are the labels." in astseg.err
    own = ("--masks", tmp_path / "mine", "--ignore", "200,201", "--out", tmp_path / "own")
    assert astseg("data", "import", tmp_path / "in", *own) == 0
    assert "not scored: 200, 201" in astseg.err
    assert Store(tmp_path / "own")["train"].ignored_label == 255


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ignore", "white"), "255 or 85,170"),
        (("--masks", "nowhere"), "no mask files"),
        (("--benchmark", "clevr", "--ignore", "255"), "your own images"),
        (("--test-share", 1), "0 to below 1"),
        (("--size", "big"), "96x128"),
        (("--protocol", "authors"), "need a --benchmark"),
        (("--limit", 3), "need a --benchmark"),
        (("--exchange-red-and-blue",), "need a --benchmark"),
        (("--benchmark", "imagenet"), "no data set 'imagenet'"),
        (("--benchmark", "clevr"), ".tfrecords or .hdf5"),
        (("--benchmark", "clevr", "--size", "64x32"), "square"),
        (("--benchmark", "clevr", "--every", 3), "your own images"),
        (("--benchmark", "clevr", "--test-share", 0.4), "your own images"),
        (("--benchmark", "clevr", "--seed", 1), "your own images"),
    ],
)
def test_mistakes(options: tuple[object, ...], message: str, astseg: Program, images: Path, tmp_path: Path) -> None:
    assert message in astseg.mistake("data", "import", images, "--out", tmp_path / "out", *options)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_several_sources(astseg: Program, images: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_film(tmp_path / f"{name}.avi", plain_images(range(0, 200, 10)))
    sources = [images, tmp_path / "*.avi", "--max-frames", 5, "--every", 2, "--size", 32]
    assert astseg("data", "import", *sources, "--out", tmp_path / "out") == 0
    assert "Preparing 17 images at 32x32: about 0.01 GB on the disk." in astseg.err
    store = Store(tmp_path / "out")
    assert len(store["train"]) + len(store["test"]) == 6 + 2 * 5
    assert store.manifest.details["every"] == 4  # for no more than 5 of 20 frames
    assert [Path(path).name for path in store.manifest.source.split(", ")] == ["images", "a.avi", "b.avi"]


def test_prepared_data(astseg: Program, rooms: Path, tmp_path: Path) -> None:
    assert "prepared data set already" in astseg.mistake("data", "import", rooms, "--out", tmp_path / "out")


def test_a_full_disk(astseg: Program, little_room: None, images: Path, tmp_path: Path) -> None:
    assert "disk is full" in astseg.mistake("data", "import", images, "--size", 128, "--out", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
