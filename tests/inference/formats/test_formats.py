"""Each format, read back by a reader that shares nothing with its writer."""

import json
import re
import shutil
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools.coco import COCO
from scipy.ndimage import label as find_parts
from tests.inference.formats.conftest import ReadingModel, make_results
from tests.inference.formats.decoders import cover_centers, decode_brush, decode_coco_counts

from astseg import __version__
from astseg._core.image_files import Bytes
from astseg.data.opening import open_source
from astseg.data.store_writer import StoreWriter
from astseg.data.video_writer import VideoWriter
from astseg.inference.formats.converting import WRITTEN_FILE, FormatRequest, convert_results
from astseg.inference.formats.outlines import polygon_to_mask
from astseg.inference.segmenting import segment_source


def convert(results: Path, name: str, **choices: Any) -> Path:
    """Write one format, and return its folder."""
    convert_results(results, FormatRequest((name,), **choices))
    return results / name


def labels_in(labels: Bytes) -> list[int]:
    return [label for label in np.unique(labels).tolist() if label]


def labels_of(image: Path) -> Path:
    """Return the file in which YOLO looks for an image's labels."""
    return Path("/labels/".join(str(image).rsplit("/images/", 1))).with_suffix(".txt")


def read_yolo(line: str, labels: Bytes) -> tuple[int, Any]:
    """Return the category and the points of a line in pixels."""
    category, *numbers = line.split()
    assert len(numbers) >= 6
    shares = np.array(numbers, float).reshape(-1, 2)
    assert (shares >= 0).all()
    assert (shares <= 1).all()
    return int(category), shares * labels.shape[::-1]


class TestCoco:
    def test_pixels_boxes_and_areas(self, results: Path, masks: dict[str, Bytes]) -> None:
        coco = COCO(convert(results, "coco") / "instances.json")
        assert coco.getImgIds() == list(range(1, len(masks) + 1))
        assert coco.getAnnIds() == list(range(1, sum(len(labels_in(labels)) for labels in masks.values()) + 1))
        for image in coco.loadImgs(coco.getImgIds()):
            labels = masks[image["file_name"]]
            assert (image["height"], image["width"]) == labels.shape
            found = coco.loadAnns(coco.getAnnIds(image["id"]))
            for number, annotation in zip(labels_in(labels), found, strict=True):
                mask = labels == number
                np.testing.assert_array_equal(coco.annToMask(annotation), mask)
                counts = annotation["segmentation"]["counts"]
                np.testing.assert_array_equal(decode_coco_counts(counts, *labels.shape), mask)
                rows, columns = np.nonzero(mask)
                left, top, width, height = annotation["bbox"]
                assert (left, top, left + width, top + height) == (
                    *(columns.min(), rows.min()),
                    *(columns.max() + 1, rows.max() + 1),
                )
                assert annotation["area"] == mask.sum()
                assert (annotation["iscrowd"], annotation["category_id"]) == (0, 1)

    def test_says_where_it_comes_from(self, results: Path) -> None:
        content = json.loads((convert(results, "coco") / "instances.json").read_text())
        assert content["info"]["version"] == __version__
        assert content["info"]["model"] == "reader"
        assert content["categories"] == [{"id": 1, "name": "object", "supercategory": "object"}]
        assert {path.name for path in (results / "coco").iterdir()} == {"instances.json", WRITTEN_FILE}

    def test_cvat_adds_the_slot(self, results: Path, masks: dict[str, Bytes]) -> None:
        plain = json.loads((convert(results, "coco") / "instances.json").read_text())
        folder = convert(results, "cvat")
        content = json.loads((folder / "annotations/instances_default.json").read_text())
        files = {image["id"]: image["file_name"] for image in content["images"]}
        for annotation in content["annotations"]:
            attributes = annotation.pop("attributes")
            labels = masks[files[annotation["image_id"]]]
            mask = decode_coco_counts(annotation["segmentation"]["counts"], *labels.shape)
            assert set(labels[mask]) == {attributes["slot"]}
        assert content == plain
        (label,) = json.loads((folder / "labels.json").read_text())
        assert label["name"] == "object"
        assert label["attributes"][0]["name"] == "slot"


class TestYolo:
    def test_outlines_that_are_not_simplified_hold_the_same_pixels(
        self, results: Path, masks: dict[str, Bytes]
    ) -> None:
        folder = convert(results, "yolo", tolerance=0)
        for file, labels in masks.items():
            image = folder / "images" / file
            assert image.read_bytes() == (results.parent / "pictures" / file).read_bytes()
            lines = labels_of(image).read_text().splitlines()
            for number, line in zip(labels_in(labels), lines, strict=True):
                category, polygon = read_yolo(line, labels)
                assert category == 0
                np.testing.assert_array_equal(cover_centers(polygon, *labels.shape), labels == number)
                if find_parts(labels == number)[1] == 1:
                    np.testing.assert_array_equal(polygon_to_mask(polygon, *labels.shape), labels == number)

    @pytest.mark.parametrize("tolerance", [0, 0.5, 2])
    def test_says_what_outlines_keep(self, results: Path, masks: dict[str, Bytes], tolerance: float) -> None:
        (written,) = convert_results(results, FormatRequest(("yolo",), tolerance=tolerance))
        assert written.path == results / "yolo/data.yaml"
        overlaps = []
        for file, labels in masks.items():
            lines = labels_of(results / "yolo/images" / file).read_text().splitlines()
            for number, line in zip(labels_in(labels), lines, strict=True):
                kept = polygon_to_mask(read_yolo(line, labels)[1], *labels.shape)
                overlaps.append((kept & (labels == number)).sum() / (kept | (labels == number)).sum())
        assert written.note is not None
        assert f"of {len(overlaps)} objects" in written.note
        assert f"{np.mean(overlaps):.3f} on average, {min(overlaps):.3f} at worst" in written.note
        assert f"by {tolerance:g} pixels" in written.note

    def test_the_list_of_categories(self, tmp_path: Path) -> None:
        results = make_results(tmp_path, {"a.png": np.eye(9, dtype=np.uint8)})
        text = (convert(results, "yolo", categories={2: "big car", 1: "bus"}) / "data.yaml").read_text()
        assert "train: images\nval: images\n" in text
        assert re.findall(r"^  (\d): (.*)$", text, re.MULTILINE) == [
            ("0", '"big car"'),
            ("1", '"bus"'),
            ("2", '"object"'),
        ]

    def test_images_that_it_would_read_otherwise_are_written_anew(self, tmp_path: Path) -> None:
        labels = np.zeros((20, 30), np.uint8)
        labels[3:9, 4:20] = 200
        folder = tmp_path / "pictures"
        folder.mkdir()
        turned = Image.fromarray(np.stack([labels.T] * 3, 2)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        exif = Image.Exif()
        exif[0x0112] = 6
        turned.save(folder / "turned.png", exif=exif)
        Image.fromarray(labels).save(folder / "grey.tga")
        Image.fromarray(labels).save(folder / "two.tif", save_all=True, append_images=[Image.fromarray(labels)])
        segment_source(ReadingModel(), open_source(folder), tmp_path / "results")
        images = convert(tmp_path / "results", "yolo") / "images"
        found = {path.relative_to(images).as_posix(): path for path in images.rglob("*.*")}
        assert set(found) == {"turned.png", "grey.png", "two/000000.png", "two/000001.png"}
        for path in found.values():
            with Image.open(path) as image:
                assert not image.getexif()
                assert (np.array(image)[..., 0] == labels).mean() > 0.99

    def test_what_is_transparent_is_white_as_it_was_seen(self, tmp_path: Path) -> None:
        colors = np.zeros((20, 30, 4), np.uint8)
        colors[3:9, 4:20] = 255
        (tmp_path / "pictures").mkdir()
        Image.fromarray(colors).save(tmp_path / "pictures/clear.png")
        segment_source(ReadingModel(), open_source(tmp_path / "pictures"), tmp_path / "results")
        with Image.open(convert(tmp_path / "results", "yolo") / "images/clear.png") as image:
            assert image.mode == "RGB"
            assert np.array(image).min() == 255

    def test_images_that_have_another_ending_now(self, tmp_path: Path) -> None:
        picture = np.full((20, 30, 3), 7, np.uint8)
        (tmp_path / "pictures").mkdir()
        Image.fromarray(picture).save(tmp_path / "pictures/a.bmp")
        segment_source(ReadingModel(), open_source(tmp_path / "pictures"), tmp_path / "results")
        (tmp_path / "pictures/a.bmp").unlink()
        Image.fromarray(picture).save(tmp_path / "pictures/a.png")
        with Image.open(convert(tmp_path / "results", "yolo") / "images/a.png") as image:
            np.testing.assert_array_equal(np.array(image), picture)

    def test_no_objects_no_note(self, tmp_path: Path) -> None:
        results = make_results(tmp_path, {"a.png": np.zeros((9, 8), np.uint8)})
        (written,) = convert_results(results, FormatRequest(("yolo",)))
        assert written.note is None
        assert (results / "yolo/labels/a.txt").read_text() == ""


def test_label_studio(results: Path, masks: dict[str, Bytes]) -> None:
    folder = convert(results, "labelstudio", categories={1: "a 'big' & small car"})
    view = ElementTree.parse(folder / "config.xml").getroot()
    image_tag, brush_tag = view.find("Image"), view.find("BrushLabels")
    assert image_tag is not None
    assert brush_tag is not None
    names = [label.get("value") for label in brush_tag]
    assert names == ["a 'big' & small car", "object"]
    tasks = json.loads((folder / "tasks.json").read_text())
    assert len(tasks) == len(masks)
    for task in tasks:
        address = unquote(task["data"]["image"])
        assert image_tag.get("value") == "$image"
        assert address.startswith("/data/local-files/?d=pictures/")
        labels = masks[address.removeprefix("/data/local-files/?d=pictures/")]
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "reader"
        regions = prediction["result"]
        assert len({region["id"] for region in regions}) == len(regions)
        for number, region in zip(labels_in(labels), regions, strict=True):
            assert (region["from_name"], region["to_name"]) == (brush_tag.get("name"), image_tag.get("name"))
            assert (region["original_height"], region["original_width"]) == labels.shape
            assert region["value"]["brushlabels"] == [names[number > 1]]
            brush = decode_brush(region["value"]["rle"], *labels.shape)
            np.testing.assert_array_equal(brush, np.repeat(255 * (labels == number)[..., None], 4, 2))


def test_long_runs_of_a_brush(tmp_path: Path) -> None:
    labels = np.zeros((300, 200), np.uint8)
    labels[100:270] = 1
    results = make_results(tmp_path, {"a.png": labels})
    (task,) = json.loads((convert(results, "labelstudio") / "tasks.json").read_text())
    (region,) = task["predictions"][0]["result"]
    np.testing.assert_array_equal(decode_brush(region["value"]["rle"], 300, 200)[..., 3] > 0, labels > 0)


def test_cutouts(results: Path, masks: dict[str, Bytes]) -> None:
    folder = convert(results, "cutouts", categories={9: "whole"})
    count = 0
    for file, labels in masks.items():
        with Image.open(results.parent / "pictures" / file) as image:
            colors = np.array(image)
        for number in labels_in(labels):
            path = folder / ("whole" if number == 9 else "object") / f"{file.removesuffix('.png')}-{number}.png"
            with Image.open(path) as image:
                assert image.mode == "RGBA"
                cut = np.array(image)
            rows, columns = np.nonzero(labels == number)
            box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
            mask = labels[box] == number
            np.testing.assert_array_equal(cut[..., 3], 255 * mask)
            np.testing.assert_array_equal(cut[..., :3], colors[box] * mask[..., None])
            count += 1
    assert count == len(list(folder.rglob("*.png")))


def test_parquet(results: Path, masks: dict[str, Bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astseg.inference.formats.parquet.ROWS_PER_GROUP", 4)
    rows = pq.read_table(convert(results, "parquet") / "objects.parquet").to_pylist()
    expected = [(file, number) for file, labels in masks.items() for number in labels_in(labels)]
    assert sorted((row["file_name"], row["label"]) for row in rows) == sorted(expected)
    for row in rows:
        labels = masks[row["file_name"]]
        assert (row["height"], row["width"]) == labels.shape
        mask = decode_coco_counts(row["rle"], *labels.shape)
        np.testing.assert_array_equal(mask, labels == row["label"])
        assert row["area"] == mask.sum()
        inside = mask[row["top"] : row["top"] + row["box_height"], row["left"] : row["left"] + row["box_width"]]
        assert inside.sum() == mask.sum()
        assert row["appearance"] == pytest.approx([row["label"] / 255, 100 * (row["label"] % 3)], abs=1e-4)
        assert (row["image"], row["category"], row["activation"]) == (
            row["file_name"].removesuffix(".png"),
            "object",
            1,
        )
        assert row["time"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
def test_parquet_of_names_that_are_no_utf8(tmp_path: Path) -> None:
    results = make_results(tmp_path, {"caf\udce9.png": np.ones((4, 5), np.uint8)})
    (row,) = pq.read_table(convert(results, "parquet") / "objects.parquet").to_pylist()
    assert (row["image"], row["file_name"]) == ("caf\\xe9", "caf\\xe9.png")


def test_grey(results: Path, masks: dict[str, Bytes]) -> None:
    folder = convert(results, "grey")
    for file, labels in masks.items():
        with Image.open(folder / file) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.array(image), labels)


def test_a_film(tmp_path: Path) -> None:
    frame = np.zeros((32, 48, 3), np.uint8)
    with VideoWriter(tmp_path / "film.mp4", Fraction(10)) as writer:
        for index in range(6):
            frame[8:24, 8 + index : 24 + index] = 40 * index
            writer.append(frame)
    source = open_source(tmp_path / "film.mp4", every=2)
    results = tmp_path / "results"
    segment_source(ReadingModel(), source, results)
    convert_results(results, FormatRequest(("coco", "yolo", "labelstudio", "parquet")))
    names = ["000000.png", "000002.png", "000004.png"]
    content = json.loads((results / "coco/instances.json").read_text())
    assert [image["file_name"] for image in content["images"]] == names
    for name, sample in zip(names, source, strict=True):
        with Image.open(results / "yolo/images" / name) as image:
            np.testing.assert_array_equal(np.array(image), sample.image)
    tasks = json.loads((results / "labelstudio/tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [f"/data/local-files/?d=images/{name}" for name in names]
    assert tasks[0]["predictions"][0]["model_version"] == "astseg"
    times = {row["image"]: row["time"] for row in pq.read_table(results / "parquet/objects.parquet").to_pylist()}
    assert times["000004"] == pytest.approx(0.4)


def test_the_split_of_prepared_data(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 3, (3, 16, 16, 3), dtype=np.uint8)
    with StoreWriter(tmp_path / "data", (16, 16), "noise", "none") as writer:
        with writer.split("train") as split:
            split.append(images[:2])
        with writer.split("test") as split:
            split.append(images[2:])
    segment_source(ReadingModel(), open_source(tmp_path / "data", "train"), tmp_path / "results")
    folder = convert(tmp_path / "results", "yolo") / "images"
    for path, expected in zip(sorted(folder.iterdir()), images[:2], strict=True):
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.array(image), expected)


def test_a_file_name_may_be_whatever_the_disk_says(tmp_path: Path) -> None:
    name = "caf\udce9"  # Latin-1 read as UTF-8
    results = make_results(tmp_path, {"a.png": np.eye(12, dtype=np.uint8)})
    shutil.move(tmp_path / "pictures/a.png", tmp_path / f"pictures/{name}.png")
    shutil.rmtree(results)
    segment_source(ReadingModel(), open_source(tmp_path / "pictures"), results)
    convert_results(results, FormatRequest(("coco", "yolo", "cvat", "labelstudio", "cutouts", "grey")))
    (image,) = json.loads((results / "coco/instances.json").read_bytes().decode())["images"]
    assert image["file_name"] == f"{name}.png"
    (task,) = json.loads((results / "labelstudio/tasks.json").read_bytes().decode())
    assert task["data"]["image"].endswith("caf%E9.png")
    assert (results / f"yolo/labels/{name}.txt").is_file()
