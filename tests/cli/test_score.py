"""``astseg score`` on results of a video, as they are written, and on what other programs write."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Program

from astseg.data.opening import open_source
from astseg.data.video_writer import VideoWriter
from astseg.evaluation.scores_file import read_scores


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """A film of six frames with a thing that moves, and its truth in CDnet's form, of which frames 3 to 5 count."""
    folder = tmp_path / "highway"
    (folder / "groundtruth").mkdir(parents=True)
    with VideoWriter(tmp_path / "film.mp4", Fraction(5)) as film:
        for number in range(1, 7):
            codes = np.zeros((48, 64), np.uint8)
            codes[10:20, 4 * number : 4 * number + 12] = 255
            codes[20:24, 4 * number : 4 * number + 12] = 50
            Image.fromarray(codes).save(folder / f"groundtruth/gt{number:06d}.png")
            film.append(np.repeat(np.where(codes == 255, 250, 60)[..., None], 3, 2).astype(np.uint8))
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(folder / "ROI.bmp")
    (folder / "temporalROI.txt").write_text("3 5\n")
    return folder


def test_a_video_and_a_sequence(astseg: Program, sequence: Path, finished: Path, tmp_path: Path) -> None:
    results = tmp_path / "masks"
    assert astseg("segment", finished, tmp_path / "film.mp4", "--out", results, "--device", "cpu") == 0
    for number in range(6):  # as if found exactly, and the shadow with it
        with Image.open(sequence / f"groundtruth/gt{number + 1:06d}.png") as image:
            labels = (np.array(image) > 0).astype(np.uint8)
        Image.fromarray(labels).save(results / f"labels/{number:06d}.png")
    assert astseg("score", results, sequence, "--out", tmp_path / "scores") == 0
    assert "3 images at their own sizes" in astseg.out
    assert "shadow      in masks 100.00" in astseg.out
    assert "matched     3 of 3 true regions (100.0%), 3 found" in astseg.out
    assert "Note 3 images (000000, 000001, 000005) not scored: nothing true is known of them." in astseg.out
    record = read_scores(tmp_path / "scores/scores.json")
    assert record.regions is not None
    assert record.regions.foreground.recall == 1
    assert record.regions.foreground.precision == pytest.approx(120 / 168)
    assert record.model == str(results)
    rows = (tmp_path / "scores/per_image.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows] == [["index", "name"], *([str(i), f"{i + 2:06d}"] for i in range(3))]
    # A model on the film itself is held against the same frames.
    out = tmp_path / "of-model"
    assert (
        astseg("evaluate", finished, tmp_path / "film.mp4", "--truth", sequence, "--out", out, "--device", "cpu") == 0
    )
    assert read_scores(out / "scores.json").summary.overall.images == 3
    # And so is one on the frames beside the truth.
    (sequence / "input").mkdir()
    for sample in open_source(tmp_path / "film.mp4"):
        Image.fromarray(sample.image).save(sequence / f"input/in{int(sample.name) + 1:06d}.png")
    assert astseg("evaluate", finished, sequence, "--out", tmp_path / "beside", "--device", "cpu") == 0
    assert read_scores(tmp_path / "beside/scores.json").summary == read_scores(out / "scores.json").summary


def test_results_of_prepared_data(astseg: Program, finished: Path, rooms: Path, tmp_path: Path) -> None:
    results, scores = tmp_path / "masks", tmp_path / "scores"
    assert astseg("segment", finished, rooms, "--out", results, "--device", "cpu") == 0
    assert astseg("score", results, rooms, "--out", scores) == 0
    assert astseg("evaluate", finished, rooms, "--out", tmp_path / "of-model", "--device", "cpu") == 0
    of_results, of_model = (
        read_scores(folder / "scores.json").summary.overall for folder in (scores, tmp_path / "of-model")
    )
    assert of_results.images == of_model.images == 4
    assert (of_results.miou, of_results.ari_fg, of_results.msc) == pytest.approx(
        (of_model.miou, of_model.ari_fg, of_model.msc)
    )


def test_mistakes(astseg: Program, rooms: Path, sequence: Path, tmp_path: Path) -> None:
    assert "no file or folder" in astseg.mistake("score", tmp_path / "nothing", sequence, "--out", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    message = astseg.mistake("score", tmp_path / "empty", sequence, "--out", tmp_path / "out")
    assert "holds no results" in message
    assert "Results are made by 'astseg segment'" in message
    np.save(tmp_path / "truth.npy", np.zeros((1, 9, 9), np.uint8))
    message = astseg.mistake("score", tmp_path / "truth.npy", sequence, "--out", tmp_path / "out")
    assert "Name the results first" in message
    assert "Name the results first" in astseg.mistake("score", rooms, sequence, "--out", tmp_path / "out")
    (tmp_path / "empty" / "shards.json").touch()
    message = astseg.mistake("score", tmp_path / "empty", sequence, "--out", tmp_path / "out")
    assert "holds results in shards" in message
    film = tmp_path / "film.mp4"
    assert f"Nothing true is known of {film}" in astseg.mistake("evaluate", "rooms", film, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_numbers_that_do_not_exist_are_null(astseg: Program, tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "found/a.png")
    assert astseg("score", tmp_path / "found", tmp_path / "found", "--out", tmp_path / "out") == 0
    assert "regions     AP -   AP 0.5 -   AR -   AR 0.5 -" in astseg.out
    assert "matched     0 of 0 true regions, 0 found" in astseg.out
    assert json.loads((tmp_path / "out/scores.json").read_text())["regions"]["precision"]["ap"] is None
