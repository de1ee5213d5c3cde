import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.files import contents

from astseg._core.checksums import seal
from astseg._core.errors import AstSegError
from astseg.data.store import Bytes, Split, Store, file_sha256
from astseg.data.store_writer import HEADER_BYTES, StoreWriter

SIZE = (5, 7)


def random_images(count: int, seed: int = 0) -> tuple[Bytes, Bytes]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *SIZE, 3), np.uint8)
    return images, rng.integers(0, 4, (count, *SIZE), np.uint8)


def writer(path: Path, **options: Any) -> StoreWriter:
    return StoreWriter(path, SIZE, "a source", "a protocol", **options)


def write(path: Path, count: int = 6, **options: Any) -> tuple[Bytes, Bytes]:
    images, masks = random_images(count)
    with writer(path, **options) as store, store.split("train") as split:
        split.append(images[:4], masks[:4])
        split.append(images[4:], masks[4:])
    return images, masks


def change_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((path / "manifest.json").read_text())
    change(content)
    (path / "manifest.json").write_text(json.dumps(seal(unsealed(content))))


def unsealed(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != "crc32"}


class StopError(Exception):
    pass


def test_reads_what_was_written(tmp_path: Path) -> None:
    images, masks = random_images(6)
    with writer(tmp_path / "s", details={"seed": 3}) as store:
        with store.split("train") as split:
            split.append(images[:4], masks[:4])
            split.append(images[4:], masks[4:])
        with store.split("test") as split:
            split.append(images[:2], masks[:2], masks[:2] % 2)
        store.details["more"] = "words"
    read = Store(tmp_path / "s")
    assert read.splits == ("train", "test")
    assert read.image_size == SIZE
    assert len(read["train"]) == 6
    np.testing.assert_array_equal(read["train"].images, images)
    np.testing.assert_array_equal(read["train"].masks, masks)
    assert read["train"].shadows is None
    np.testing.assert_array_equal(read["test"].shadows, masks[:2] % 2)
    assert "train" in read
    assert "other" not in read
    assert read.manifest.source == "a source"
    assert read.manifest.protocol == "a protocol"
    assert read.manifest.details == {"seed": 3, "more": "words"}
    assert read.manifest.splits["train"].label_histogram == tuple(np.bincount(masks.reshape(-1)).tolist())
    read.verify()


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "/tmp/x", "", ".", "a\0b"])
def test_a_split_that_cannot_begin_the_name_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    images, _ = random_images(1)
    with pytest.raises(ValueError, match="a split's name"), writer(tmp_path / "s") as store, store.split(name) as split:
        split.append(images)
    assert not list(tmp_path.iterdir())


def test_says_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "store")
    store = Store(tmp_path / "store")
    split = store["train"]
    height, width = split.images.shape[1:3]
    assert repr(split) == f"<Split 'train': 6 images of {height}x{width} with masks>"
    assert repr(store) == f"<Store {tmp_path / 'store'}: {split!r}>"
    assert repr(Split("mine", split.images)) == f"<Split 'mine': 6 images of {height}x{width}>"


def test_images_without_masks(tmp_path: Path) -> None:
    images, _ = random_images(3)
    with writer(tmp_path / "s") as store, store.split("train") as split:
        split.append(images)
    read = Store(tmp_path / "s")
    assert read["train"].masks is None
    assert read.manifest.splits["train"].label_histogram == ()


def test_arrays_are_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path / "s")
    images = Store(tmp_path / "s")["train"].images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


@pytest.mark.parametrize("content", ["[1]", "{}", '{"name": "a site", "icons": []}'])
def test_other_programs_have_a_manifest_too(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    assert not Store.is_store(tmp_path)


def test_a_cut_off_manifest_beside_arrays_is_one_of_a_store(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": "astseg-st')
    assert not Store.is_store(tmp_path)
    (tmp_path / "train.images.npy").touch()
    assert Store.is_store(tmp_path), "or its arrays would be taken for images"


def test_unknown_split(tmp_path: Path) -> None:
    write(tmp_path / "s")
    with pytest.raises(AstSegError, match="no split 'test'"):
        Store(tmp_path / "s")["test"]


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="no prepared data set"):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.update(version=9), "not of format"),
        (lambda content: content.pop("format"), "no prepared data set"),
        (lambda content: content.pop("version"), "cannot be understood"),
        (lambda content: content.update(splits=3), "cannot be understood"),
        (lambda content: content["splits"]["train"]["arrays"]["images"].pop("shape"), "cannot be understood"),
        (
            lambda content: content["splits"]["train"]["arrays"]["images"].update(shape=[9, 5, 7, 3]),
            "should have the shape",
        ),
    ],
)
def test_a_wrong_manifest(tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str) -> None:
    write(tmp_path / "s")
    change_manifest(tmp_path / "s", change)
    with pytest.raises(AstSegError, match=words):
        Store(tmp_path / "s")


def test_a_manifest_that_is_no_json(tmp_path: Path) -> None:
    write(tmp_path / "s")
    (tmp_path / "s" / "manifest.json").write_text("{")
    with pytest.raises(AstSegError, match="cannot be understood"):
        Store(tmp_path / "s")


def test_a_file_outside_the_store_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "s")
    shutil.copy(tmp_path / "s" / "train.masks.npy", tmp_path / "outside.npy")
    change_manifest(
        tmp_path / "s", lambda content: content["splits"]["train"]["arrays"]["masks"].update(file="../outside.npy")
    )
    with pytest.raises(AstSegError, match=r"'\.\./outside\.npy' is not a file of the store"):
        Store(tmp_path / "s")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(details=[1]),
        lambda content: content["details"].update(slots="7"),
        lambda content: content["details"].update(unreadable=[["a"]]),
        lambda content: content["details"].update(skipped=5),
        lambda content: content["details"].update(records_needed={"a": "b"}),
        lambda content: content.update(source=None),
        lambda content: content.update(image_size=[5]),
        lambda content: content["splits"].update(train=[]),
        lambda content: content["splits"]["train"].update(count=10**9),
        lambda content: content["splits"]["train"].update(count=0),
        lambda content: content["splits"]["train"].update(label_histogram="x"),
        lambda content: content["splits"]["train"].update(ignored_label=True),
        lambda content: content["splits"]["train"]["arrays"].pop("images"),
        lambda content: content["splits"]["train"]["arrays"].update(depth={"file": "a", "shape": [1], "sha256": ""}),
        lambda content: content["splits"]["train"]["arrays"]["images"].update(file=".."),
    ],
)
def test_a_damaged_manifest(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    write(tmp_path / "s")
    change_manifest(tmp_path / "s", change)
    with pytest.raises(AstSegError, match=r"manifest\.json cannot be understood|Cannot read"):
        Store(tmp_path / "s")


@pytest.mark.parametrize("text", ["[]", "[1]", "5", "null"])
def test_a_manifest_of_another_kind_is_told_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(AstSegError) as error:
        Store(tmp_path)
    assert "'" not in str(error.value)


def test_nobody_is_told_to_trust_a_file(tmp_path: Path) -> None:
    write(tmp_path / "s")
    header = (b"{'descr': '|u1', 'fortran_order': False, 'shape': (" + b"1," * 30_000 + b")}").ljust(60_117) + b"\n"
    content = b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header
    (tmp_path / "s" / "train.images.npy").write_bytes(content)
    with pytest.raises(AstSegError, match=r"longer than that of any array of numbers\. Prepare the data again"):
        Store(tmp_path / "s")["train"]


def test_a_header_that_claims_more_than_the_file(tmp_path: Path) -> None:
    write(tmp_path / "s")
    file = tmp_path / "s" / "train.images.npy"
    content = file.read_bytes()
    grown = content[:128].replace(b"(6, 5, 7, 3), }" + 9 * b" ", b"(6000000000, 5, 7, 3), }")
    assert len(grown) == 128
    assert grown != content[:128]
    file.write_bytes(grown + content[128:])
    with pytest.raises(AstSegError, match="Cannot read"):
        Store(tmp_path / "s")
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(AstSegError, match="is a pipe"):
        Store(tmp_path / "s")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"format": ' + "[" * 200_000])
def test_a_manifest_of_brackets(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert not Store.is_store(tmp_path)
    (tmp_path / "manifest.json").unlink()
    os.mkfifo(tmp_path / "manifest.json")
    assert not Store.is_store(tmp_path)


def test_a_missing_or_short_file(tmp_path: Path) -> None:
    write(tmp_path / "s")
    file = tmp_path / "s" / "train.images.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(AstSegError, match="Cannot read"):
        Store(tmp_path / "s")
    file.unlink()
    with pytest.raises(AstSegError, match="Cannot read"):
        Store(tmp_path / "s")


def test_verify_notices_a_changed_byte(tmp_path: Path) -> None:
    write(tmp_path / "s")
    file = tmp_path / "s" / "train.masks.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(AstSegError, match=r"train\.masks\.npy"):
        Store(tmp_path / "s").verify()
    sums = tmp_path / "s" / "train.images.crc32"
    sums.write_bytes(sums.read_bytes()[:-1])
    store = Store(tmp_path / "s", check_sums=False)
    assert store.damaged_files() == ["train.images.crc32", "train.masks.npy"]


def test_a_store_without_checksums_is_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "s")
    manifest = tmp_path / "s" / "manifest.json"
    content = json.loads(manifest.read_text())
    for split in content["splits"].values():
        for record in split["arrays"].values():
            del record["sums_sha256"]
            (tmp_path / "s" / record["file"]).with_suffix(".crc32").unlink()
    del content["crc32"]
    manifest.write_text(json.dumps(content))
    store = Store(tmp_path / "s")
    store.verify()
    assert store.damaged_files() == []


def test_append_refuses_what_does_not_fit(tmp_path: Path) -> None:
    images, masks = random_images(2)
    with suppress(StopError), writer(tmp_path / "s") as store, store.split("train") as split:
        with pytest.raises(ValueError, match="images"):
            split.append(images[:, :4])
        with pytest.raises(ValueError, match="float64"):
            split.append(images / 255)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="masks"):
            split.append(images, masks[:1])
        raise StopError


def test_append_refuses_other_kinds_of_arrays(tmp_path: Path) -> None:
    images, masks = random_images(2)
    with suppress(StopError), writer(tmp_path / "s") as store, store.split("train") as split:
        split.append(images, masks)
        with pytest.raises(ValueError, match="began with"):
            split.append(images)
        raise StopError


def test_an_empty_split(tmp_path: Path) -> None:
    def empty() -> None:
        with writer(tmp_path / "s") as store, store.split("train"):
            pass

    with pytest.raises(AstSegError, match="split 'train'"):
        empty()
    assert list(tmp_path.iterdir()) == []


def test_an_optional_split_may_be_empty(tmp_path: Path) -> None:
    images, masks = random_images(2)
    with writer(tmp_path / "s") as store:
        with store.split("train", optional=True):
            pass
        with store.split("test", optional=True) as split:
            split.append(images, masks)
    assert Store(tmp_path / "s").splits == ("test",)


def test_a_destination_in_use(tmp_path: Path) -> None:
    write(tmp_path / "s")
    with pytest.raises(AstSegError, match="exists already"), writer(tmp_path / "s"):
        raise AssertionError
    (tmp_path / "file").write_text("")
    with pytest.raises(AstSegError, match="exists already"):
        writer(tmp_path / "file").check_destination()


def test_an_empty_folder_is_a_valid_destination(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    write(tmp_path / "s")
    assert len(Store(tmp_path / "s")["train"]) == 6


@pytest.mark.parametrize("stop", [StopError, KeyboardInterrupt])
def test_an_interruption_leaves_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    def interrupted() -> None:
        with writer(tmp_path / "s") as store, store.split("train") as split:
            split.append(*random_images(2))
            raise stop

    with pytest.raises(stop):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def stop_after(path: Path, count: int, **options: Any) -> None:
    images, masks = random_images(6)
    with suppress(StopError), writer(path, resume=True, **options) as store, store.split("train") as split:
        split.append(images[:count], masks[:count])
        raise StopError


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_resumed_store_equals_one_written_at_once(tmp_path: Path, count: int) -> None:
    images, masks = write(tmp_path / "whole")
    stop_after(tmp_path / "s", count)
    assert not (tmp_path / "s").exists()
    with writer(tmp_path / "s", resume=True) as store, store.split("train") as split:
        assert split.count == count
        split.append(images[count:], masks[count:])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s", "whole"]
    for file in (tmp_path / "whole").iterdir():
        assert file_sha256(file) == file_sha256(tmp_path / "s" / file.name)
    assert len(list((tmp_path / "s").iterdir())) == 5


@pytest.mark.parametrize(
    ("kind", "keep", "whole"),
    [
        ("masks", HEADER_BYTES + 2 * 35 + 3, 2),
        ("images", HEADER_BYTES + 3 * 105, 3),
        ("masks", HEADER_BYTES, 0),
        ("images", 10, 0),
    ],
)
def test_an_interruption_within_an_image(tmp_path: Path, kind: str, keep: int, whole: int) -> None:
    images, masks = write(tmp_path / "whole")
    stop_after(tmp_path / "s", 4)
    with (tmp_path / ".s.partial" / "s" / f"train.{kind}.npy").open("r+b") as file:
        file.truncate(keep)
    with writer(tmp_path / "s", resume=True) as store, store.split("train") as split:
        assert split.count == whole
        split.append(images[whole:], masks[whole:])
    assert Store(tmp_path / "s").manifest.splits == Store(tmp_path / "whole").manifest.splits


def test_a_finished_split_stays_when_the_next_is_interrupted(tmp_path: Path) -> None:
    images, masks = random_images(6)
    with suppress(StopError), writer(tmp_path / "s", resume=True) as store:
        with store.split("test") as split:
            split.append(images, masks)
        with store.split("train"):
            raise StopError
    with writer(tmp_path / "s", resume=True) as store:
        with store.split("test") as split:
            assert split.count == 6
        with store.split("train") as split:
            assert split.count == 0
            split.append(images[:1], masks[:1])
    read = Store(tmp_path / "s")
    read.verify()
    assert [len(read[name]) for name in read.splits] == [6, 1]


def test_a_store_begun_with_other_settings_is_not_resumed(tmp_path: Path) -> None:
    stop_after(tmp_path / "s", 2)
    other = StoreWriter(tmp_path / "s", SIZE, "a source", "another protocol", resume=True)
    with pytest.raises(AstSegError, match="other settings"), other:
        raise AssertionError
    with suppress(StopError), writer(tmp_path / "s", resume=True) as store, store.split("train") as split:
        assert split.count == 2, "what was begun stays"
        raise StopError
    (tmp_path / ".s.partial" / "begun.json").write_text("{")
    with pytest.raises(AstSegError, match="other settings"), writer(tmp_path / "s", resume=True):
        raise AssertionError


def test_two_commands_do_not_write_one_store(tmp_path: Path) -> None:
    with writer(tmp_path / "s") as store, store.split("train") as split:
        split.append(*random_images(2))
        with pytest.raises(AstSegError, match="Another command"), writer(tmp_path / "s"):
            raise AssertionError
    assert len(Store(tmp_path / "s")["train"]) == 2


def test_a_store_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "s").symlink_to(tmp_path / "disk")
    write(tmp_path / "s")
    assert (tmp_path / "s").is_symlink()
    assert len(Store(tmp_path / "disk")["train"]) == 6


@pytest.mark.parametrize("linked", ["s", "s/train.images.npy", "s/train.masks.crc32"])
def test_an_unfinished_store_with_links_is_begun_anew(tmp_path: Path, linked: str) -> None:
    stop_after(tmp_path / "s", 3)
    place = tmp_path / ".s.partial" / linked
    place.rename(tmp_path / "mine")
    place.symlink_to(tmp_path / "mine")
    before = contents(tmp_path / "mine") if linked == "s" else (tmp_path / "mine").read_bytes()
    with writer(tmp_path / "s", resume=True) as store, store.split("train") as split:
        assert split.count == 0
        split.append(*random_images(6))
    assert before == (contents(tmp_path / "mine") if linked == "s" else (tmp_path / "mine").read_bytes())
    assert len(Store(tmp_path / "s")["train"]) == 6
    assert not (tmp_path / "s").is_symlink()


def test_without_resume_an_interrupted_store_starts_again(tmp_path: Path) -> None:
    stop_after(tmp_path / "s", 2)
    images, _ = write(tmp_path / "s")
    np.testing.assert_array_equal(Store(tmp_path / "s")["train"].images, images)


def test_an_interruption_before_the_first_image_leaves_nothing(tmp_path: Path) -> None:
    stop_after(tmp_path / "s", 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("label", [None, 255])
def test_saves_the_ignored_label(tmp_path: Path, label: int | None) -> None:
    masks = np.array([[[0, 1], [255, 2]]], np.uint8)
    with (
        StoreWriter(tmp_path / "a", (2, 2), "here", "so") as writer,
        writer.split("test", ignored_label=label) as split,
    ):
        split.append(np.zeros((1, 2, 2, 3), np.uint8), masks)
    read = Store(tmp_path / "a")["test"]
    assert read.ignored_label == label
    np.testing.assert_array_equal(read.masks_to_show(slice(1)), masks if label is None else [[[0, 1], [0, 2]]])
    assert ("ignored_label" in (tmp_path / "a/manifest.json").read_text()) is (label is not None)


@pytest.mark.parametrize("label", [0, 256, "255", True])
def test_refuses_invalid_ignored_labels(tmp_path: Path, label: object) -> None:
    write(tmp_path / "s")
    change_manifest(tmp_path / "s", lambda content: content["splits"]["train"].update(ignored_label=label))
    with pytest.raises(AstSegError, match="cannot be understood"):
        Store(tmp_path / "s")


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((2, 4, 4, 3), np.float32)},
        {"images": np.zeros((2, 4, 4), np.uint8)},
        {"images": np.zeros((2, 4, 4, 3), np.uint8), "masks": np.full((2, 4, 4), 300)},
        {"images": np.zeros((2, 4, 4, 3), np.uint8), "masks": np.zeros((2, 4, 5), np.uint8)},
        {"images": np.zeros((2, 4, 4, 3), np.uint8), "shadows": np.zeros((3, 4, 4), np.uint8)},
    ],
)
def test_a_split_of_other_arrays(arrays: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="of a split are uint8 of shape"):
        Split("test", **arrays)
