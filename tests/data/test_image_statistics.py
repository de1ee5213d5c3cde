from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg.data.folders import find_files, find_masks, find_masks_by_name
from astseg.data.image_statistics import refuse_photographs
from astseg.data.store import Bytes

GENERATOR = np.random.default_rng(0)


def photograph() -> Bytes:
    """Return a smooth image with a little noise."""
    rows, columns = np.indices((48, 64))
    smooth = np.stack((3 * rows, 2 * columns, rows + columns), -1)
    return (smooth + GENERATOR.integers(0, 8, smooth.shape)).astype(np.uint8)


def cells() -> Bytes:
    """Return a mask of 192 cells of 4 x 4 pixels, each with a number of its own."""
    return np.kron(np.arange(1, 193).reshape(12, 16), np.ones((4, 4))).astype(np.uint8)


def blocks() -> Bytes:
    labels = np.zeros((48, 64, 3), np.uint8)
    labels[5:20, 5:30], labels[22:40, 30:60] = (250, 10, 10), (20, 200, 90)
    return labels


@pytest.mark.parametrize(
    ("pixels", "name"), [(cells(), "a.png"), (blocks(), "a.png"), (blocks(), "a.jpg"), (blocks()[..., 0], "a.jpg")]
)
def test_masks_of_all_kinds_are_none(tmp_path: Path, pixels: Bytes, name: str) -> None:
    Image.fromarray(pixels).save(tmp_path / name)
    refuse_photographs([tmp_path / name], "others")


def test_photographs_in_place_of_masks_are_refused(tmp_path: Path) -> None:
    for folder, suffix in (("images", "png"), ("photographs", "jpg")):
        (tmp_path / folder).mkdir()
        for name in "abc":
            Image.fromarray(photograph()).save(tmp_path / folder / f"{name}.{suffix}")
    images, masks = tmp_path / "images", tmp_path / "photographs"
    refusal = r"\.jpg is a photograph, not a mask: .* Name the folder of masks\."
    with pytest.raises(AstSegError, match=refusal):
        find_files(images, masks)
    with pytest.raises(AstSegError, match=refusal):
        find_masks(images / "a.png", masks)
    with pytest.raises(AstSegError, match=refusal):
        find_masks_by_name(["a", "b"], masks)
    for name in "ab":  # most are masks: the rest is told when it is read
        Image.fromarray(blocks()).save(masks / f"{name}.jpg")
    assert len(find_files(images, masks).masks) == 3


def test_images_that_are_named_as_masks(tmp_path: Path) -> None:
    Image.fromarray(photograph()).save(tmp_path / "a.png")
    with pytest.raises(AstSegError, match=r"All images in .* were named as masks, by .*\. Name masks of their own\."):
        find_files(tmp_path, tmp_path)
