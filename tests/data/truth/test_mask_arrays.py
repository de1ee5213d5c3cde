"""True masks in arrays, by the numbers of images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astseg._core.errors import AstSegError
from astseg.data import label_arrays
from astseg.data.truth import ArrayTruth, ImageName, open_truth

MASKS = np.random.default_rng(0).integers(0, 4, (3, 6, 8), np.uint8)


def write(folder: Path, form: str) -> Path:
    path = folder / f"truth.{form[:3]}"
    arrays: dict[str, Any] = {
        "npy": MASKS,
        "npy columns": np.asfortranarray(MASKS),
        "npy int64": MASKS.astype(np.int64)[..., None],
    }
    if form in arrays:
        np.save(path, arrays[form])
    elif form == "npz beside images":
        np.savez_compressed(path, images=np.zeros((3, 6, 8, 3), np.uint8), masks=MASKS)
    elif form == "npz labels":
        np.savez(path, labels=np.asfortranarray(MASKS), others=np.zeros(3))
    else:
        np.savez(path, MASKS)
    return path


@pytest.mark.parametrize("form", ["npy", "npy columns", "npy int64", "npz", "npz beside images", "npz labels"])
def test_masks_belong_to_numbers(tmp_path: Path, form: str) -> None:
    truth = open_truth(write(tmp_path, form), None)
    assert isinstance(truth, ArrayTruth)
    for index in (2, 0, 1):
        for name in (f"{index:06d}", f"film/{index:06d}"):
            found = truth.find(ImageName(name))
            assert found is not None
            np.testing.assert_array_equal(found.regions.labels, MASKS[index])
            assert found.unscored is None
    assert truth.find(ImageName("beach")) is None
    assert truth.find(ImageName("in00001")) is None
    with pytest.raises(AstSegError, match=r"holds 3 masks, counted from 0, and none for 000003\."):
        truth.find(ImageName("000003"))


def test_values_are_read_as_those_of_mask_files(tmp_path: Path) -> None:
    halves = np.where(MASKS > 1, 255, 0).astype(np.uint8)
    np.save(tmp_path / "a.npy", halves)
    truth = ArrayTruth(tmp_path / "a.npy")
    assert "what is connected is one" in truth.description
    found = truth.find(ImageName("000001"))
    assert found is not None
    np.testing.assert_array_equal(found.regions.labels > 0, halves[1] > 0)
    np.save(tmp_path / "truth.npy", MASKS > 1)
    same = ArrayTruth(tmp_path / "truth.npy")
    assert same.description == truth.description
    also = same.find(ImageName("000001"))
    assert also is not None
    np.testing.assert_array_equal(also.regions.labels, found.regions.labels)
    np.save(tmp_path / "b.npy", MASKS.astype(np.int32) * 1000)
    found = ArrayTruth(tmp_path / "b.npy", frozenset({2000})).find(ImageName("000001"))
    assert found is not None
    np.testing.assert_array_equal(found.unscored, MASKS[1] == 2)
    np.testing.assert_array_equal(found.regions.labels > 0, (MASKS[1] % 2) > 0)


def test_what_is_no_array_of_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npy"
    wrong = (MASKS[0], np.zeros((0, 6, 8), np.uint8), MASKS / 2, np.zeros((3, 6, 8, 3), np.uint8))
    for array in wrong:
        np.save(path, array)
        with pytest.raises(AstSegError, match=r"a\.npy should hold integers of shape N x H x W, but holds"):
            ArrayTruth(path)
    np.save(path, MASKS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AstSegError, match="is cut off"):
        ArrayTruth(path)
    np.save(path, MASKS.astype(np.int16) - 1)
    with pytest.raises(AstSegError, match="holds a label -1 in image 0"):
        ArrayTruth(path)
    np.save(path, np.array([[[5]], [[1]]] * 20))
    many = ArrayTruth(path)
    np.save(path, np.array([[[5]], [[300]]] * 20))
    with pytest.raises(AstSegError, match=r"Mask 1 of .*a\.npy has objects up to number 300"):
        many.find(ImageName("000001"))
    np.savez(tmp_path / "a.npz", x=MASKS, y=MASKS)
    with pytest.raises(AstSegError, match=r"holds the arrays x, y\. Name the masks 'masks'"):
        ArrayTruth(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", MASKS)
    monkeypatch.setattr(label_arrays, "MAX_PACKED_BYTES", 100)
    with pytest.raises(AstSegError, match=r"at most 100 are unpacked\. Save an \.npy"):
        ArrayTruth(tmp_path / "a.npz")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[200] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    monkeypatch.undo()
    with pytest.raises(AstSegError, match=r"a\.npz is not a readable array file"):
        ArrayTruth(tmp_path / "a.npz")
