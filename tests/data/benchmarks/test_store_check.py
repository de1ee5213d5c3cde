from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.benchmarks import formats

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.benchmark_import import import_benchmark
from astseg.data.benchmarks.store_check import MAX_BLOCK_IMAGES, check_store
from astseg.data.store import Bytes
from astseg.data.store_writer import StoreWriter


def make(path: Path, masks: Mapping[str, Bytes | None], details: dict[str, Any] | None = None) -> Path:
    with StoreWriter(path, (8, 8), "a source", "a protocol", details) as store:
        for name, labels in masks.items():
            with store.split(name) as split:
                count = len(labels) if labels is not None else 3
                split.append(np.zeros((count, 8, 8, 3), np.uint8), labels)
    return path


def test_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 4, (MAX_BLOCK_IMAGES + 5, 8, 8), np.uint8) * rng.integers(
        0, 2, (MAX_BLOCK_IMAGES + 5, 1, 1), np.uint8
    )
    masks[7] = 0
    masks[7, 0, :6] = 1, 2, 3, 4, 5, 6
    path = make(tmp_path / "s", {"train": masks, "test": masks[:10] * 0 + 1, "plain": None}, {"slots": 3})
    seen: list[tuple[str, int, int]] = []
    found = check_store(path, report=lambda *what: seen.append(what))
    train, test, plain = found.splits
    objects = [len(set(np.unique(image)) - {0}) for image in masks]
    assert (train.name, train.count, train.highest_label) == ("train", MAX_BLOCK_IMAGES + 5, 6)
    assert train.most_objects == max(objects) == 6
    assert train.empty_foregrounds == objects.count(0) > 0
    assert train.too_many_objects == 1
    assert train.label_histogram == tuple(np.bincount(masks.reshape(-1)).tolist())
    assert (test.highest_label, test.most_objects, test.empty_foregrounds) == (1, 1, 0)
    assert (plain.count, plain.highest_label) == (3, None)
    assert seen == [
        ("train", MAX_BLOCK_IMAGES, MAX_BLOCK_IMAGES + 5),
        ("train", MAX_BLOCK_IMAGES + 5, MAX_BLOCK_IMAGES + 5),
        ("test", 10, 10),
        ("plain", 3, 3),
    ]
    assert found.num_slots == 3
    assert len(found.problems) == 2
    assert "no object" in found.problems[0]
    assert "1 images have more than 3 objects" in found.problems[1]
    assert len(check_store(path, num_slots=6).problems) == 1
    with pytest.raises(AstSegError, match="not 0"):
        check_store(path, num_slots=0)


def test_without_slots_labels_are_not_checked(tmp_path: Path) -> None:
    found = check_store(make(tmp_path / "s", {"train": np.full((2, 8, 8), 200, np.uint8)}))
    assert found.num_slots is None
    assert found.problems == ()
    assert found.splits[0].highest_label == 200


def test_a_changed_file(tmp_path: Path) -> None:
    path = make(tmp_path / "s", {"train": np.ones((2, 8, 8), np.uint8)})
    file = path / "train.masks.npy"
    content = bytearray(file.read_bytes())
    content[-1] = 2
    file.write_bytes(content)
    found = check_store(path)
    assert found.damaged == ("train.masks.npy",)
    assert "the label histogram differs" in found.problems[0]
    assert check_store(path, verify=False).damaged == ()


def test_problems_of_an_import(tmp_path: Path) -> None:
    # Nothing but walls in the last one.
    scenes = [formats.room(index) for index in range(3)]
    labels = scenes[2][1].argmax(0)
    labels[labels > 3] = 3
    masks = (labels == np.arange(7)[:, None, None]).astype(np.uint8) * 255
    scenes[2] = scenes[2][0], masks
    path = tmp_path / "objects_room_train.tfrecords"
    formats.write_records(path, [formats.scene_message(*scene) for scene in scenes])
    import_benchmark("objectsroom", path, tmp_path / "s")
    found = check_store(tmp_path / "s")
    assert any("1 of 3 images" in problem for problem in found.problems)
    assert any(f"{path.name} holds only 3 records" in problem for problem in found.problems)
    assert found.num_slots == 3


def test_unreadable_files_and_another_number_of_images(tmp_path: Path) -> None:
    details = {
        "unreadable": [["a.png", "broken"]],
        "more_unreadable": 2,
        "images_found": 10,
        "images_published": 50,
        "records_needed": {"short": 9, "long": 9, "test": None},
        "records_read": {"short": 8, "long": 9, "test": 3},
        "missing": 4,
    }
    found = check_store(make(tmp_path / "s", {"train": np.ones((2, 8, 8), np.uint8)}, details))
    assert found.unreadable == (("a.png", "broken"),)
    for words, problem in zip(
        ("3 files", "50 are published", "short holds only 8", "4 listed images"), found.problems, strict=True
    ):
        assert words in problem


def test_ignored_pixels_are_no_object(tmp_path: Path) -> None:
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[:, :2], masks[:, 2:4] = 1, 255
    writer = StoreWriter(tmp_path / "s", (8, 8), "a source", "a protocol")
    with writer as store, store.split("train", ignored_label=255) as split:
        split.append(np.zeros((2, 8, 8, 3), np.uint8), masks)
    (train,) = check_store(tmp_path / "s", num_slots=3).splits
    assert (train.highest_label, train.most_objects, train.too_many_objects) == (1, 1, 0)
