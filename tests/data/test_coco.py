"""COCO files in all their forms, written here by hand, and damaged ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.inference.formats.decoders import cover_centers

from astseg._core.errors import AstSegError
from astseg.data.coco import CocoFile, CocoResults
from astseg.data.coco_masks import parse_counts, read_mask
from astseg.data.truth import CocoTruth, ImageName

SIZE = (12, 15)
SQUARE = [[2, 3, 8, 3, 8, 9, 2, 9]]


def uncompressed(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    counts, value = [0], 0
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def write(path: Path, annotations: list[dict[str, Any]], names: tuple[str, ...] = ("a.jpg",), **more: Any) -> Path:
    images = [{"id": 10 + number, "file_name": name, "height": 12, "width": 15} for number, name in enumerate(names)]
    content = {"images": images, "annotations": [{"image_id": 10, "iscrowd": 0} | one for one in annotations]}
    path.write_text(json.dumps(content | more))
    return path


@pytest.mark.parametrize("seed", range(5))
def test_all_forms_of_a_mask(seed: int) -> None:
    mask = np.random.default_rng(seed).random(SIZE) < 0.2 + 0.6 * (seed % 2)
    plain = uncompressed(mask.astype(int))
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    text = {"size": list(SIZE), "counts": encoded["counts"].decode()}
    assert parse_counts(text["counts"]) == plain["counts"]
    for form in (plain, text):
        np.testing.assert_array_equal(coco_mask.decode(read_mask(form, SIZE)), mask)


def test_polygons_are_joined() -> None:
    polygons = [[1, 1, 6, 1, 6, 5, 1, 5], [4, 3, 13, 3, 13, 10, 4, 10]]
    mask = coco_mask.decode(read_mask(polygons, SIZE)) > 0
    expected = [cover_centers(np.array(one, float).reshape(-1, 2), *SIZE) for one in polygons]
    np.testing.assert_array_equal(mask, expected[0] | expected[1])


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [12, 14], "counts": [168]}, r"size \[12, 14\]"),
        ({"size": [12, 15], "counts": [179]}, "not those of 12 x 15"),
        ({"size": [12, 15], "counts": [190, -10]}, "not those of"),
        ({"size": [12, 15], "counts": [180.0]}, "not those of"),
        ({"size": [12, 15], "counts": "d"}, "cut off"),
        ({"size": [12, 15], "counts": "ddddddddddd0"}, "damaged"),
        ({"size": [12, 15], "counts": "é"}, "damaged"),
        ({"size": [12, 15], "counts": ""}, "not those of"),
        ({"size": [12, 15]}, "not those of"),
        ([], "neither polygons nor RLE"),
        ("text", "neither polygons nor RLE"),
        (None, "neither polygons nor RLE; a box alone is no mask"),
        ([[1, 2, 3, 4]], "fewer than three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "half a point"),
        ([[1, 2, 3, 4, 5, "6"]], "other than numbers"),
        ([[1, 2, 3, 4, 5, 1e9]], "far outside"),
        ([[1, 2, 3, 4, 5, float("nan")]], "far outside"),
        ([[0, 0, 15, 12] * 300_000], "longer than"),
    ],
)
def test_damaged_masks_are_refused(segmentation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_mask(segmentation, SIZE)


def test_truth_has_instances_and_crowds(tmp_path: Path) -> None:
    crowd = np.zeros(SIZE, int)
    crowd[:, 12:] = 1
    large = [[0, 0, 9, 0, 9, 12, 0, 12]]
    annotations = [
        {"segmentation": SQUARE, "category_id": 3},
        {"segmentation": large, "category_id": 1},
        {"segmentation": uncompressed(crowd), "iscrowd": 1},
    ]
    truth = CocoTruth(write(tmp_path / "a.json", annotations, ("a.jpg", "b.jpg"))).find(ImageName("a"))
    assert truth is not None
    assert len(truth.regions.masks) == 2
    assert truth.regions.overlap
    assert (truth.regions.labels[4, 4], truth.regions.labels[0, 0], truth.regions.labels[0, 10]) == (1, 2, 0)
    np.testing.assert_array_equal(coco_mask.decode(truth.crowds[0]), crowd)
    empty = CocoTruth(tmp_path / "a.json").find(ImageName("b"))
    assert empty is not None
    assert empty.regions.masks == ()


@pytest.mark.parametrize(
    ("names", "asked", "expected"),
    [
        (("a.jpg", "b.jpg"), ImageName("b", "b.jpg"), "b.jpg"),
        (("train/a.jpg", "train/b.jpg"), ImageName("b", "b.png"), "train/b.jpg"),
        (("b.jpg",), ImageName("deep/b"), "b.jpg"),
        (("x\\b.jpg",), ImageName("b"), "x\\b.jpg"),
        (("a/b.jpg", "b.jpg"), ImageName("b", "b.jpg"), "b.jpg"),
        (("a/b.jpg", "c/b.jpg"), ImageName("b"), None),
        (("a/b.jpg", "c/b.jpg"), ImageName("c/b"), "c/b.jpg"),
        (("a.jpg",), ImageName("b"), None),
    ],
)
def test_images_are_found_by_name(tmp_path: Path, names: tuple[str, ...], asked: ImageName, expected: str) -> None:
    file = CocoFile(write(tmp_path / "a.json", [], names))
    found = file.find(asked.file_name or asked.name)
    assert (None if found is None else found.file_name) == expected


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        (ImageName("photo", "photo.jpg"), True),
        (ImageName("photo", "photo.png"), True),
        (ImageName("photo"), True),
        (ImageName("photo.v2", "photo.v2.jpg"), False),
        (ImageName("photo.v2"), False),
    ],
)
def test_a_name_without_suffix_loses_nothing_more(tmp_path: Path, asked: ImageName, known: bool) -> None:
    truth = CocoTruth(write(tmp_path / "a.json", [], ("photo.jpg", "other.jpg")))
    assert (truth.find(asked) is not None) == known


def test_sides_of_a_table_are_whole_numbers_too(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg", "height": 12.0, "width": 15.0}]
    path = write(tmp_path / "a.json", [{"image_id": 1, "segmentation": SQUARE, "iscrowd": False}], images=images)
    truth = CocoTruth(path).find(ImageName("a"))
    assert truth is not None
    assert truth.regions.labels.shape == SIZE
    assert truth.regions.labels[4, 4] == 1


def test_two_images_of_one_id_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [], ("a.jpg", "b.jpg"))
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["id"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(AstSegError, match=r"a\.json is not a file .*two images have the id 7\."):
        CocoFile(path)


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match=r"a\.json is not a file .*two images are called a\.jpg"):
        CocoFile(write(tmp_path / "a.json", [], ("a.jpg", "b.jpg", "a.jpg")))


def test_results_of_a_list(tmp_path: Path) -> None:
    images = CocoFile(write(tmp_path / "truth.json", [], ("a.jpg", "b.jpg")))
    path = tmp_path / "found.json"
    entry = {"category_id": 1, "segmentation": SQUARE}
    path.write_text(json.dumps([entry | {"image_id": 11, "score": 0.5}, entry | {"image_id": 11, "score": 1}]))
    results = CocoResults(path, images)
    assert [image.file_name for image in results.images] == ["a.jpg", "b.jpg"]
    nothing, both = map(results.regions, results.images)
    assert (nothing.masks, both.scores) == ((), (0.5, 1.0))
    assert set(np.unique(both.labels)) == {0, 2}  # the higher score is above
    with pytest.raises(AstSegError, match="tells its images by number"):
        CocoResults(path)
    path.write_text(json.dumps([entry | {"image_id": 7}]))
    with pytest.raises(AstSegError, match=r"has an image 7, which .*truth\.json does not have"):
        CocoResults(path, images)


def test_results_with_images_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "found.json", [{"segmentation": SQUARE}])
    results = CocoResults(path)
    assert results.regions(results.images[0]).scores is None
    entry: dict[str, Any] = {"segmentation": SQUARE}
    for entries, message in (
        ([entry | {"score": "x"}], "not a finite number"),
        ([entry | {"score": float("nan")}], "not a finite number"),
    ):
        results = CocoResults(write(path, entries))
        with pytest.raises(AstSegError, match=message):
            results.regions(results.images[0])
    path = write(path, [entry | {"score": 1}], ("a.jpg", "b.jpg"))
    content = json.loads(path.read_text())
    content["annotations"].append(entry | {"image_id": content["images"][1]["id"]})
    path.write_text(json.dumps(content))
    with pytest.raises(AstSegError, match=r"found\.json gives only some objects a score"):
        CocoResults(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as JSON"),
        ("3", "holds int"),
        ("[]", "what names the images"),
        (
            '[{"id": 1, "data": {"image": "a.jpg"}, "annotations": []}]',
            "Label Studio's tasks, which it can export as COCO",
        ),
        ('{"images": []}', "no 'annotations'"),
        ('{"images": [{"id": 1, "file_name": "a", "height": 0, "width": 3}], "annotations": []}', "0 x 3 pixels"),
        ('{"images": [{"id": 1, "file_name": "a", "height": 99999, "width": 99999}], "annotations": []}', "99999"),
        (
            '{"images": [{"id": [], "file_name": "a", "height": 9, "width": 9}], "annotations": []}',
            "a value of another kind than is expected",
        ),
        ('{"images": 5, "annotations": []}', "a value of another kind than is expected"),
        ('{"images": [5], "annotations": []}', "a value of another kind than is expected"),
        ('{"images": [], "annotations": null}', "a value of another kind than is expected"),
        ('{"images": [], "annotations": [{"image_id": 4}]}', "an annotation names image 4, which 'images' lacks"),
        (
            '{"images": [{"id": "4", "file_name": "a", "height": 9, "width": 9}], "annotations": [{"image_id": "5"}]}',
            "an annotation names image '5', which 'images' lacks",
        ),
        *(
            (f'{{"images": [{{"id": 1, "file_name": "a", "height": {side}, "width": 9}}], "annotations": []}}', message)
            for side, message in (('"9"', "height '9' and width 9, which should be whole"), ("9.5", "height 9.5 and"))
        ),
        *(
            (
                '{"images": [{"id": 1, "file_name": "a", "height": 9, "width": 9}], '
                f'"annotations": [{{"image_id": 1, "iscrowd": {crowd}}}]}}',
                f"'iscrowd' of an annotation is {shown}, and should be 0 or 1",
            )
            for crowd, shown in (('"0"', "'0'"), ("2", "2"), ("[]", r"\[\]"))
        ),
        ('{"images": [], "annotations": [4]}', "not a file of COCO's instances: a value of another kind"),
        (
            '{"images": [{"id": 1, "file_name": "", "height": 9, "width": 9}], "annotations": []}',
            "no file name",
        ),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(AstSegError, match=message):
        CocoFile(path)
    with pytest.raises(AstSegError, match="There is no file"):
        CocoFile(tmp_path / "b.json")


def test_a_damaged_annotation_is_named(tmp_path: Path) -> None:
    for entry, message in (({}, "there is no 'segmentation'"), ({"segmentation": [[1]]}, "three points")):
        truth = CocoTruth(write(tmp_path / "a.json", [entry]))
        with pytest.raises(AstSegError, match=rf"a\.json has, of a\.jpg, .*{message}"):
            truth.find(ImageName("a"))
    path = tmp_path / "results.json"
    path.write_text("[4]")
    with pytest.raises(AstSegError, match="not a file of COCO's results: a value of another kind"):
        CocoResults(path, CocoFile(tmp_path / "a.json"))
