from pathlib import Path

import pytest

from astseg.data.file_roles import Key, Role, could_hold_masks_of, parse_name, split_of


@pytest.mark.parametrize(
    ("path", "role", "key"),
    [
        ("a.jpg", "image", ("a",)),
        ("images/a.jpg", "image", ("a",)),
        ("masks/A.png", "mask", ("a",)),
        ("x_000001_depth_0001.png", "map", ("x_000001",)),
        ("depth_00001.png", "map", ("00001",)),
        ("object_coordinates_00001.png", "map", ("00001",)),
        ("train_masks/a_mask.gif", "mask", ("train", "a")),
        ("color/a.png", "image", ("color", "a")),
        ("a0mask.png", "mask", ("a0",)),
        ("Maska0.png", "mask", ("a0",)),
        ("labels/ins_seg/bitmasks/a.png", "mask", ("ins", "a")),
        ("SegmentationObjectVisualization/a.jpg", "drawn", ("a",)),
        ("x_000001_shadow_0001.png", "map", ("x_000001",)),
        ("a_color.png", "mask", ("a",)),
        ("mask.png", "mask", ("",)),
        ("holiday/my red mask of clay.jpg", "image", ("holiday", "my_red_mask_of_clay")),
        ("---.png", "image", ("---",)),
    ],
)
def test_keys_leave_out_the_words_of_roles(path: str, role: Role, key: Key) -> None:
    name = parse_name(Path(path))
    assert (name.role, name.key) == (role, key)


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train/images/a.jpg", "train"),
        ("images/train/a.jpg", "train"),
        ("valid/a.jpg", "val"),
        ("validation_2/a.jpg", "val"),
        ("images/val2017/a.jpg", "val"),
        ("leftImg8bit/testing/ulm/a.png", "test"),
        ("train_images/a.jpg", "train"),
        ("trainval/a.jpg", "train"),
        ("x_test/a.jpg", "test"),
        ("train_set/a.jpg", "train"),
        ("testA/a.jpg", "test"),
        ("train.jpg", None),
        ("trains/a.jpg", None),
        ("contest/a.jpg", None),
    ],
)
def test_folders_name_splits(path: str, split: str | None) -> None:
    assert split_of(Path(path)) == split


@pytest.mark.parametrize(
    ("masks", "images", "fit"),
    [
        ("x/Masks", "x/JPEGImages", True),
        ("train_masks", "train_images", True),
        ("train_masks", "test_images", False),
        ("masks", "image_mask", False),
        ("masks", "holiday", False),
        ("depth", "images", False),
        ("holiday", "images", False),
    ],
)
def test_a_folder_of_masks_has_its_images_name(masks: str, images: str, fit: bool) -> None:
    assert could_hold_masks_of(Path(masks), Path(images)) is fit
