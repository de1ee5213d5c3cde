"""``astseg evaluate`` with a model that was trained for a few steps."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from tests.cli.conftest import Program
from tests.data.films import plain_images, write_film

from astseg.data.store import Store
from astseg.evaluation.scores_file import read_scores


def test_scores_and_files(astseg: Program, finished: Path, rooms: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores[1]"
    assert astseg("evaluate", finished, rooms, "--out", out, "--device", "cpu") == 0
    assert astseg.out.endswith(f"Files: {out / 'scores.json'}, {out / 'per_image.csv'}\n")
    assert "4 images of the split 'test' at 32 x 32 pixels" in astseg.out
    assert "not finished" not in astseg.err
    masks = Store(rooms)["test"].masks
    assert masks is not None
    crowded = sum(len(np.unique(mask[mask > 0])) > 2 for mask in masks)
    assert crowded
    assert f"Note {crowded} image" in astseg.out
    # The run scored the same images at its end.
    assert read_scores(out / "scores.json").summary == read_scores(finished / "scores.json").summary
    assert json.loads((out / "scores.json").read_text())["split"] == "test"
    assert len((out / "per_image.csv").read_text().splitlines()) == 1 + 4
    assert "exists already" in astseg.mistake("evaluate", finished, rooms, "--out", out)


def test_mistakes(astseg: Program, finished: Path, rooms: Path, images: Path, tmp_path: Path) -> None:
    assert astseg("data", "import", images, "--size", 32, "--out", tmp_path / "data") == 0
    cases: list[tuple[tuple[object, ...], str]] = [
        ((finished, images), "Nothing true is known"),
        ((finished, rooms, "--split", "val"), "no split 'val'"),
        ((finished, tmp_path / "data"), "no masks"),
        (("nowhere", rooms), "no model 'nowhere'"),
        ((finished, rooms, "--rule", "looks=2", "--by-weights-alone"), "By the weights alone, --rule has no effect"),
        ((finished, rooms, "--rule", "looks=0"), "--rule: looks should be"),
    ]
    for arguments, message in cases:
        assert message in astseg.mistake("evaluate", *arguments, "--out", tmp_path / "out")
        assert "Scoring" not in astseg.err or arguments[1] == images  # whose masks are looked for one by one
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "images"]


def test_images_with_masks_beside_them(astseg: Program, finished: Path, images: Path, tmp_path: Path) -> None:
    out, masks = tmp_path / "out", tmp_path / "masks"
    names = []
    for file in sorted(file for file in images.rglob("*.*g") if "broken" not in file.name)[:4]:
        with Image.open(file) as image:
            mask = np.zeros((image.height, image.width), np.uint8)
        mask[5:20, 6:30] = 3
        (masks / file.relative_to(images)).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save((masks / file.relative_to(images)).with_suffix(".png"))
        names.append(file.relative_to(images).with_suffix("").as_posix())
    assert astseg("evaluate", finished, images, "--out", out, "--device", "cpu") == 0
    record = read_scores(out / "scores.json")
    assert record.regions is not None
    assert record.regions.true_regions == 4
    assert record.data.image_size is None
    assert "Skipped broken[b]" in astseg.err
    assert "Note 2 images (more/f.jpg, more/ü.png) not scored: nothing true is known of them." in astseg.out
    masks.rename(tmp_path / "elsewhere")
    again = tmp_path / "again"
    command = ("evaluate", finished, images, "--out", again, "--device", "cpu")
    assert "Nothing true is known of any image" in astseg.mistake(*command)
    assert "the option is --truth" in astseg.err
    assert astseg(*command, "--truth", tmp_path / "elsewhere") == 0
    assert read_scores(again / "scores.json").summary == record.summary
    assert "nowhere" in astseg.mistake(*command, "--truth", tmp_path / "nowhere")


def test_prepared_data_have_their_truth(astseg: Program, finished: Path, rooms: Path, tmp_path: Path) -> None:
    message = astseg.mistake("evaluate", finished, rooms, "--truth", rooms, "--out", tmp_path / "out")
    assert "--truth and --ignore have no effect" in message


def test_images_have_no_splits(astseg: Program, finished: Path, tmp_path: Path) -> None:
    assert "--split is for prepared data" in astseg.mistake("evaluate", finished, tmp_path, "--split", "test")


def test_values_of_a_videos_truth_that_are_not_scored(astseg: Program, finished: Path, tmp_path: Path) -> None:
    frames = plain_images([0, 90])
    write_film(tmp_path / "film.avi", frames)
    masks = np.zeros((2, *frames[0].shape[:2]), np.uint8)
    masks[:, :3], masks[:, 3:5] = 1, 7
    np.save(tmp_path / "masks.npy", masks)
    command = ("evaluate", finished, tmp_path / "film.avi", "--truth", tmp_path / "masks.npy", "--device", "cpu")
    assert astseg(*command, "--ignore", 7, "--out", tmp_path / "out") == 0
    assert "not scored: 7" in " ".join((tmp_path / "out/scores.json").read_text().split())
