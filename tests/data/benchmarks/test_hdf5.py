import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from tests.data.benchmarks import formats

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.benchmark_import import import_benchmark
from astseg.data.benchmarks.hdf5 import BLOCK_SIZE, count_images, read_hdf5
from astseg.data.benchmarks.multi_object import CLEVR, OBJECTS_ROOM
from astseg.data.store import Bytes


def write(path: Path, **data: npt.NDArray[Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file.create_dataset(name, data=values)
    return path


def rooms(count: int) -> tuple[Bytes, Bytes]:
    scenes = [formats.room(index) for index in range(count)]
    return np.stack([image for image, _ in scenes]), np.stack([masks for _, masks in scenes])


def test_both_layouts_give_the_same_images(tmp_path: Path) -> None:
    count = BLOCK_SIZE + 3
    images, masks = rooms(count)
    entities = write(tmp_path / "entities.hdf5", image=images, mask=masks[..., None], other=np.zeros(3))
    labels = write(tmp_path / "labels.hdf5", image=images, mask=masks.argmax(1).astype(np.uint8)[..., None])
    assert count_images(entities) == count
    first, second = (list(read_hdf5(path, OBJECTS_ROOM, 64)) for path in (entities, labels))
    assert len(first) == len(second) == count
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        np.testing.assert_array_equal(one.image, images[index])
        np.testing.assert_array_equal(one.labels, np.maximum(0, masks[index].argmax(0) - 3))
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert len(list(read_hdf5(entities, OBJECTS_ROOM, 64, start=BLOCK_SIZE))) == 3


def test_label_maps_are_prepared_already_and_entities_are_not(tmp_path: Path) -> None:
    image, masks = formats.clevr_scene(3)
    whole = write(tmp_path / "whole.hdf5", image=image[None], mask=masks[None, ..., None])
    (sample,) = read_hdf5(whole, CLEVR, 128)
    small = write(tmp_path / "small.hdf5", image=sample.image[None], mask=sample.labels[None, ..., None])
    (again,) = read_hdf5(small, CLEVR, 128)
    np.testing.assert_array_equal(again.image, sample.image)
    np.testing.assert_array_equal(again.labels, sample.labels)


def test_import(tmp_path: Path) -> None:
    images, masks = rooms(5)
    labels = masks.argmax(1).astype(np.uint8)[..., None]
    path = write(tmp_path / "objects_room_train-full.hdf5", image=images, mask=labels)
    store = import_benchmark("objectsroom", path, tmp_path / "s", protocol="genesis")
    np.testing.assert_array_equal(store["test"].images, images)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"image": np.zeros((2, 8, 8, 3), np.uint8)},
        {"image": np.zeros((2, 8, 8, 3), np.float32), "mask": np.zeros((2, 8, 8, 1), np.uint8)},
        {"image": np.zeros((2, 8, 8, 3), np.uint8), "mask": np.zeros((2, 8, 8), np.uint8)},
        {"image": np.zeros((2, 8, 8, 3), np.uint8), "mask": np.zeros((3, 8, 8, 1), np.uint8)},
        {"image": np.zeros((2, 8, 8, 3), np.uint8), "mask": np.zeros((2, 8, 8, 1), np.float32)},
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, data: dict[str, npt.NDArray[Any]]) -> None:
    with pytest.raises(AstSegError, match="should hold"):
        count_images(write(tmp_path / "a.hdf5", **data))


def valid(path: Path, **other: npt.NDArray[Any]) -> Path:
    images, masks = rooms(2)
    return write(path, image=images, mask=masks.argmax(1).astype(np.uint8)[..., None], **other)


@pytest.mark.parametrize("name", ["image", "mask"])
@pytest.mark.parametrize("way", ["external storage", "virtual", "external link", "soft link", "group", "type"])
def test_only_what_lies_in_the_file_is_read(tmp_path: Path, name: str, way: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(256)) * 200)
    elsewhere = valid(tmp_path / "elsewhere.hdf5")
    path = valid(tmp_path / "a.hdf5")
    shape = (2, 64, 64, 3 if name == "image" else 1)
    with h5py.File(path, "a") as file:
        del file[name]
        if way == "external storage":
            file.create_dataset(name, shape, np.uint8, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        elif way == "virtual":
            layout = h5py.VirtualLayout(shape, np.uint8)
            layout[...] = h5py.VirtualSource(str(elsewhere), name, shape)
            file.create_virtual_dataset(name, layout)
        elif way == "external link":
            file[name] = h5py.ExternalLink(str(elsewhere), name)
        elif way == "soft link":
            file["there"] = np.zeros(shape, np.uint8)
            file[name] = h5py.SoftLink("/there")
        elif way == "group":
            file.create_group(name)
        else:
            file[name] = np.dtype("u1")
    with pytest.raises(AstSegError, match=f"'{name}'.*(other files|elsewhere|should be a data set)"):
        list(read_hdf5(path, OBJECTS_ROOM, 64))


def test_links_of_other_names_are_not_opened(tmp_path: Path) -> None:
    path = valid(tmp_path / "a.hdf5")
    with h5py.File(path, "a") as file:
        file["other"] = h5py.ExternalLink(str(tmp_path / "missing.hdf5"), "x")
    assert count_images(path) == 2


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((10**9, 64, 64, 3), (1, 64, 64, 3)),
        ((1, 30_000, 30_000, 3), (1, 100, 100, 3)),
        ((2, 64, 64, 3), (1_000_000, 64, 64, 3)),
    ],
)
def test_claims_beyond_the_file_take_no_memory(tmp_path: Path, shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        for name, channels in (("image", 3), ("mask", 1)):
            whole, part = (*shape[:3], channels), (*chunks[:3], channels)
            most = (None, *whole[1:])
            data = file.create_dataset(name, whole, np.uint8, chunks=part, maxshape=most, compression="gzip")
            if chunks[0] == 1:
                data[:1, :64, :64] = 7
    tracemalloc.start()
    with pytest.raises(AstSegError, match=r"more than the file can hold|are read"):
        list(read_hdf5(path, OBJECTS_ROOM, 64))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("value", [-1, 256, 2**40])
def test_labels_that_have_no_byte(tmp_path: Path, value: int) -> None:
    images, masks = rooms(1)
    labels = masks.argmax(1)[..., None]
    labels[0, 0, 0] = value
    with pytest.raises(AstSegError, match="image 0 is invalid: its mask holds values"):
        list(read_hdf5(write(tmp_path / "a.hdf5", image=images, mask=labels), OBJECTS_ROOM, 64))


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.hdf5")
    with pytest.raises(AstSegError, match="is a pipe"):
        count_images(tmp_path / "a.hdf5")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "a.hdf5").write_text("hello")
    with pytest.raises(AstSegError, match="Cannot read"):
        count_images(tmp_path / "a.hdf5")


def test_images_smaller_than_the_crop(tmp_path: Path) -> None:
    images, masks = rooms(1)
    path = write(tmp_path / "a.hdf5", image=images, mask=masks[..., None])
    with pytest.raises(AstSegError, match="image 0 is invalid"):
        list(read_hdf5(path, CLEVR, 64))


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(AstSegError, match="needs h5py"):
        count_images(tmp_path / "a.hdf5")
