import re

import numpy as np
import pytest

from astseg.data.arrays import open_arrays
from astseg.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
MASKS = np.random.default_rng(1).integers(0, 3, (4, 5, 6), dtype=np.uint8)


def read(path):
    arrays = open_arrays(path)
    items = list(arrays)
    assert len(items) == arrays.count
    assert all(problem is None for _, _, problem in items)
    return np.stack([image for image, _, _ in items]), [mask for _, mask, _ in items]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (IMAGES, IMAGES),
        (IMAGES[0], IMAGES[:1]),
        (IMAGES[..., 0], np.repeat(IMAGES[..., :1], 3, -1)),
        (IMAGES[..., :1], np.repeat(IMAGES[..., :1], 3, -1)),
        (IMAGES.astype(np.float32) / 255, IMAGES),
        (IMAGES.astype(np.float64) / 255, IMAGES),
        (IMAGES.astype(">f4") / 255, IMAGES),
    ],
)
def test_reads_every_accepted_kind(tmp_path, array, expected):
    np.save(tmp_path / "a.npy", array)
    images, masks = read(tmp_path / "a.npy")
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, expected)
    assert masks == [None] * len(expected)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("key", ["image", "images", "my_own_name"])
def test_reads_an_archive_by_key_or_its_only_array(tmp_path, save, key):
    save(tmp_path / "a.npz", **{key: IMAGES})
    np.testing.assert_array_equal(read(tmp_path / "a.npz")[0], IMAGES)


@pytest.mark.parametrize("key", ["mask", "masks"])
@pytest.mark.parametrize("masks", [MASKS, MASKS[..., None], MASKS.astype(np.int64), MASKS.astype(">i2")])
def test_reads_masks(tmp_path, key, masks):
    np.savez(tmp_path / "a.npz", images=IMAGES, other=np.zeros(3), **{key: masks})
    images, read_masks = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(read_masks, MASKS)


@pytest.mark.parametrize("mask", [MASKS[0], MASKS[0][..., None]])
def test_reads_a_single_picture_with_its_mask(tmp_path, mask):
    np.savez(tmp_path / "a.npz", image=IMAGES[0], mask=mask)
    images, masks = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(images, IMAGES[:1])
    np.testing.assert_array_equal(masks, MASKS[:1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (IMAGES.astype(np.int64), "but holds int64"),
        (IMAGES.transpose(0, 3, 1, 2).copy(), "Channels should come last"),
        (IMAGES[0, :, :, 0], r"of shape \(5, 6\)"),
        (np.zeros((2, 4, 4, 7), np.uint8), r"of shape \(2, 4, 4, 7\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), "holds no pictures"),
        (np.asfortranarray(IMAGES), "columns first"),
        (np.array([None, {}]), "Python objects"),
    ],
)
def test_refuses_other_arrays(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=r"a\.npy.*" + message):
        open_arrays(tmp_path / "a.npy")


@pytest.mark.parametrize("bad", [-0.1, 1.5, np.nan])
def test_refuses_each_picture_whose_values_are_no_colors(tmp_path, bad):
    values = np.zeros((2, 4, 4, 3), np.float32)
    values[1, 2, 2, 2] = bad
    np.save(tmp_path / "a.npy", values)
    good, refused = open_arrays(tmp_path / "a.npy")
    assert good.image is not None
    assert good.problem is None
    assert refused.image is None
    assert "a.npy holds floating-point values from" in refused.problem


def test_rounding_errors_are_colors(tmp_path):
    np.save(tmp_path / "a.npy", np.full((1, 4, 4, 3), np.nextafter(1, 2)))
    (item,) = open_arrays(tmp_path / "a.npy")
    assert (item.image == 255).all()


def test_refuses_archives_that_leave_the_choice_open(tmp_path):
    np.savez(tmp_path / "a.npz", left=IMAGES, right=IMAGES)
    with pytest.raises(UserError, match="left, right"):
        open_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("masks", "reason"),
    [
        (MASKS[:3], r"should hold whole numbers of shape \(4, 5, 6\), but is uint8 of shape \(3, 5, 6\)"),
        (MASKS.astype(np.float32), "but is float32"),
        (np.asfortranarray(MASKS), "is stored columns first"),
        (np.array([None, {}]), "holds Python objects"),
    ],
)
def test_masks_that_cannot_be_used_take_no_picture_away(tmp_path, masks, reason):
    np.savez(tmp_path / "b.npz", images=IMAGES, masks=masks)
    arrays = open_arrays(tmp_path / "b.npz")
    assert arrays.mask_key is None
    items = list(arrays)
    np.testing.assert_array_equal([image for image, _, _ in items], IMAGES)
    assert all(mask is None for _, mask, _ in items)
    for _, _, problem in items:
        assert re.match(rf"'masks' in .*b\.npz .*{reason}", problem)


@pytest.mark.parametrize("bad", [-1, 256, 1 << 40])
def test_a_mask_whose_values_are_no_labels_takes_no_picture_away(tmp_path, bad):
    masks = MASKS.astype(np.int64)
    masks[2, 0, 0] = bad
    np.savez(tmp_path / "b.npz", images=IMAGES, masks=masks)
    items = list(open_arrays(tmp_path / "b.npz"))
    np.testing.assert_array_equal([image for image, _, _ in items], IMAGES)
    assert [mask is None for _, mask, _ in items] == [False, False, True, False]
    assert str(bad) in items[2][2]


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("share", [0, 0.3, 0.8])
def test_names_a_file_that_is_cut_off(tmp_path, name, share):
    save = np.save if name == "a.npy" else np.savez_compressed
    save(tmp_path / name, IMAGES)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=f"{name} is no array file that can be read"):
        list(open_arrays(tmp_path / name))


def test_names_a_file_that_is_absent(tmp_path):
    with pytest.raises(UserError, match="There is no file"):
        open_arrays(tmp_path / "a.npz")
