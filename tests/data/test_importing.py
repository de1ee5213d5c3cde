import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.data.films import plain_images, write_film

from astseg._core.errors import AstSegError
from astseg.data.benchmarks import check_store
from astseg.data.image_fitting import fit_image, fit_mask
from astseg.data.importing import ImportPlan, import_source, suggest_image_size
from astseg.data.store import Split


def save_images(folder: Path, count: int, size: tuple[int, int] = (40, 40), start: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(start, start + count):
        Image.new("RGB", size, (index, 0, 0)).save(folder / f"{index}.png")


def values(split: Split) -> list[int]:
    return sorted(split.images[:, 0, 0, 0].tolist())


def test_imports_a_folder_and_holds_out_a_random_part(tmp_path: Path) -> None:
    save_images(tmp_path / "in", 20)
    store = import_source(tmp_path / "in", tmp_path / "out", (16, 32), test_share=0.25, seed=3)
    assert store.image_size == (16, 32)
    assert len(store["test"]) == 5
    assert values(store["test"]) + values(store["train"]) != list(range(20))
    assert sorted(values(store["test"]) + values(store["train"])) == list(range(20))
    assert store.manifest.details == {"skipped": [], "seed": 3}
    assert "random choice (seed 3), 25%" in store.manifest.protocol
    again = import_source(tmp_path / "in", tmp_path / "again", (16, 32), test_share=0.25, seed=3)
    other = import_source(tmp_path / "in", tmp_path / "other", (16, 32), test_share=0.25, seed=4)
    assert values(again["test"]) == values(store["test"])
    assert values(other["test"]) != values(store["test"])
    store.verify()


def test_holds_out_nothing_if_told_so(tmp_path: Path) -> None:
    save_images(tmp_path / "in", 3)
    store = import_source(tmp_path / "in", tmp_path / "out", test_share=0)
    assert store.splits == ("train",)
    assert values(store["train"]) == [0, 1, 2]
    assert store.image_size == (64, 64)


def test_of_many_skipped_files_the_manifest_names_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astseg.data.store.MAX_ENTRIES", 2)
    save_images(tmp_path / "in", 6)
    for index in range(1, 6):
        (tmp_path / f"in/{index}.png").write_text("")
    store = import_source(tmp_path / "in", tmp_path / "out", test_share=0)
    assert [name for name, _ in store.manifest.details["skipped"]] == ["1", "2"]
    assert store.manifest.details["more_skipped"] == 3
    assert "5 images could not be used when the store was made." in check_store(store.path).problems


@pytest.mark.parametrize("bad", [(0,), (1,), (2,), (0, 1)])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_no_split_is_empty_if_files_are_unreadable(tmp_path: Path, bad: tuple[int, ...], share: float) -> None:
    save_images(tmp_path / "in", 4)
    for index in bad:
        (tmp_path / f"in/{index}.png").write_text("")
    store = import_source(tmp_path / "in", tmp_path / "out", test_share=share)
    assert sorted(values(store["train"]) + values(store["test"])) == sorted({0, 1, 2, 3} - set(bad))
    assert [name for name, _ in store.manifest.details["skipped"]] == [str(index) for index in bad]


def test_crops_and_resizes_images_and_masks_alike(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    masks = random.integers(0, 4, (3, 20, 30), dtype=np.uint8)
    np.savez(tmp_path / "in.npz", images=images, masks=masks)
    store = import_source(tmp_path / "in.npz", tmp_path / "out", (10, 10), test_share=0)
    np.testing.assert_array_equal(store["train"].images, [fit_image(image, (10, 10)) for image in images])
    np.testing.assert_array_equal(store["train"].masks, [fit_mask(mask, (10, 10)) for mask in masks])


def test_masks_are_left_out_if_some_are_missing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    images = np.zeros((2, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "in/a.npz", images=images, masks=images[..., 0])
    np.savez(tmp_path / "in/b.npz", images=images)
    store = import_source(tmp_path / "in", tmp_path / "out", test_share=0)
    assert len(store["train"]) == 4
    assert store["train"].masks is None
    assert store.manifest.details["masks_left_behind"] == 2
    assert store.manifest.details["mask_problem"] == "not every image has one: b/000000 has none."


def save_masks(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("L", (40, 40), 1).save(folder / f"{index}.png")


@pytest.mark.parametrize("share", [0, 0.5])
def test_unreadable_masks_leave_out_masks_but_not_images(tmp_path: Path, share: float) -> None:
    save_images(tmp_path / "in/images", 4)
    save_masks(tmp_path / "in/masks", 4)
    (tmp_path / "in/masks/2.png").write_text("")
    store = import_source(tmp_path / "in", tmp_path / "out", test_share=share)
    assert sum(len(store[split]) for split in store.splits) == 4
    assert all(store[split].masks is None for split in store.splits)
    assert store.manifest.details["masks_left_behind"] == 4
    assert "2.png is not a readable image" in store.manifest.details["mask_problem"]


def test_what_is_not_scored_is_in_the_store(tmp_path: Path) -> None:
    save_images(tmp_path / "in/images", 4)
    save_masks(tmp_path / "elsewhere", 4)
    store = import_source(tmp_path / "in", tmp_path / "out", masks=tmp_path / "elsewhere", ignored=frozenset({1}))
    assert all(store[split].ignored_label == 255 for split in store.splits)
    for split in store.splits:
        np.testing.assert_array_equal(store[split].masks, 255)
    assert store.manifest.details["masks"] == "their values are the labels; not scored: 1"
    plain = import_source(tmp_path / "in", tmp_path / "plain", masks=tmp_path / "elsewhere")
    assert all(plain[split].ignored_label is None for split in plain.splits)


@pytest.mark.parametrize("places", [("train/images", "valid/images"), ("images/train2017", "images/val2017")])
def test_keeps_the_splits_of_other_programs(tmp_path: Path, places: tuple[str, str]) -> None:
    save_images(tmp_path / "in" / places[0], 6)
    save_images(tmp_path / "in" / places[1], 3, start=6)
    store = import_source(tmp_path / "in", tmp_path / "out")
    assert values(store["train"]) == list(range(6))
    assert values(store["test"]) == [6, 7, 8]


def test_an_image_is_left_out_if_only_its_mask_is_unusable(tmp_path: Path) -> None:
    save_images(tmp_path / "in/images", 20)
    save_masks(tmp_path / "in/masks", 20)
    Image.new("L", (5, 5)).save(tmp_path / "in/masks/18.png")
    store = import_source(tmp_path / "in", tmp_path / "out", test_share=0)
    assert values(store["train"]) == [index for index in range(20) if index != 18]
    assert store["train"].masks is not None
    ((name, reason),) = store.manifest.details["skipped"]
    assert name == "images/18"
    assert "18.png has (5, 5) pixels" in reason


def test_masks_are_left_out_if_the_first_is_unusable(tmp_path: Path) -> None:
    masks = np.full((3, 16, 16), 1000)
    np.savez(tmp_path / "in.npz", images=np.zeros((3, 16, 16, 3), np.uint8), masks=masks)
    store = import_source(tmp_path / "in.npz", tmp_path / "out", test_share=0)
    assert len(store["train"]) == 3
    assert store["train"].masks is None
    assert "holds values from 1000 to 1000" in store.manifest.details["mask_problem"]


def test_unreadable_images_need_no_mask(tmp_path: Path) -> None:
    save_images(tmp_path / "in/images", 3)
    save_masks(tmp_path / "in/masks", 3)
    (tmp_path / "in/images/broken.png").write_text("")
    store = import_source(tmp_path / "in", tmp_path / "out", test_share=0)
    assert store["train"].masks is not None
    assert len(store["train"]) == 3


def test_names_other_files_in_the_folder(tmp_path: Path) -> None:
    save_images(tmp_path / "in", 2)
    (tmp_path / "in/notes.txt").write_text("")
    details = import_source(tmp_path / "in", tmp_path / "out").manifest.details
    assert details["left_out"] == ["files of other kinds: 1 (.txt)"]


def test_images_that_are_too_small_are_named(tmp_path: Path) -> None:
    save_images(tmp_path / "in", 3)
    save_images(tmp_path / "in", 1, size=(1, 1), start=9)
    store = import_source(tmp_path / "in", tmp_path / "out", test_share=0)
    assert values(store["train"]) == [0, 1, 2]
    ((name, reason),) = store.manifest.details["skipped"]
    assert name == "9"
    assert "1 x 1 pixels" in reason


@pytest.mark.parametrize(("count", "rule"), [(1, "nothing held out"), (2, "a random choice (seed 0), 10%, held out")])
def test_says_what_is_held_out(tmp_path: Path, count: int, rule: str) -> None:
    save_images(tmp_path / "in", count)
    store = import_source(tmp_path / "in", tmp_path / "out")
    assert store.manifest.protocol.endswith(rule)
    assert ("test" in store) is (count > 1)


def test_nothing_large_enough_is_an_error(tmp_path: Path) -> None:
    save_images(tmp_path / "in", 2, size=(1, 1))
    with pytest.raises(AstSegError, match=r"Nothing in .* for the split '.*' can be used. .* 1 x 1 pixels"):
        import_source(tmp_path / "in", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(("other", "became"), [("test", "test"), ("val", "test")])
def test_keeps_existing_splits(tmp_path: Path, other: str, became: str) -> None:
    save_images(tmp_path / "in/train/deep", 4)
    save_images(tmp_path / "in" / other, 2, start=100)
    save_images(tmp_path / "in/else", 1, start=50)
    store = import_source(tmp_path / "in", tmp_path / "out")
    assert values(store["train"]) == [0, 1, 2, 3]
    assert values(store[became]) == [100, 101]
    ((name, reason),) = store.manifest.details["skipped"]
    assert name == "else/50.png"
    assert "none of the folders" in reason
    assert "as the folder is divided" in store.manifest.protocol


def test_array_files_name_splits_with_or_without_masks(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    images = np.zeros((2, 16, 16, 3), np.uint8)
    for name in ("train_0", "train_1"):
        np.savez(tmp_path / f"in/{name}.npz", image=images)
    for name in ("val", "test"):
        np.savez(tmp_path / f"in/{name}.npz", image=images, mask=images[..., 0] + 1)
    store = import_source(tmp_path / "in", tmp_path / "out")
    assert {name: len(store[name]) for name in store.splits} == {"train": 4, "test": 2, "val": 2}
    assert store["train"].masks is None
    np.testing.assert_array_equal(store["test"].masks, 1)


def test_an_image_called_test_is_not_a_split(tmp_path: Path) -> None:
    save_images(tmp_path / "in", 4)
    for name in ("train", "test"):
        Image.new("RGB", (16, 16)).save(tmp_path / f"in/{name}.png")
    assert "random choice" in import_source(tmp_path / "in", tmp_path / "out").manifest.protocol


@pytest.fixture
def film(tmp_path: Path) -> Path:
    write_film(tmp_path / "film.mp4", plain_images(range(0, 200, 10)), rate=30)
    return tmp_path / "film.mp4"


def test_imports_a_video_and_holds_out_its_end(tmp_path: Path, film: Path) -> None:
    store = import_source(film, tmp_path / "out", test_share=0.2, every=2)
    assert store.image_size == (48, 64)
    frames = np.concatenate([store["train"].images, store["test"].images])[:, 0, 0, 0].astype(int)
    assert len(store["test"]) == 2
    assert np.abs(frames - np.arange(0, 200, 20)).max() < 8
    assert store.manifest.details == {"skipped": [], "seed": 0, "fps": 15.0, "every": 2}
    assert "the last frames, 20%" in store.manifest.protocol


def test_the_step_between_frames_is_recorded(tmp_path: Path, film: Path) -> None:
    few = import_source(film, tmp_path / "few", max_frames=5).manifest.details
    assert (few["every"], few["fps"]) == (4, 7.5)
    write_film(tmp_path / "other.mp4", plain_images(range(0, 200, 40)))
    both = import_source([film, tmp_path / "other.mp4"], tmp_path / "both", max_frames=5).manifest.details
    assert both["every"] == [4, 1]


def test_reports_progress(tmp_path: Path) -> None:
    save_images(tmp_path / "in", 3)
    calls: list[tuple[int, int | None]] = []
    import_source(tmp_path / "in", tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_share": 1}, "share"),
        ({"test_share": -0.1}, "share"),
        ({"seed": -1}, "at least 0, not -1"),
        ({"image_size": (4, 64)}, "8 to 8192 pixels"),
        ({"image_size": (0, 0)}, "8 to 8192 pixels"),
        ({"image_size": (64, 100_000)}, "8 to 8192 pixels"),
    ],
)
def test_refuses_impossible_numbers(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    save_images(tmp_path / "in", 2)
    with pytest.raises(AstSegError, match=message):
        import_source(tmp_path / "in", tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_refuses_a_place_that_is_taken_and_a_store_as_source(tmp_path: Path) -> None:
    save_images(tmp_path / "in", 2)
    import_source(tmp_path / "in", tmp_path / "out")
    with pytest.raises(AstSegError, match="exists already"):
        import_source(tmp_path / "in", tmp_path / "out")
    assert "test" not in import_source(tmp_path / "in", tmp_path / "whole", test_share=0).splits
    with pytest.raises(AstSegError, match="prepared data set already"):
        import_source(tmp_path / "whole", tmp_path / "again")
    with pytest.raises(AstSegError, match="prepared data set already"):
        import_source(tmp_path / "out", tmp_path / "other")


@pytest.mark.parametrize(
    ("size", "longer_side", "expected"),
    [
        ((128, 128), None, (128, 128)),
        ((1000, 1100), None, (128, 128)),
        ((64, 64), None, (64, 64)),
        ((127, 127), None, (64, 64)),
        ((1, 1), None, (64, 64)),
        ((240, 320), None, (96, 128)),
        ((320, 240), None, (128, 96)),
        ((1080, 1920), None, (64, 112)),
        ((50, 80), None, (48, 80)),
        ((10, 4000), None, (32, 160)),
        ((1080, 1920), 320, (176, 320)),
        ((200, 320), 320, (200, 320)),
        ((320, 240), 128, (128, 96)),
        ((110, 100), 64, (64, 64)),
        ((10, 4000), 64, (32, 64)),
    ],
)
def test_suggests_a_size(size: tuple[int, int], longer_side: int | None, expected: tuple[int, int]) -> None:
    assert suggest_image_size(size, longer_side) == expected


def test_suggested_sizes_crop_little(tmp_path: Path) -> None:
    for width in range(120, 250):
        height, suggested = suggest_image_size((100, width))
        assert height % 16 == suggested % 16 == 0
        assert abs(np.log(suggested / height * 100 / width)) < 0.2


def test_chooses_the_size_by_the_usual_image(tmp_path: Path) -> None:
    save_images(tmp_path / "in", 3, size=(320, 240))
    save_images(tmp_path / "in", 1, size=(900, 100), start=5)
    assert import_source(tmp_path / "in", tmp_path / "out").image_size == (96, 128)


def test_several_films_and_folders(tmp_path: Path) -> None:
    for index, name in enumerate(("a", "b")):
        write_film(tmp_path / f"{name}.avi", plain_images(range(100 * index, 100 * index + 100, 10)))
    save_images(tmp_path / "in", 1)
    plans: list[ImportPlan] = []
    places = [tmp_path / "a.avi", tmp_path / "in", tmp_path / "b.avi"]
    store = import_source(places, tmp_path / "out", (16, 16), test_share=0.2, max_frames=5, on_plan=plans.append)
    assert plans == [ImportPlan(11, (16, 16))]
    assert plans[0].num_bytes == 11 * 16 * 16 * 3
    greys = store["train"].images[..., 0].mean((1, 2)).round(-1).tolist()
    assert greys[1:] == [0, 20, 40, 60, 100, 120, 140, 160]  # the last fifth of each film is held out
    assert store["test"].images[..., 0].mean((1, 2)).round(-1).tolist() == [80, 180]
    assert store.manifest.source == ", ".join(map(str, places))
    assert "nothing held out; the last frames, 20%, held out" in store.manifest.protocol


def test_folders_of_splits_named_one_by_one(tmp_path: Path) -> None:
    for index, split in enumerate(("train", "val")):
        save_images(tmp_path / split, 2, start=50 * index)
    store = import_source([tmp_path / "train", tmp_path / "val"], tmp_path / "out", (16, 16))
    assert {split: len(store[split]) for split in store.splits} == {"train": 2, "test": 2}
    assert "as the folder is divided" in store.manifest.protocol


def test_a_disk_with_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_images(tmp_path / "in", 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=16 * 16 * 3 - 1))
    with pytest.raises(AstSegError, match=r"1 image at 16 x 16 takes 768 bytes, .* has 767 bytes left"):
        import_source(tmp_path / "in", tmp_path / "new" / "out", (16, 16))
    assert not (tmp_path / "new").exists()
