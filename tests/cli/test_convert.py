"""``astseg convert``, and ``segment --format``, which must write the same."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from tests.cli.conftest import Program

from astseg.inference.formats.converting import FORMATS

OF_ANY_RESULTS = [name for name in FORMATS if name != "mots"]  # which is for tracks
EVERY = ",".join(OF_ANY_RESULTS)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "overlay.mp4")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_tracks_go_into_the_formats(astseg: Program, finished: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "tracked"
    assert (
        astseg(
            "segment", finished, images, "--out", out, "--track", "--format", "coco,cvat,mots", "--categories", "1=left"
        )
        == 0
    )
    entries = json.loads((out / "objects.json").read_text())["images"]
    expected = [(found["track"], found["slot"]) for image in entries for found in image["objects"]]
    assert expected
    coco = json.loads((out / "coco/instances.json").read_text())["annotations"]
    cvat = json.loads((out / "cvat/annotations/instances_default.json").read_text())["annotations"]
    assert [one["track_id"] for one in coco] == [track for track, _ in expected]
    assert [(one["attributes"]["track_id"], one["attributes"]["slot"]) for one in cvat] == expected
    assert len((out / "mots/instances.txt").read_text().splitlines()) == len(expected)
    names = [one["name"] for one in json.loads((out / "coco/instances.json").read_text())["categories"]]
    assert [names[one["category_id"] - 1] == "left" for one in coco] == [slot == 1 for _, slot in expected]


@pytest.mark.parametrize("command", ["segment", "convert"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", ""), "Name a format: coco, yolo"),
        (("--format", " , "), "Name a format: coco, yolo"),
        (("--format", "coco", "--categories", ""), "names no kind of object"),
    ],
)
def test_empty_options(
    astseg: Program, command: str, options: tuple[str, ...], message: str, images: Path, tmp_path: Path
) -> None:
    words = ("segment", "rooms", images, "--out", tmp_path / "out") if command == "segment" else ("convert", images)
    assert message in astseg.mistake(*words, *options)
    assert not (tmp_path / "out").exists()


def test_mots_needs_tracks(astseg: Program, finished: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    message = astseg.mistake("segment", finished, images, "--out", out, "--format", "mots")
    assert "The option of 'astseg segment' is --track." in message
    assert not out.exists()


def test_at_once_or_afterwards(astseg: Program, finished: Path, images: Path, tmp_path: Path) -> None:
    choices = ("--categories", "1=left", "--tolerance", 1)
    at_once, afterwards = tmp_path / "once[1]", tmp_path / "after"
    assert astseg("segment", finished, images, "--out", at_once, "--format", EVERY, *choices) == 0
    lines = astseg.out.splitlines()
    assert lines[0].endswith(f": {at_once}")
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")][1:] == OF_ANY_RESULTS
    assert f"coco: {at_once}/coco/instances.json" in lines
    assert re.search(
        r"of \d+ objects, outlines simplified by 1 pixels keep an IoU of [01]\.\d{3} on average", astseg.out
    )
    assert astseg("segment", finished, images, "--out", afterwards) == 0
    assert astseg("convert", afterwards, "--format", "coco, yolo", *choices) == 0
    assert astseg("convert", afterwards, "--format", EVERY, *choices) == 0
    assert digests(at_once) == digests(afterwards)
    coco = COCO(at_once / "coco/instances.json")
    assert {category["name"] for category in coco.loadCats(coco.getCatIds())} == {"left", "object"}
    for image in coco.loadImgs(coco.getImgIds()):
        name = str(Path(image["file_name"]).with_suffix(".png"))
        with Image.open(at_once / "labels" / name) as labels:
            found = [coco.annToMask(one) for one in coco.loadAnns(coco.getAnnIds(image["id"]))]
            np.testing.assert_array_equal(sum(found, np.zeros(labels.size[::-1], np.uint8)), np.array(labels) > 0)


def test_images_that_have_moved(astseg: Program, finished: Path, images: Path, tmp_path: Path) -> None:
    assert astseg("segment", finished, images, "--out", tmp_path / "out") == 0
    images.rename(tmp_path / "moved")
    message = astseg.mistake("convert", tmp_path / "out", "--format", "yolo")
    assert message.endswith("Say where they are now. The option is --images.")
    assert astseg("convert", tmp_path / "out", "--format", "yolo", "--images", tmp_path / "moved") == 0
    assert len(list((tmp_path / "out/yolo/images").rglob("*.*g"))) == 6
    nowhere = ("--images", tmp_path / "nowhere")
    message = astseg.mistake("convert", tmp_path / "out", "--format", "labelstudio", *nowhere)
    assert f"There is no file or folder {tmp_path / 'nowhere'}." in message
    moved = ("--images", tmp_path / "moved")
    message = astseg.mistake("convert", tmp_path / "out", "--format", "coco,grey", *moved)
    assert "--images is for yolo, cutouts and labelstudio" in message
    assert not (tmp_path / "out/coco").exists()
    assert astseg("convert", tmp_path / "out", "--format", "coco,labelstudio", *moved) == 0
    (task, *_) = json.loads((tmp_path / "out/labelstudio/tasks.json").read_text())
    assert "?d=moved/" in task["data"]["image"]


def test_what_cannot_be_asked_is_refused_before_anything_is_segmented(
    astseg: Program, finished: Path, images: Path, tmp_path: Path
) -> None:
    cases = [
        (("--format", "cocoa"), "no format 'cocoa'. Did you mean 'coco'?"),
        (("--format", "coco", "--categories", "car"), "Categories look like 1=car,2=bus (slot=name), or 4 (kinds)"),
        (("--format", "coco", "--categories", "x=car"), "Categories look like"),
        (("--format", "coco", "--categories", "1=a/b"), "'a/b' cannot name"),
        (("--format", "coco", "--categories", "0"), "1 kind"),
        (("--format", "coco", "--categories", "1=a,1=b"), "Slot 1 is named twice"),
        (("--format", "coco", "--categories", "9" * 5000), "Categories look like"),
        (("--format", "coco", "--categories", "3=car"), "no slot 3 to name: the model has slots 1 to 2"),
        (("--categories", "3"), "--categories is for the formats of --format"),
        (("--format", "yolo", "--tolerance", -1), "--tolerance"),
        (("--tolerance", 1), "--tolerance is for the outlines of --format yolo"),
        (("--format", "coco", "--tolerance", 0), "--tolerance is for the outlines of --format yolo"),
    ]
    for arguments, message in cases:
        assert message in astseg.mistake("segment", finished, images, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_a_conversion_that_fails_leaves_the_results(
    astseg: Program, finished: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("segment", finished, images, "--out", out, "--format", "coco", "--categories", 200)
    assert "too few for 200 kinds" in astseg.mistake(*arguments)
    assert f"Formats are written by: astseg convert {out} --format coco" in " ".join(astseg.err.split())
    assert {path.name for path in out.iterdir()} == {"labels", "overlays", "objects.json"}
    assert astseg("convert", out, "--format", "grey", "--format", "coco,yolo") == 0
    assert all((out / name).is_dir() for name in ("grey", "coco", "yolo"))
    assert json.loads((out / "coco/instances.json").read_text())["info"]["model"] == str(finished)


@pytest.mark.parametrize(("arguments", "message"), [(("--format", ","), "Name a format: coco"), ((), "--format")])
def test_a_format_is_needed(astseg: Program, images: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in astseg.mistake("convert", images, *arguments)


def test_the_help_names_all_formats(astseg: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for command in ("segment", "convert"):
        assert astseg(command, "--help") == 0
        assert ", ".join(FORMATS) in " ".join(astseg.out.replace("│", " ").split())


def test_no_results(astseg: Program, images: Path) -> None:
    message = astseg.mistake("convert", images, "--format", "coco")
    assert (
        "holds no results: objects.json and labels/ should be in it. Results are made by 'astseg segment'." in message
    )
