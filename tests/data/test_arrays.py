import os
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import Bytes, read_image
from astseg.data import array_members
from astseg.data.arrays import open_arrays

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
MASKS = np.random.default_rng(1).integers(0, 3, (4, 5, 6), dtype=np.uint8)

WHITE_OR_BLACK = np.random.default_rng(2).integers(0, 2, (4, 5, 6, 3), dtype=np.uint8)
WIDE = np.random.default_rng(3).integers(0, 256, (2, 7, 8, 3), dtype=np.uint8)


def read(path: Path) -> tuple[Bytes, list[Bytes | None]]:
    file = open_arrays(path)
    items = list(file)
    assert len(items) == file.count
    assert all(problem is None for _, _, problem in items)
    return np.stack([np.asarray(image) for image, _, _ in items]), [mask for _, mask, _ in items]


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
        (IMAGES.astype(np.float32), IMAGES),
        (IMAGES.astype(np.float16), IMAGES),
        *((IMAGES.astype(kind), IMAGES) for kind in ("i2", ">i2", "u2", "i4", "i8", "u8")),
        (IMAGES.astype(np.uint16) * 257, IMAGES),
        (IMAGES.astype(np.int32) * 257, IMAGES),
        *((WHITE_OR_BLACK.astype(kind), 255 * WHITE_OR_BLACK) for kind in ("?", "u1", "i1", "i8", "f4")),
        (WIDE.transpose(0, 3, 1, 2), WIDE),
        (WIDE[..., :1].transpose(0, 3, 1, 2), np.repeat(WIDE[..., :1], 3, -1)),
        (WIDE.transpose(0, 3, 1, 2) / 255, WIDE),
        (WIDE[0, ..., :1], np.repeat(WIDE[:1, ..., :1], 3, -1)),
        (np.asfortranarray(IMAGES), IMAGES),
        (np.asfortranarray(IMAGES[0]), IMAGES[:1]),
        (np.asfortranarray(IMAGES[..., 0] / 255), np.repeat(IMAGES[..., :1], 3, -1)),
    ],
)
def test_reads_every_accepted_kind(tmp_path: Path, array: npt.NDArray[Any], expected: Bytes) -> None:
    np.save(tmp_path / "a.npy", array)
    images, masks = read(tmp_path / "a.npy")
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, expected)
    assert masks == [None] * len(expected)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("key", ["image", "images", "my_own_name"])
def test_reads_an_archive_by_key_or_its_only_array(tmp_path: Path, save: Callable[..., None], key: str) -> None:
    save(tmp_path / "a.npz", **{key: IMAGES})
    np.testing.assert_array_equal(read(tmp_path / "a.npz")[0], IMAGES)


@pytest.mark.parametrize("key", ["mask", "masks"])
@pytest.mark.parametrize("masks", [MASKS, MASKS[..., None], MASKS.astype(np.int64), MASKS.astype(">i2")])
def test_reads_masks(tmp_path: Path, key: str, masks: npt.NDArray[Any]) -> None:
    arrays: dict[str, Any] = {"images": IMAGES, "other": np.zeros(3), key: masks}
    np.savez(tmp_path / "a.npz", **arrays)
    images, read_masks = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(read_masks, MASKS)


@pytest.mark.parametrize("mask", [MASKS[0], MASKS[0][..., None]])
def test_reads_a_single_image_with_its_mask(tmp_path: Path, mask: Bytes) -> None:
    np.savez(tmp_path / "a.npz", image=IMAGES[0], mask=mask)
    images, masks = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(images, IMAGES[:1])
    np.testing.assert_array_equal(masks, MASKS[:1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (IMAGES.astype(np.complex64), "but holds complex64"),
        (IMAGES.astype("S3"), r"but holds \\|S3"),
        (IMAGES[0, :, :, 0], r"of shape \(5, 6\)"),
        (np.zeros((2, 4, 4, 7), np.uint8), r"of shape \(2, 4, 4, 7\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), "holds no images"),
        (np.array([None, {}]), "Python objects"),
    ],
)
def test_refuses_other_arrays(tmp_path: Path, array: npt.NDArray[Any], message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(AstSegError, match=r"a\.npy.*" + message):
        open_arrays(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_columns_first_where_it_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(array_members, "MAX_COLUMN_MAJOR_BYTES", 100)
    np.save(tmp_path / "a.npy", np.asfortranarray(IMAGES))
    np.savez(tmp_path / "a.npz", np.asfortranarray(IMAGES))
    with pytest.raises(AstSegError, match="columns first"):
        open_arrays(tmp_path / name)


def test_values_beyond_single_precision_are_refused_without_a_warning(tmp_path: Path) -> None:
    values = np.zeros((3, 4, 4, 3))
    values[1] = 1e300
    np.save(tmp_path / "a.npy", values)
    problems = [item.problem for item in open_arrays(tmp_path / "a.npy") if item.image is None]
    assert len(problems) == 1
    assert "non-finite" in str(problems[0])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (-0.1, "from -0.1 to 0"),
        (1.5, "from 0 to 1.5"),
        (300.0, "from 0 to 300"),
        (np.nan, "non-finite"),
        (np.inf, "non-finite"),
    ],
)
def test_refuses_single_images_with_values_out_of_range(tmp_path: Path, bad: float, said: str) -> None:
    values = np.zeros((3, 4, 4, 3), np.float32)
    values[1, 2, 2, 2] = bad
    values[2] = 0.5
    np.save(tmp_path / "a.npy", values)
    black, refused, grey = open_arrays(tmp_path / "a.npy")
    assert [item.problem is None for item in (black, refused, grey)] == [True, False, True]
    np.testing.assert_array_equal(grey.image, 128)
    assert refused.image is None
    assert said in str(refused.problem)


@pytest.mark.parametrize("bad", [-1, 1 << 40])
def test_refuses_single_images_with_integers_out_of_range(tmp_path: Path, bad: float) -> None:
    values = IMAGES.astype(np.int64)
    values[1, 2, 2, 2] = bad
    np.save(tmp_path / "a.npy", values)
    items = list(open_arrays(tmp_path / "a.npy"))
    assert [item.image is None for item in items] == [False, True, False, False]
    np.testing.assert_array_equal(items[3].image, IMAGES[3])


class TestTheWholeFileTells:
    def read(self, path: Path, images: npt.NDArray[Any], note: str | None) -> list[Any]:
        np.save(path, images)
        file = open_arrays(path)
        assert file.notes == ((f"{note} in {path}.",) if note else ())
        return [item.image for item in file]

    @pytest.mark.parametrize("kind", ["u1", "i4", "f4"])
    def test_dark_images_among_bright_ones_are_not_black_and_white(self, tmp_path: Path, kind: str) -> None:
        images = np.zeros((20, 6, 6, 3), kind)
        images[:8, 2] = 1  # the first eight are nearly black
        images[8:] = 200
        found = self.read(tmp_path / "a.npy", images, None if kind == "u1" else "Values go from 0 to 255")
        np.testing.assert_array_equal(found, images)

    def test_a_dark_floating_point_image_of_bytes(self, tmp_path: Path) -> None:
        images = np.random.default_rng(0).uniform(0, 255, (5, 6, 6, 3))
        images[0] /= 255
        found = self.read(tmp_path / "a.npy", images, "Values go from 0 to 255")
        np.testing.assert_array_equal(found, np.rint(images.astype(np.float32)))

    def test_a_single_image_that_is_too_bright(self, tmp_path: Path) -> None:
        images = np.random.default_rng(0).uniform(0, 1, (5, 6, 6, 3))
        images[3] = 30
        found = self.read(tmp_path / "a.npy", images, None)
        assert [image is None for image in found] == [False, False, False, True, False]
        np.testing.assert_array_equal(found[0], np.rint(255 * images[0].astype(np.float32)))

    def test_sixteen_bits_need_not_all_be_bright(self, tmp_path: Path) -> None:
        images = np.full((3, 6, 6, 3), 2_570, np.uint16)
        images[2] = 51_400
        found = self.read(tmp_path / "a.npy", images, "Values have 16 bits, from 0 to 65535")
        assert [int(image[0, 0, 0]) for image in found] == [10, 10, 200]

    @pytest.mark.parametrize("highest", [256, 1023, 4095])
    def test_ten_or_twelve_bits_are_refused(self, tmp_path: Path, highest: int) -> None:
        images = np.full((2, 6, 6, 3), 7, np.uint16)
        images[1] = highest
        np.save(tmp_path / "a.npy", images)
        for item in open_arrays(tmp_path / "a.npy"):
            assert f"{highest} of 65535" in str(item.problem)

    def test_a_changed_file_is_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npy"
        assert self.read(path, np.ones((2, 6, 6, 3), np.uint8), "Values of 0 and 1 are black and white")[0].min() == 255
        images = np.ones((3, 6, 6, 3), np.uint8)
        images[2] = 2
        assert self.read(path, images, None)[0].max() == 1


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2)])
@pytest.mark.parametrize("kind", ["u1", "f4"])
def test_transparent_pixels_look_as_in_image_files(tmp_path: Path, axes: tuple[int, ...], kind: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 7, 8, 4), dtype=np.uint8)
    np.save(tmp_path / "a.npy", images.transpose(axes) / np.array(1 if kind == "u1" else 255, kind))
    for index, item in enumerate(open_arrays(tmp_path / "a.npy")):
        Image.fromarray(images[index]).save(tmp_path / "a.png")
        np.testing.assert_array_equal(item.image, read_image(tmp_path / "a.png"))


@pytest.mark.parametrize("masks", [(2, 7, 8), (2, 7, 8, 1), (2, 1, 7, 8)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_masks_of_images_whose_channels_come_first(
    tmp_path: Path, masks: npt.NDArray[Any], order: Literal["C", "F"]
) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (2, 7, 8))
    given = np.asarray(labels.reshape(masks), order=order)
    np.savez(tmp_path / "a.npz", images=WIDE.transpose(0, 3, 1, 2).copy(), masks=given)
    images, read_masks = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(images, WIDE)
    np.testing.assert_array_equal(read_masks, labels)
    assert open_arrays(tmp_path / "a.npz").notes == (f"Channels come first in {tmp_path / 'a.npz'}.",)


def test_rounding_errors_are_colors(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((1, 4, 4, 3), np.nextafter(1, 2)))
    (item,) = open_arrays(tmp_path / "a.npy")
    np.testing.assert_array_equal(item.image, 255)


def test_refuses_ambiguous_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left=IMAGES, right=IMAGES)
    with pytest.raises(AstSegError, match="left, right"):
        open_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("masks", "reason"),
    [
        (MASKS[:3], r"shape \(4, 5, 6\), but .* \(3, 5, 6\)"),
        (MASKS.astype(np.float32), "but is float32"),
        (np.array([None, {}]), "holds Python objects"),
    ],
)
def test_images_with_unusable_masks_are_kept(tmp_path: Path, masks: npt.NDArray[Any], reason: str) -> None:
    np.savez(tmp_path / "b.npz", images=IMAGES, masks=masks)
    file = open_arrays(tmp_path / "b.npz")
    assert file.mask_key is None
    items = list(file)
    np.testing.assert_array_equal([image for image, _, _ in items], IMAGES)
    assert all(mask is None for _, mask, _ in items)
    for _, _, problem in items:
        assert re.search(reason, str(problem))


def test_truth_values_are_black_and_white(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", images=IMAGES, masks=MASKS > 1)
    masks = [mask for _, mask, _ in open_arrays(tmp_path / "b.npz")]
    np.testing.assert_array_equal(masks, np.where(MASKS > 1, 255, 0))


@pytest.mark.parametrize("bad", [-1, 256, 1 << 40])
def test_an_image_whose_mask_has_no_labels_is_kept(tmp_path: Path, bad: float) -> None:
    masks = MASKS.astype(np.int64)
    masks[2, 0, 0] = bad
    np.savez(tmp_path / "b.npz", images=IMAGES, masks=masks)
    items = list(open_arrays(tmp_path / "b.npz"))
    np.testing.assert_array_equal([image for image, _, _ in items], IMAGES)
    assert [mask is None for _, mask, _ in items] == [False, False, True, False]
    assert str(bad) in str(items[2].problem)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("share", [0, 0.3, 0.8])
def test_names_a_file_that_is_cut_off(tmp_path: Path, name: str, share: float) -> None:
    save = np.save if name == "a.npy" else np.savez_compressed
    save(tmp_path / name, IMAGES)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(AstSegError, match=f"{name} is not a readable array file"):
        list(open_arrays(tmp_path / name))


def test_names_a_file_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="There is no file"):
        open_arrays(tmp_path / "a.npz")


def claim(path: Path, shape: tuple[int, ...], data: bytes = b"", kind: str = "|u1") -> None:
    """Write an array whose header claims a shape."""
    with path.open("wb") as file:
        header = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(data)


def test_a_count_is_held_against_the_length_of_the_file(tmp_path: Path) -> None:
    claim(tmp_path / "a.npy", (10**9, 5, 6, 3), IMAGES.tobytes()[: 3 * 90 + 7])
    file = open_arrays(tmp_path / "a.npy")
    assert file.count == 4, "three, and one that is cut off"
    tracemalloc.start()
    with pytest.raises(AstSegError, match="cut off"):
        list(file)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("shape", [(1, 30_000, 30_000, 3), (1, 2**40, 3, 3), (-1, 5, 6, 3), (2, -5, -6, 3)])
def test_impossible_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    claim(tmp_path / "a.npy", shape)
    with pytest.raises(AstSegError, match=r"impossible shape|images of .* bytes|should hold"):
        open_arrays(tmp_path / "a.npy")


def test_an_archive_that_claims_more_than_it_can_hold(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=IMAGES)
    content = (tmp_path / "a.npz").read_bytes()
    place = content.rindex(b"PK\x01\x02") + 24
    (tmp_path / "a.npz").write_bytes(content[:place] + (2**31).to_bytes(4, "little") + content[place + 4 :])
    with pytest.raises(AstSegError, match="claims 2147483648 bytes"):
        open_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("key", ["images", "masks"])
def test_nothing_is_read_of_a_member_whose_checksum_is_wrong(
    tmp_path: Path, save: Callable[..., None], key: str
) -> None:
    save(tmp_path / "a.npz", images=IMAGES, masks=MASKS)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        member = archive.getinfo(f"{key}.npy")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[member.header_offset + 14] ^= 1  # the checksum in front of the member
    directory = content.rindex(b"PK\x01\x02") if key == "masks" else content.index(b"PK\x01\x02")
    content[directory + 16] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    read_images: list[object] = []
    with pytest.raises(AstSegError, match="CRC"):
        read_images.extend(open_arrays(tmp_path / "a.npz"))
    assert read_images == []


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(AstSegError, match="a pipe"):
        open_arrays(tmp_path / "a.npy")


def test_an_archive_whose_list_hides_an_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, masks=MASKS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    place = content.index(b"PK\x01\x02") + 32  # the length of the first array's comment
    content[place : place + 2] = (64).to_bytes(2, "little")
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(AstSegError, match="damaged list"):
        open_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("in_archive", [True, False])
def test_nobody_is_told_to_trust_a_file(tmp_path: Path, in_archive: bool) -> None:
    header = (b"{'descr': '|u1', 'fortran_order': False, 'shape': (" + b"1," * 30_000 + b")}").ljust(60_117) + b"\n"
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header)
    if in_archive:
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.write(path, "images.npy")
        path = tmp_path / "a.npz"
    with pytest.raises(AstSegError, match=r"its header is longer than that of any array of numbers\.$"):
        read(path)
