"""What astseg writes, read by the programs that it is written for, which are installed in an environment of their own.

Each file of `other_programs` is run there and prints what it found. ``make test`` sets the environment up.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as mask_utils
from scipy.ndimage import label as find_parts
from tests.evaluation.test_tracking import overlaps, random_tracks
from tests.inference.formats.conftest import ReadingModel, draw_masks, make_results

from astseg._core.image_files import Bytes
from astseg.data.opening import open_source
from astseg.evaluation.tracking import score_tracks
from astseg.inference.formats.converting import FormatRequest, convert_results
from astseg.inference.segmenting import segment_source

HERE = Path(__file__).parent
PYTHON = HERE.parent / ".venv-other-programs/bin/python"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="`make other-programs` installs the other programs")


def ask(name: str, *arguments: object) -> Any:
    """Run a file of `other_programs`, and return what it prints."""
    command = [PYTHON, "-W", "ignore", HERE / "other_programs" / f"{name}.py", *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pixels_of(labels: Bytes) -> list[list[int]]:
    """Return the pixels of each label, counted along the rows."""
    return [np.flatnonzero(labels == label).tolist() for label in np.unique(labels) if label]


def draw_film(steps: int = 12) -> dict[str, Bytes]:
    """Return frames in which two things cross, one is hidden for a while, and slots are exchanged."""
    film = {}
    for step in range(steps):
        labels = np.zeros((30, 64), np.uint8)
        labels[3:12, 2 + 4 * step : 12 + 4 * step] = 3 if step < 5 else 6
        labels[8:17, 50 - 4 * step : 58 - 4 * step] = 9
        if step % 5 != 4:
            labels[20:26, 30:36] = 1 + step % 2
        film[f"{step:02d}.png"] = labels
    return film


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    """A folder of results with tracks."""
    make_results(tmp_path, draw_film())
    segment_source(ReadingModel(), open_source(tmp_path / "pictures"), tmp_path / "tracks", track=True)
    return tmp_path / "tracks"


def test_datumaro_reads_the_form_for_cvat(tmp_path: Path) -> None:
    masks = draw_masks()
    results = make_results(tmp_path, masks)
    convert_results(results, FormatRequest(("cvat",), {1: "car", 2: "person"}))
    shutil.copytree(tmp_path / "pictures", results / "cvat/images")
    images = {image["id"]: image for image in ask("datumaro_objects", "coco_instances", results / "cvat")}
    assert set(images) == {name.removesuffix(".png") for name in masks}
    for name, labels in masks.items():
        image = images[name.removesuffix(".png")]
        assert image["size"] == list(labels.shape)
        assert sorted(found["pixels"] for found in image["objects"]) == sorted(pixels_of(labels))
        for found in image["objects"]:
            slot = found["attributes"]["slot"]
            assert slot == labels.flat[found["pixels"][0]]
            assert found["category"] == {1: "car", 2: "person"}.get(slot, "object")
            assert not found["attributes"]["is_crowd"]


def test_datumaro_reads_mots(tracks: Path) -> None:
    names = {slot: f"kind {slot}" for slot in range(1, 13)}
    convert_results(tracks, FormatRequest(("mots", "cvat"), names))
    shutil.copytree(tracks.parent / "pictures", tracks / "cvat/images")
    as_mots = ask("datumaro_objects", "mots", tracks / "mots")
    as_coco = sorted(ask("datumaro_objects", "coco_instances", tracks / "cvat"), key=lambda image: str(image["id"]))
    first: dict[int, str] = {}  # a track keeps its first category in MOTS
    for image, other, labels in zip(as_mots, as_coco, draw_film().values(), strict=True):
        assert sorted(found["pixels"] for found in image["objects"]) == sorted(pixels_of(labels))
        expected = {}
        for found in other["objects"]:
            category = first.setdefault(found["attributes"]["track_id"], found["category"])
            expected[tuple(found["pixels"])] = category
        assert {tuple(found["pixels"]): found["category"] for found in image["objects"]} == expected
    assert {"kind 1", "kind 3", "kind 9"} <= set(first.values())


def test_label_studio_reads_its_brushes(tmp_path: Path) -> None:
    masks = draw_masks()
    results = make_results(tmp_path, masks)
    convert_results(results, FormatRequest(("labelstudio",), {1: "a 'big' & small car"}))
    tasks = {task["image"]: task for task in ask("label_studio_objects", results / "labelstudio")}
    assert len(tasks) == len(masks)
    for name, labels in masks.items():
        task = tasks[f"/data/local-files/?d=pictures/{quote(name)}"]
        assert task["errors"] == []
        assert [found["pixels"] for found in task["objects"]] == pixels_of(labels)
        kinds = ["a 'big' & small car" if label == 1 else "object" for label in np.unique(labels) if label]
        assert [found["category"] for found in task["objects"]] == kinds


def test_opencv_fills_the_outlines_of_yolo(tmp_path: Path) -> None:
    masks = {name: labels for name, labels in draw_masks().items() if "/" not in name and name.isascii()}
    results = make_results(tmp_path, masks)
    convert_results(results, FormatRequest(("yolo",), tolerance=0))
    images = ask("opencv_outlines", results / "yolo")
    assert [image["image"] for image in images] == sorted(name.removesuffix(".png") for name in masks)
    for image in images:
        for found, pixels in zip(image["objects"], pixels_of(masks[image["image"] + ".png"]), strict=True):
            mask = np.zeros(masks[image["image"] + ".png"].shape, bool)
            mask.flat[pixels] = True
            assert set(pixels) <= set(found["pixels"])
            if find_parts(mask)[1] == 1:
                assert found["pixels"] == pixels


def write_mots(path: Path, film: Sequence[npt.NDArray[np.integer]]) -> Path:
    """Write tracks as a list of MOTS, by pycocotools."""
    lines = []
    for frame, image in enumerate(film):
        for track in np.unique(image[image > 0]).tolist():
            counts = mask_utils.encode(np.asfortranarray(image == track, np.uint8))["counts"].decode()
            lines.append(f"{frame} {1000 + track} 1 {image.shape[0]} {image.shape[1]} {counts}\n")
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("seed", range(4))
def test_trackeval_scores_tracks_alike(tmp_path: Path, seed: int) -> None:
    truth, found = random_tracks(seed)
    # It takes an IoU of just 0.5 for a match, and the papers (and astseg) take more.
    for true, tracks, ious in zip(truth, found, overlaps(truth, found), strict=True):
        for name, track in (pair for pair, iou in ious.items() if iou == 0.5):
            tracks[(tracks == track) & (true == name)] = 0
    lists = [write_mots(tmp_path / name, film) for name, film in (("true", truth), ("found", found))]
    scores = ask("trackeval_scores", *lists, len(truth))
    assert scores == pytest.approx(asdict(score_tracks(truth, found)))
    assert scores["switches"] > 5


def test_trackeval_reads_mots(tracks: Path, tmp_path: Path) -> None:
    truth = [
        np.select([(image == 3) | (image == 6), image == 9, image > 0], [1, 2, 3]) for image in draw_film().values()
    ]
    convert_results(tracks, FormatRequest(("mots",)))
    scores = ask("trackeval_scores", write_mots(tmp_path / "true", truth), tracks / "mots/instances.txt", len(truth))
    found = [np.array(Image.open(path)) for path in sorted((tracks / "mots/instances").glob("*.png"))]
    assert scores == pytest.approx(asdict(score_tracks(truth, found)))
    assert scores["hota"] > 0.9
