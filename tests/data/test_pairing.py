from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg.data.file_source import FileSource, find_coding
from astseg.data.folders import find_files
from astseg.data.opening import open_source
from astseg.data.pairing import pair
from astseg.data.store import Bytes
from astseg.data.truth.mask_arrays import ArrayTruth

COUNT = 12
SIZE = (24, 32)
NOISE = np.random.default_rng(0)


def photograph() -> Bytes:
    return NOISE.integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def mask(index: int = 0) -> Bytes:
    labels = np.zeros(SIZE, np.uint8)
    labels[2 + index : 9 + index, 3:12], labels[12:20, 15:28] = 1, 2
    return labels


def save(path: Path, values: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def layout(root: Path, image: str, masks: str, count: int = COUNT) -> None:
    """Save images and masks with paths in which {} becomes a number."""
    for index in range(count):
        save(root / image.format(f"{index:06d}"), photograph())
        save(root / masks.format(f"{index:06d}"), mask(index % 3))


LAYOUTS = {
    "any case": ("Images/{}.jpg", "Masks/{}.png"),
    "one of each": ("image/{}.png", "mask/{}.png"),
    "VOC, CVAT": ("VOC2012/JPEGImages/{}.jpg", "VOC2012/SegmentationObject/{}.png"),
    "rgb": ("rgb/{}.png", "masks/{}.png"),
    "inside": ("rgb/{}.png", "rgb/masks/{}.png"),
    "labels": ("images/{}.jpg", "labels/{}.png"),
    "annotations": ("images/training/{}.jpg", "annotations/training/{}.png"),
    "trimaps": ("images/{}.jpg", "annotations/trimaps/{}.png"),
    "the images' folder has any name": ("raw/{}.jpg", "masks/{}.png"),
    "the images lie in the folder itself": ("{}.jpg", "masks/{}.png"),
    "Carvana": ("train/{}.jpg", "train_masks/{}_mask.gif"),
    "CamVid": ("train/{}.png", "trainannot/{}.png"),
    "colored CamVid": ("{}.png", "{}_L.png"),
    "no names at all": ("a/{}.png", "b/{}.png"),
    "DAVIS": ("JPEGImages/480p/bear/{}.jpg", "Annotations/480p/bear/{}.png"),
    "Cityscapes": ("leftImg8bit/x/{}_leftImg8bit.png", "gtFine/x/{}_gtFine_instanceIds.png"),
    "CDnet": ("input/in{}.jpg", "groundtruth/gt{}.png"),
    "CLEVRTEX": ("0/CLEVRTEX_full_{}.png", "0/CLEVRTEX_full_{}_flat.png"),
    "Roboflow": ("{}_jpg.rf.12ab.jpg", "{}_jpg.rf.12ab_mask.png"),
    "Kubric": ("v/rgba_{}.png", "v/segmentation_{}.png"),
    "COCO stuff": ("train2017/{}.jpg", "stuffthingmaps/train2017/{}.png"),
    "each in a folder": ("{}/image.png", "{}/mask.png"),
    "YOLO": ("valid/images/{}.jpg", "valid/masks/{}.png"),
    "another ending": ("images/{}.jpg", "masks/{}.bmp"),
    "MSRA10K": ("{}.jpg", "{}.png"),
    "MVTec": ("test/broken/{}.png", "ground_truth/broken/{}_mask.png"),
    "Cellpose": ("{}.tif", "{}_cp_masks.png"),
    "two endings": ("img/{}.jpg", "masks/{}.jpg.png"),
    "glued": ("img{}.png", "msk{}.png"),
    "color as a class": ("test/color/{}.png", "ground_truth/color/{}_mask.png"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_masks_are_found_in_any_layout(tmp_path: Path, name: str) -> None:
    layout(tmp_path, *LAYOUTS[name])
    source = open_source(tmp_path)
    assert source.estimated_length() == COUNT
    assert source.has_masks
    images = list(source)
    assert all(image.mask_problem is None for image in images)
    for index, image in enumerate(images):
        np.testing.assert_array_equal(np.asarray(image.mask) > 0, mask(index % 3) > 0)
    (note,) = source.left_out
    assert f"{COUNT} masks, for {COUNT} of {COUNT} images" in note


def test_what_astseg_found_is_not_the_truth(tmp_path: Path) -> None:
    layout(tmp_path, "images/{}.jpg", "masks/labels/{}.png")
    image = tmp_path / "images/000000.jpg"
    assert open_source(tmp_path / "images").has_masks
    assert open_source(image).has_masks
    (tmp_path / "masks/objects.json").write_text("{}")
    assert not open_source(tmp_path / "images").has_masks
    assert not open_source(image).has_masks
    assert open_source(tmp_path / "images", masks=tmp_path / "masks/labels").has_masks  # unless the user says so


@pytest.mark.parametrize("name", LAYOUTS)
def test_photographs_are_images_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    for index in range(COUNT):
        for place in LAYOUTS[name]:
            save(tmp_path / place.format(f"{index:06d}"), photograph())
    if name in ("Carvana",):  # GIF cannot hold photographs
        return
    source = open_source(tmp_path)
    assert source.estimated_length() == 2 * COUNT
    assert not source.left_out


@pytest.mark.parametrize(
    "other", ["{}_depth.png", "depth/{}.png", "{}_normal_0001.png", "normals/{}.png", "flow/{}.png"]
)
def test_maps_of_depth_and_the_like_are_not_images(tmp_path: Path, other: str) -> None:
    layout(tmp_path, "{}.png", other)
    for index in range(COUNT):
        save(tmp_path / other.format(f"{index:06d}"), photograph())
    source = open_source(tmp_path)
    assert source.estimated_length() == COUNT
    assert not source.has_masks
    assert f"{COUNT} maps" in source.left_out[0]


@pytest.mark.parametrize(
    ("taken", "others"),
    [
        ("SegmentationObject/{}.png", ["SegmentationClass/{}.png"]),
        ("gtFine/{}_gtFine_instanceIds.png", ["gtFine/{}_gtFine_labelIds.png", "gtFine/{}_gtFine_color.png"]),
        ("masks/{}.png", ["depth/{}.png", "semantic/{}.png"]),
    ],
)
def test_masks_of_objects_go_before_those_of_classes(tmp_path: Path, taken: str, others: list[str]) -> None:
    layout(tmp_path, "images/{}.jpg", taken)
    for index in range(COUNT):
        for other in others:
            save(tmp_path / other.format(f"{index:06d}"), np.zeros(SIZE, np.uint8))
    source = open_source(tmp_path)
    assert len(list(source)) == COUNT
    assert all(image.mask is not None and image.mask.any() for image in source)
    assert len(source.left_out) == 1 + len(others)


def test_the_more_complete_set_of_masks_is_used(tmp_path: Path) -> None:
    layout(tmp_path, "images/{}.jpg", "masks/{}.png")
    layout(tmp_path, "images/{}.jpg", "instances/{}.png", count=3)
    assert open_source(tmp_path).has_masks


def test_masks_of_single_objects_are_merged(tmp_path: Path) -> None:
    for index in range(4):
        save(tmp_path / f"{index}x/images/{index}x.png", photograph())
        for label in (1, 2):
            save(tmp_path / f"{index}x/masks/{label}abc.png", np.where(mask(index) == label, 255, 0).astype(np.uint8))
    images = list(open_source(tmp_path))
    for index, image in enumerate(images):
        np.testing.assert_array_equal(image.mask, mask(index))


def test_masks_of_different_sizes_are_not_merged(tmp_path: Path) -> None:
    save(tmp_path / "x/images/a.png", photograph())
    save(tmp_path / "x/masks/1.png", mask())
    save(tmp_path / "x/masks/2.png", mask()[:9])
    (image,) = open_source(tmp_path)
    assert image.mask is None
    assert "cannot be merged" in str(image.mask_problem)


def test_masks_whose_names_fit_no_image_are_not_images(tmp_path: Path) -> None:
    layout(tmp_path, "images/{}.jpg", "masks/task-{}-annotation-1-by-1-tag-Car-0.png")
    source = open_source(tmp_path)
    assert source.estimated_length() == COUNT
    assert not source.has_masks
    assert "fit no image" in source.left_out[0]


def test_drawings_of_few_colors_stay_images(tmp_path: Path) -> None:
    for index in range(COUNT):
        save(tmp_path / f"{index}.png", np.stack([80 * mask(index % 3)] * 3, -1))
        save(tmp_path / f"a/{index}.png", np.stack([80 * mask(index % 3)] * 3, -1))
    assert open_source(tmp_path).estimated_length() == 2 * COUNT


def test_names_that_many_folders_share_pair_nothing(tmp_path: Path) -> None:
    for folder in range(20):
        save(tmp_path / f"film{folder}/0.png", photograph() if folder else np.stack([mask()] * 3, -1))
    assert open_source(tmp_path).estimated_length() == 20


def test_a_damaged_mask_is_still_a_mask(tmp_path: Path) -> None:
    layout(tmp_path, "{}.png", "{}_L.png")
    (tmp_path / "000000_L.png").write_text("")
    assert open_source(tmp_path).estimated_length() == COUNT


@pytest.mark.parametrize("place", ["elsewhere/{}.png", "in/hidden from names/{}.png", "elsewhere/deep/{}_seg.png"])
def test_the_user_names_the_masks(tmp_path: Path, place: str) -> None:
    layout(tmp_path, "in/deep/{}.jpg", place)
    layout(tmp_path, "in/deep/{}.jpg", "in/other_masks/{}.png")
    masks = (tmp_path / place).parent
    source = open_source(tmp_path / "in", masks=masks)
    images = list(source)
    assert len(images) == COUNT
    assert source.has_masks
    assert isinstance(source, FileSource)
    assert all(masks in path.parents for paths in source.masks.values() for path in paths)
    assert any("for 12 of 12" in note for note in source.left_out)


def test_the_user_names_the_mask_of_an_image(tmp_path: Path) -> None:
    save(tmp_path / "a.png", photograph())
    save(tmp_path / "b.png", mask())
    source = open_source(tmp_path / "a.png", masks=tmp_path / "b.png")
    (image,) = source
    np.testing.assert_array_equal(image.mask, mask())


def test_refuses_masks_that_fit_nothing(tmp_path: Path) -> None:
    layout(tmp_path, "in/{}.jpg", "elsewhere/mask{}x.png")
    with pytest.raises(AstSegError, match=r"000000\.jpg.*mask000000x\.png"):
        open_source(tmp_path / "in", masks=tmp_path / "elsewhere")
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "nowhere"):
        with pytest.raises(AstSegError, match="no mask files"):
            open_source(tmp_path / "in", masks=tmp_path / nothing)
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(AstSegError, match="image files"):
        open_source(tmp_path / "a.npy", masks=tmp_path / "elsewhere")


def test_arrays_need_no_masks_that_the_user_names(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8, 3), np.uint8))
    save(tmp_path / "masks/a.png", mask())
    assert find_files(tmp_path, tmp_path / "masks").files == (tmp_path / "a.npy",)


def test_nothing_is_paired_with_nothing(tmp_path: Path) -> None:
    assert pair([], tmp_path).images == ()


def test_a_mask_belongs_to_one_image(tmp_path: Path) -> None:
    for camera in ("cam1", "cam2"):
        layout(tmp_path, f"{camera}/{{}}.jpg", "masks/{}.png")
    source = open_source(tmp_path)
    assert source.estimated_length() == 2 * COUNT
    assert isinstance(source, FileSource)
    assert not source.masks
    with pytest.raises(AstSegError, match="name of an image"):
        open_source(tmp_path, masks=tmp_path / "masks")


def test_several_complete_masks_are_not_merged(tmp_path: Path) -> None:
    layout(tmp_path, "images/{}.jpg", "v1/instances/{}.png")
    layout(tmp_path, "images/{}.jpg", "v2/instances/{}.png")
    images = list(open_source(tmp_path))
    assert len(images) == COUNT
    assert all(image.mask is None and "several objects" in str(image.mask_problem) for image in images)


def test_unmatched_masks_are_reported_and_are_not_images(tmp_path: Path) -> None:
    for index in range(COUNT):
        save(tmp_path / f"01/t{index:03d}.tif", photograph())
        save(tmp_path / f"01_XY/SEG/man_x{index}.tif", mask(index % 3))
        save(tmp_path / f"other/man_y{index}.png", mask(index % 3))
    source = open_source(tmp_path)
    assert source.estimated_length() == COUNT
    assert sum("fit no image" in note for note in source.left_out) == 2


def test_regions_of_interest_are_not_images(tmp_path: Path) -> None:
    layout(tmp_path, "input/in{}.jpg", "groundtruth/gt{}.png")
    for name in ("ROI.bmp", "ROI.jpg"):
        save(tmp_path / name, 255 * (mask() > 0).astype(np.uint8))
    source = open_source(tmp_path)
    assert source.estimated_length() == COUNT
    assert source.has_masks


def test_visualizations_are_not_images(tmp_path: Path) -> None:
    layout(tmp_path, "JPEGImages/{}.jpg", "SegmentationObject/{}.png")
    for index in range(COUNT):
        save(tmp_path / f"SegmentationObjectVisualization/{index:06d}.jpg", photograph())
    source = open_source(tmp_path)
    assert source.has_masks
    assert "masks painted over" in " ".join(source.left_out)


@pytest.mark.parametrize("name", ["normal", "flow", "depth"])
def test_classes_called_like_maps_stay_images(tmp_path: Path, name: str) -> None:
    for index in range(COUNT):
        save(tmp_path / f"train/{name}/{index}.jpg", photograph())
        save(tmp_path / f"train/ill/{index}.jpg", photograph())
        save(tmp_path / f"test/{name}/{index}.png", photograph())
        save(tmp_path / f"test/ill/{index}.png", photograph())
    assert open_source(tmp_path).estimated_length() == 4 * COUNT


def test_depth_maps_of_other_names_are_not_images(tmp_path: Path) -> None:
    for index in range(COUNT):
        save(tmp_path / f"rgb/{index}.1.png", photograph())
        save(tmp_path / f"depth/{index}.2.png", photograph()[..., 0].astype(np.uint16) * 200)
    assert open_source(tmp_path).estimated_length() == COUNT


def test_photographs_on_a_plain_background_are_not_masks(tmp_path: Path) -> None:
    for index in range(COUNT):
        for folder in ("hat", "mask"):
            shot = np.full((*SIZE, 3), 255, np.uint8)
            shot[4:18, 6:22] = photograph()[4:18, 6:22]
            save(tmp_path / folder / f"{index}.png", shot)
    assert open_source(tmp_path).estimated_length() == 2 * COUNT


def test_changed_files_are_measured_again(tmp_path: Path) -> None:
    for index in range(COUNT):
        save(tmp_path / f"images/{index}.png", photograph())
        save(tmp_path / f"labels/{index}.png", photograph())
    assert open_source(tmp_path).estimated_length() == 2 * COUNT
    for index in range(COUNT):
        save(tmp_path / f"labels/{index}.png", mask(index % 3))
    assert open_source(tmp_path).estimated_length() == COUNT


def test_letters_of_any_alphabet_tell_names_apart(tmp_path: Path) -> None:
    for name in ("車1", "馬2", "猫3"):
        save(tmp_path / f"{name}.jpg", photograph())
    for name in ("人1", "馬2", "猫3"):
        save(tmp_path / f"masks/{name}.png", mask())
    source = open_source(tmp_path)
    assert isinstance(source, FileSource)
    assert {image.stem: [one.stem for one in masks] for image, masks in source.masks.items()} == {
        "馬2": ["馬2"],
        "猫3": ["猫3"],
    }


def test_names_that_differ_in_little_have_masks_of_their_own(tmp_path: Path) -> None:
    names = ("馬1", "鳥1", "a b", "a_b", "a-b")
    for index, name in enumerate(names):
        save(tmp_path / f"{name}.jpg", photograph())
        save(tmp_path / f"masks/{name}.png", mask(index % 3))
    source = open_source(tmp_path)
    assert isinstance(source, FileSource)
    assert {image.stem: [one.stem for one in masks] for image, masks in source.masks.items()} == {
        name: [name] for name in names
    }


@pytest.mark.parametrize("form", ["files", "array"])
def test_rare_objects_tell_how_masks_are_read(tmp_path: Path, form: str) -> None:
    """Two of a hundred masks are not empty, and none of these among the first that are looked at."""
    masks = np.zeros((100, *SIZE), np.uint8)
    masks[50:52, 2:9, 3:12] = masks[50:52, 2:9, 20:28] = 255
    if form == "files":
        for index, one in enumerate(masks):
            save(tmp_path / f"{index:06d}.png", one)
        coding = find_coding([[path] for path in sorted(tmp_path.iterdir())])
    else:
        np.save(tmp_path / "masks.npy", masks)
        coding = ArrayTruth(tmp_path / "masks.npy").coding
    assert coding.rule == "halves"
