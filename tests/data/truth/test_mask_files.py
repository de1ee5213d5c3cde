"""True masks by the names of images, in one file for each object and with values that are not scored."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import Bytes
from astseg.data.opening import open_source
from astseg.data.truth import ImageName, MaskTruth, open_truth

SIZE = (12, 16)


def save(path: Path, values: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def test_names_may_have_words_and_folders(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[2:6, 2:6], mask[8:11, 2:9] = 1, 2
    names = ["a", "b/c", "d"]
    for name in ("a_mask", "b/c"):
        save(tmp_path / f"masks/{name}.png", mask)
    truth = open_truth(tmp_path / "masks", names)
    assert isinstance(truth, MaskTruth)
    assert open_truth(tmp_path / "masks", None) is None
    found = [truth.find(ImageName(name)) for name in names]
    assert [one is not None for one in found] == [True, True, False]
    assert found[0] is not None
    assert found[0].unscored is None
    np.testing.assert_array_equal(found[0].regions.labels, mask)


def test_names_may_have_dots(tmp_path: Path) -> None:
    names = ["same.jpg", "same.png", "frame.001"]
    for value, name in enumerate(names, 1):
        save(tmp_path / f"masks/{name}.png", np.full((4, 5), value, np.uint8))
    truth = open_truth(tmp_path / "masks", names)
    assert isinstance(truth, MaskTruth)
    assert truth.masks == {name: (tmp_path / f"masks/{name}.png",) for name in names}


@pytest.mark.parametrize("relative", [False, True])
def test_images_may_lie_beside_their_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool) -> None:
    monkeypatch.chdir(tmp_path.parent)
    folder = Path(tmp_path.name) if relative else tmp_path
    rng = np.random.default_rng(0)
    mask = np.zeros(SIZE, np.uint8)
    mask[2:6, 2:6], mask[8:11, 2:9] = 1, 2
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", rng.integers(0, 256, (*SIZE, 3), np.uint8))
        save(tmp_path / f"{name}_mask.png", mask)
    truth = MaskTruth(folder, ["a", "b"])
    assert truth.masks == {name: (tmp_path / f"{name}_mask.png",) for name in ("a", "b")}
    found = truth.find(ImageName("a"))
    assert found is not None
    np.testing.assert_array_equal(found.regions.labels, mask)
    source = open_source(folder, masks=folder)
    assert [(sample.name, sample.mask is not None) for sample in source] == [("a", True), ("b", True)]


def test_an_array_is_no_mask_file(tmp_path: Path) -> None:
    np.save(tmp_path / "masks.npy", np.zeros((1, *SIZE), np.uint8))
    with pytest.raises(AstSegError, match=r"no mask files in .*masks\.npy.* Give a folder of label images"):
        MaskTruth(tmp_path / "masks.npy", ["a"])


@pytest.mark.parametrize("ignored", [None, frozenset({255}), frozenset()])
def test_void_is_not_scored(tmp_path: Path, ignored: frozenset[int] | None) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[2:6, 2:6], mask[6:8] = 1, 255
    save(tmp_path / "a.png", mask)
    found = MaskTruth(tmp_path, ["a"], ignored).find(ImageName("a"))
    assert found is not None
    if ignored is not None and not ignored:
        assert found.unscored is None
        assert len(found.regions.masks) == 2
    else:
        assert found.unscored is not None
        np.testing.assert_array_equal(found.unscored, mask == 255)
        assert len(found.regions.masks) == 1


def test_white_is_cut_into_pieces_that_touch_by_corners(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[:3, :3] = mask[3:6, 3:6] = mask[8:, 8:] = 255
    save(tmp_path / "a.png", mask)
    truth = MaskTruth(tmp_path, ["a"])
    found = truth.find(ImageName("a"))
    assert found is not None
    assert len(found.regions.masks) == 2
    assert "what is connected is one" in truth.description


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    save(tmp_path / "masks/a.png", np.ones(SIZE, np.uint8))
    with pytest.raises(AstSegError, match="has the name of an image"):
        MaskTruth(tmp_path / "masks", ["b", "c"])
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(tmp_path / "masks/a.png")
    with pytest.raises(AstSegError, match=r"The mask .*a\.png has objects up to number 599"):
        MaskTruth(tmp_path / "masks", ["a"]).find(ImageName("a"))
    (tmp_path / "masks/a.png").write_bytes(b"no image")
    with pytest.raises(AstSegError, match=r"a\.png"):
        MaskTruth(tmp_path / "masks", ["a"]).find(ImageName("a"))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "annotations/instances.json",
            r"masks holds no masks\. If .*masks/annotations/instances\.json is a COCO file, name",
        ),
        (
            "a.txt",
            r"holds no masks\. Outlines in text, as YOLO has them, are not read: convert them to COCO; or give",
        ),
        ("labels/a.txt", "as YOLO has them, are not read: convert them to COCO"),
    ],
)
def test_a_folder_of_another_format_is_refused_with_what_to_name(tmp_path: Path, file: str, message: str) -> None:
    masks = tmp_path / "masks"
    (masks / file).parent.mkdir(parents=True)
    (masks / file).touch()
    for names in (["a"], None):
        with pytest.raises(AstSegError, match=message):
            open_truth(masks, names)
    save(masks / "a.png", np.eye(9, dtype=np.uint8))
    assert isinstance(open_truth(masks, ["a"]), MaskTruth)
