"""True masks of prepared data, by the numbers of images."""

from pathlib import Path

import numpy as np
import pytest

from astseg._core.errors import AstSegError, TruthNotFoundError
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter
from astseg.data.truth import ImageName, StoreTruth, open_truth


def test_masks_of_the_split_that_is_segmented(tiny_store: Store) -> None:
    truth = open_truth(tiny_store.path, None)
    assert isinstance(truth, StoreTruth)
    masks = tiny_store["test"].masks
    assert masks is not None
    for index in (3, 0):
        found = truth.find(ImageName(f"{index:06d}"))
        assert found is not None
        np.testing.assert_array_equal(found.regions.labels, masks[index])
        assert found.unscored is None
    assert truth.find(ImageName("beach")) is None
    with pytest.raises(
        AstSegError, match=r"The split 'test' of .* holds 4 masks, counted from 0, and none for 000004\."
    ):
        truth.find(ImageName("000004"))
    with pytest.raises(AstSegError, match="says itself which pixels are not scored"):
        open_truth(tiny_store.path, None, frozenset({2}))


def test_pixels_that_are_not_scored(tmp_path: Path) -> None:
    labels = np.zeros((1, 16, 16), np.uint8)
    labels[0, :4], labels[0, 8:] = 1, 255
    with StoreWriter(tmp_path / "store", (16, 16), "a source", "a protocol") as writer:
        with writer.split("train", ignored_label=255) as split:
            split.append(np.zeros((1, 16, 16, 3), np.uint8), labels)
        with writer.split("val") as split:
            split.append(np.zeros((1, 16, 16, 3), np.uint8))
    found = StoreTruth(tmp_path / "store").find(ImageName("000000"))
    assert found is not None
    assert found.unscored is not None
    np.testing.assert_array_equal(found.unscored, labels[0] == 255)
    np.testing.assert_array_equal(found.regions.labels, labels[0] % 255)


def test_without_masks(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", (16, 16), "a source", "a protocol") as writer, writer.split("train") as split:
        split.append(np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(TruthNotFoundError, match=r"'train' of .* has no masks, so nothing true is known"):
        open_truth(tmp_path / "store", None)
