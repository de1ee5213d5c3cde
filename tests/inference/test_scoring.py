"""Scoring of images from anywhere: the same scores as of prepared data, and the same by every form of truth."""

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from pycocotools import mask as coco_mask
from tests.data.films import write_film

from astseg._core.errors import AstSegError
from astseg._core.image_files import EXIF_TRANSPOSES, Bytes
from astseg.data.opening import open_source
from astseg.data.scenes import make_store
from astseg.data.store_writer import StoreWriter
from astseg.data.truth import open_truth
from astseg.data.watching import WatchedFolder
from astseg.evaluation.evaluator import Evaluation, evaluate
from astseg.evaluation.image_evaluator import ImageEvaluator
from astseg.evaluation.region_scores import WITHOUT_SCORES, RegionCounter
from astseg.hub.loading import load_model
from astseg.inference.formats.converting import FormatRequest, convert_results
from astseg.inference.scoring import score_results, score_source
from astseg.inference.segmenting import segment_source
from astseg.model.ast_seg import AstSeg

SIZE = (20, 30)


def save(path: Path, values: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def test_a_name_in_place_of_a_model_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "image.png", np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(TypeError, match=r"score_source takes a model, such as load_model\('rooms'\), not a str"):
        score_source("rooms", open_source(tmp_path))  # type: ignore[arg-type]


def assert_same_scores(first: Evaluation, second: Evaluation) -> None:
    for field in fields(first.scores):
        np.testing.assert_allclose(getattr(first.scores, field.name), getattr(second.scores, field.name))
    assert first.regions is not None
    assert second.regions is not None
    for name in ("foreground", "panoptic", "precision", "true_regions", "matched_regions", "found_regions"):
        assert getattr(first.regions, name) == getattr(second.regions, name)


def test_a_model_scores_on_images_as_on_prepared_data(tmp_path: Path) -> None:
    split = make_store(tmp_path / "store", "rooms", {"test": 4}, seed=1, image_size=64, workers=1)["test"]
    assert split.masks is not None
    for index, (image, mask) in enumerate(zip(split.images, split.masks, strict=True)):
        save(tmp_path / f"data/images/{index}.png", np.array(image))
        save(tmp_path / f"data/masks/{index}.png", np.array(mask))
    model = load_model("rooms")
    prepared = evaluate(model, split, regions=RegionCounter())
    done: list[tuple[int, int | None]] = []
    source = open_source(tmp_path / "data")
    scored = score_source(model, source, batch_size=3, progress=lambda *state: done.append(state))
    assert prepared.regions is not None
    assert prepared.regions.foreground.shadow_claimed is not None
    assert scored.evaluation.regions is not None
    assert scored.evaluation.regions.precision == prepared.regions.precision
    assert scored.evaluation.regions.panoptic == prepared.regions.panoptic
    assert scored.evaluation.regions.foreground.f_measure == prepared.regions.foreground.f_measure
    for field in fields(prepared.scores):
        np.testing.assert_allclose(getattr(scored.evaluation.scores, field.name), getattr(prepared.scores, field.name))
    assert scored.evaluation.names == tuple(f"images/{index}" for index in range(4))
    assert (scored.left_out, scored.skipped) == ((), ())
    assert scored.evaluation.summary().num_slots == model.num_slots
    assert done == [(3, 4), (4, 4)]
    assert "the layer with the largest weight" in scored.evaluation.protocol


def test_images_without_truth_are_told(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[8:20, 8:20] = 1
    for index in range(3):
        save(tmp_path / f"data/images/{index}.png", image)
    save(tmp_path / "data/masks/0.png", mask)
    save(tmp_path / "data/masks/1.png", mask[:9])
    model = load_model("rooms")
    scored = score_source(model, open_source(tmp_path / "data"))
    assert (scored.evaluation.names, scored.left_out) == (("images/0",), ("images/2.png",))
    ((name, reason),) = scored.skipped
    assert name == "images/1"
    assert "pixels, its image" in reason
    with pytest.raises(AstSegError, match="Nothing true is known of any image"):
        score_source(model, open_source(tmp_path / "data/images/2.png"))
    sequence = tmp_path / "sequence"
    save(sequence / "groundtruth/gt000009.png", mask)
    with pytest.raises(AstSegError, match=r"says nothing of any image in .*data; one is called images/2\.png"):
        score_source(model, open_source(tmp_path / "data"), open_truth(sequence, None))


@pytest.fixture
def pairs() -> dict[str, tuple[Bytes, Bytes]]:
    """What was found, and what is true: rectangles that grow, shrink and go."""
    random = np.random.default_rng(0)
    made = {}
    for name in ("a", "b/c", "b/d"):
        found, true = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
        for label in range(1, 5):
            top, left = random.integers(0, 12), random.integers(0, 3) + 7 * (label - 1)
            true[top : top + 8, left : left + 5] = label
            found[top + label // 3 : top + 8, left : left + 5] = 5 - label
        found[:, 24:] = 0
        made[name] = found, true
    return made


def write_coco(path: Path, labels: dict[str, Bytes], scores: bool = False) -> Path:
    images, annotations = [], []
    for number, (name, image) in enumerate(labels.items(), 1):
        images.append({"id": number, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]})
        for label in sorted(set(np.unique(image)) - {0}):
            rle = coco_mask.encode(np.asfortranarray(image == label, np.uint8))
            entry: dict[str, Any] = {"image_id": number, "category_id": 1, "iscrowd": 0}
            entry["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
            annotations.append(entry | ({"score": int((image == label).sum())} if scores else {}))
    content = annotations if scores else {"images": images, "annotations": annotations}
    path.write_text(json.dumps(content))
    return path


def save_a_mask_of_two_images(folder: Path) -> None:
    """Save three images and two masks, of which one is called like two of the images."""
    random = np.random.default_rng(0)
    for name in ("1.png", "1.jpg", "2.png"):
        save(folder / "images" / name, random.integers(0, 256, (64, 64, 3), np.uint8))
    for name in ("1.png", "2.png"):
        save(folder / "true" / name, np.eye(64, dtype=np.uint8))


def test_a_mask_of_two_images_is_of_neither_in_any_form_of_results(tmp_path: Path) -> None:
    save_a_mask_of_two_images(tmp_path)
    own = tmp_path / "own"
    segment_source(load_model("rooms"), open_source(tmp_path / "images"), own)
    (coco,) = convert_results(own, FormatRequest(("coco",)))
    (tmp_path / "images/1.jpg").unlink()
    segment_source(load_model("rooms"), open_source(tmp_path / "images"), tmp_path / "fewer")
    (truth,) = convert_results(tmp_path / "fewer", FormatRequest(("coco",)))
    for results in (own, coco.path):  # the truth says which of the two it means
        scored = score_results(results, truth.path)
        assert (scored.evaluation.names, scored.left_out) == (("1.png", "2"), ("1.jpg",))
    for results in (own, own / "labels", coco.path):
        scored = score_results(results, tmp_path / "true")
        assert scored.evaluation.names == ("2",)
        assert sorted(scored.left_out) == ["1.jpg", "1.png"]


def test_a_mask_is_of_neither_of_two_images_of_a_watched_folder(tmp_path: Path) -> None:
    save_a_mask_of_two_images(tmp_path)
    source = WatchedFolder(tmp_path / "images")
    done: list[int] = []
    source.stop = lambda: len(done) == 3
    segment_source(load_model("rooms"), source, tmp_path / "found", found_in=done.append)
    assert sorted(path.name for path in (tmp_path / "found/labels").iterdir()) == ["1.png", "1.png.png", "2.png"]
    scored = score_results(tmp_path / "found", tmp_path / "true")
    assert (scored.evaluation.names, scored.left_out) == (("2",), ("1.jpg", "1.png"))
    (truth,) = convert_results(tmp_path / "found", FormatRequest(("coco",)))
    content = json.loads(truth.path.read_text())
    content["images"] = [one for one in content["images"] if one["file_name"] != "1.jpg"]
    kept = {one["id"] for one in content["images"]}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in kept]
    truth.path.write_text(json.dumps(content))
    scored = score_results(tmp_path / "found", truth.path)
    assert (scored.evaluation.names, scored.left_out) == (("1.png", "2"), ("1.jpg",))
    with pytest.raises(AstSegError, match=r"1\.png\.png is of an image 1\.png, and .*labels/1\.png may be of it or of"):
        score_results(tmp_path / "found/labels", tmp_path / "true")


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
@pytest.mark.parametrize("stored", [False, True])
def test_masks_of_photographs_that_the_camera_has_turned(tmp_path: Path, orientation: int, stored: bool) -> None:
    shown, labels = np.full((64, 96, 3), 60, np.uint8), np.zeros((64, 96), np.uint8)
    shown[8:24, 10:40], labels[8:24, 10:40] = 220, 1
    undo = {1: None, 3: 3, 5: 5, 6: 8, 8: 6}[orientation]  # the orientation by which an image is stored
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation

    def as_stored(values: Bytes) -> Image.Image:
        image = Image.fromarray(values)
        return image if undo is None else image.transpose(EXIF_TRANSPOSES[undo])

    (tmp_path / "images").mkdir()
    (tmp_path / "true").mkdir()
    as_stored(shown).save(tmp_path / "images/a.png", exif=exif)
    (as_stored(labels) if stored else Image.fromarray(labels)).save(tmp_path / "true/a.png")
    segment_source(load_model("rooms"), open_source(tmp_path / "images"), tmp_path / "found")
    Image.fromarray(labels[::-1, ::-1]).save(tmp_path / "found/labels/a.png")
    assert score_results(tmp_path / "found", tmp_path / "found").evaluation.scores.miou.tolist() == [1.0]
    Image.fromarray(labels).save(tmp_path / "found/labels/a.png")
    assert score_results(tmp_path / "found", tmp_path / "true").evaluation.scores.miou.tolist() == [1.0]
    shutil.rmtree(tmp_path / "images")
    if not stored:
        assert score_results(tmp_path / "found", tmp_path / "true").evaluation.scores.miou.tolist() == [1.0]


@pytest.mark.parametrize("orientation", [3, 5, 6])
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("form", ["coco", "array"])
def test_what_is_true_of_photographs_that_the_camera_has_turned(
    tmp_path: Path, orientation: int, stored: bool, form: str
) -> None:
    shown, labels = np.full((64, 96, 3), 60, np.uint8), np.zeros((64, 96), np.uint8)
    shown[8:24, 10:40], labels[8:24, 10:40] = 220, 1
    shown[40:60, 70:90], labels[40:60, 70:90] = (200, 30, 30), 2
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    undo = EXIF_TRANSPOSES[{3: 3, 5: 5, 6: 8}[orientation]]
    (tmp_path / "images").mkdir()
    Image.fromarray(shown).transpose(undo).save(tmp_path / "images/000000.png", exif=exif)
    drawn = np.array(Image.fromarray(labels).transpose(undo)) if stored else labels
    if form == "array":
        true = tmp_path / "true.npy"
        np.save(true, drawn[None])
    else:
        true = tmp_path / "true.json"
        masks = [coco_mask.encode(np.asfortranarray(drawn == label, np.uint8)) for label in (1, 2)]
        entries = [
            {"image_id": 1, "iscrowd": int(label == 2), "segmentation": mask | {"counts": mask["counts"].decode()}}
            for label, mask in enumerate(masks, 1)
        ]
        image = {"id": 1, "file_name": "000000.png", "height": drawn.shape[0], "width": drawn.shape[1]}
        true.write_text(json.dumps({"images": [image], "annotations": entries}))
    source, model = open_source(tmp_path / "images"), load_model("rooms")
    segment_source(model, source, tmp_path / "found")
    Image.fromarray(labels).save(tmp_path / "found/labels/000000.png")
    scored = score_results(tmp_path / "found", true).evaluation
    assert scored.scores.miou.tolist() == [1.0]
    assert scored.regions is not None
    assert scored.regions.matched_regions == scored.regions.true_regions == (2 if form == "array" else 1)
    found = score_source(model, source, open_truth(true, None)).evaluation.scores.miou
    if form == "array":
        save(tmp_path / "upright/000000.png", labels)
        upright = open_truth(tmp_path / "upright", ["000000"])
        np.testing.assert_allclose(found, score_source(model, source, upright).evaluation.scores.miou)
    assert found.shape == (1,)


def test_two_results_of_one_image_are_refused(tmp_path: Path) -> None:
    for name in ("found/a.png", "found/a.bmp", "true/a.png"):
        save(tmp_path / name, np.eye(20, dtype=np.uint8))
    with pytest.raises(AstSegError, match=r"a\.bmp and .*a\.png are both results of an image a\. Keep one of them"):
        score_results(tmp_path / "found", tmp_path / "true")


def test_every_form_of_results_and_truth_scores_the_same(tmp_path: Path, pairs: dict[str, tuple[Bytes, Bytes]]) -> None:
    for name, (found, true) in pairs.items():
        save(tmp_path / f"found/{name}.png", found)
        save(tmp_path / f"true/{name}_mask.png", true)
    found_coco = write_coco(tmp_path / "found.json", {name: found for name, (found, _) in pairs.items()})
    listed = write_coco(tmp_path / "list.json", {name: found for name, (found, _) in pairs.items()}, scores=True)
    true_coco = write_coco(tmp_path / "true.json", {name: true for name, (_, true) in pairs.items()})
    first = score_results(str(tmp_path / "found"), str(tmp_path / "true")).evaluation
    assert first.names == tuple(pairs)
    assert first.regions is not None
    assert 0 < first.regions.matched_regions < first.regions.true_regions
    assert WITHOUT_SCORES in first.regions.protocol
    for results, truth in (
        (tmp_path / "found", true_coco),
        (found_coco, tmp_path / "true"),
        (found_coco, true_coco),
        (listed, true_coco),
    ):
        assert_same_scores(score_results(results, truth).evaluation, first)
    with pytest.raises(AstSegError, match="by number"):
        score_results(listed, tmp_path / "true")
    np.save(tmp_path / "true.npy", np.stack([true for _, true in pairs.values()]))
    for index, (found, _) in enumerate(pairs.values()):
        save(tmp_path / f"numbered/{index:06d}.png", found)
    assert_same_scores(score_results(tmp_path / "numbered", tmp_path / "true.npy").evaluation, first)
    with pytest.raises(AstSegError, match=r"says nothing of any image in .*; one is called a\."):
        score_results(tmp_path / "found", tmp_path / "true.npy")


def test_true_images_without_result_are_counted(tmp_path: Path) -> None:
    labels = np.zeros(SIZE, np.uint8)
    labels[3:9, 4:9] = 1
    for index in range(4):
        save(tmp_path / f"truth/{index}.png", labels)
        if index < 3:
            save(tmp_path / f"found/{index}.png", labels)
    scored = score_results(tmp_path / "found", tmp_path / "truth")
    assert len(scored.evaluation.index) == 3
    assert scored.without_result == 1
    assert score_results(tmp_path / "truth", tmp_path / "truth").without_result == 0
    np.save(tmp_path / "truth.npy", np.stack([labels] * 6))
    for index in range(3):
        (tmp_path / f"found/{index}.png").rename(tmp_path / f"found/{index:06d}.png")
    assert score_results(tmp_path / "found", tmp_path / "truth.npy").without_result == 3


def test_black_and_white_results_and_truth_are_taken_by_pieces(tmp_path: Path) -> None:
    true = np.zeros(SIZE, np.uint8)
    true[2:8, 2:8] = true[10:16, 12:20] = 255
    found = true.copy()
    found[10:16, 12:20] = 0
    save(tmp_path / "found/a.png", found)
    save(tmp_path / "true/a.png", true)
    scored = score_results(tmp_path / "found", tmp_path / "true")
    assert scored.evaluation.regions is not None
    assert (scored.evaluation.regions.true_regions, scored.evaluation.regions.matched_regions) == (2, 1)
    assert scored.evaluation.protocol.count("what is connected is one") == 2
    small = score_results(tmp_path / "found", tmp_path / "true", min_area=40).evaluation.regions
    assert small is not None
    assert small.true_regions == 1


def test_masks_of_single_objects_are_not_cut_into_pieces(tmp_path: Path) -> None:
    parts = np.zeros((2, *SIZE), np.uint8)
    parts[0, 2:5, 2:8] = parts[0, 8:12, 2:8] = parts[1, 2:8, 20:26] = 255
    save(tmp_path / "found/a.png", (parts[0] // 255 + parts[1] // 255 * 2).astype(np.uint8))
    save(tmp_path / "found/b.png", parts[0] // 255)
    for index, part in enumerate(parts):
        save(tmp_path / f"true/a_{index}.png", part)
    save(tmp_path / "true/b_0.png", parts[0])
    scored = score_results(tmp_path / "found", tmp_path / "true").evaluation
    assert scored.regions is not None
    assert (scored.regions.true_regions, scored.regions.matched_regions) == (3, 3)
    assert scored.scores.miou.tolist() == [1.0, 1.0]


def test_values_that_are_not_scored(tmp_path: Path) -> None:
    true = np.zeros(SIZE, np.uint8)
    true[4:10, 4:10], true[4:10, 10:14], true[:2] = 1, 7, 7
    found = np.where(true == 7, 3, true).astype(np.uint8)
    save(tmp_path / "found/a.png", found)
    save(tmp_path / "true/a.png", true)
    assert score_results(tmp_path / "found", tmp_path / "true").evaluation.objects.tolist() == [2]
    scored = score_results(tmp_path / "found", tmp_path / "true", frozenset({7})).evaluation
    assert scored.objects.tolist() == [1]
    assert scored.scores.miou.tolist() == [1.0]
    assert "Some pixels are not scored." in scored.protocol


def test_label_images_of_a_video_are_counted_from_zero(tmp_path: Path) -> None:
    for number in range(1, 4):
        codes = np.zeros(SIZE, np.uint8)
        codes[2 * number : 2 * number + 6, 4:12] = 255
        save(tmp_path / f"truth/groundtruth/gt{number:06d}.png", codes)
        save(tmp_path / f"of-video/{number - 1:06d}.png", codes)
        save(tmp_path / f"of-frames/bin{number:06d}.png", codes)
    for results in ("of-video", "of-frames"):
        scored = score_results(tmp_path / results, tmp_path / "truth")
        assert scored.left_out == ()
        assert scored.evaluation.scores.miou.tolist() == [1.0] * 3
    with pytest.raises(AstSegError, match="says itself which pixels"):
        score_results(tmp_path / "of-video", tmp_path / "truth", frozenset({255}))


def test_images_of_an_array_are_counted_from_zero(tmp_path: Path) -> None:
    for number in range(1, 4):
        codes = np.zeros((64, 64), np.uint8)
        codes[:9] = 255
        save(tmp_path / f"truth/groundtruth/gt{number:06d}.png", codes)
    np.save(tmp_path / "frames.npy", np.zeros((3, 64, 64, 3), np.uint8))
    model, frames = load_model("rooms"), open_source(tmp_path / "frames.npy")
    of_model = score_source(model, frames, open_truth(tmp_path / "truth", None))
    segment_source(model, frames, tmp_path / "found")
    of_results = score_results(tmp_path / "found", tmp_path / "truth")
    for scored in (of_model, of_results):
        assert scored.left_out == ()
        assert scored.evaluation.names == ("000000", "000001", "000002")
    assert_same_scores(of_model.evaluation, of_results.evaluation)


@pytest.mark.parametrize("form", ["film", "frames.npy", "images"])
def test_an_array_of_too_few_masks_is_refused_before_anything_is_segmented(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[4:20, 4:20] = 1
    np.save(tmp_path / "true.npy", np.stack([mask] * 3))
    place = tmp_path / form
    if form == "film":
        place = tmp_path / "film.avi"
        write_film(place, [np.zeros((64, 64, 3), np.uint8)] * 4)
    elif form == "images":
        for index in range(4):
            save(place / f"{index:06d}.png", np.zeros((64, 64, 3), np.uint8))
    else:
        np.save(place, np.zeros((4, 64, 64, 3), np.uint8))
    for index in range(4):
        save(tmp_path / f"found/{index:06d}.png", mask)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("something was computed")

    monkeypatch.setattr(AstSeg, "segment", forbidden)
    monkeypatch.setattr(ImageEvaluator, "add", forbidden)
    message = r"true\.npy holds 3 masks, counted from 0, and none for 000003\. Name the masks of all images"
    with pytest.raises(AstSegError, match=message):
        score_source(load_model("rooms"), open_source(place), open_truth(tmp_path / "true.npy", None))
    with pytest.raises(AstSegError, match=message):
        score_results(tmp_path / "found", tmp_path / "true.npy")


def test_refuses_what_does_not_belong_together(tmp_path: Path) -> None:
    save(tmp_path / "found/a.png", np.ones(SIZE, np.uint8))
    save(tmp_path / "small/a.png", np.ones((4, 5), np.uint8))
    save(tmp_path / "others/b.png", np.ones(SIZE, np.uint8))
    coco = write_coco(tmp_path / "true.json", {"b": np.ones(SIZE, np.uint8)})
    (tmp_path / "empty").mkdir()
    noise = np.zeros((200, 200), np.uint8)
    noise[::2, ::2] = 255
    save(tmp_path / "noise/a.png", noise)
    cases = [
        ("found", "small", r"found in a has 20 x 30 pixels, what is true of it 4 x 5"),
        ("found", "nowhere", "There is no file or folder"),
        ("nowhere", "found", "There is no file or folder"),
        ("empty", "found", "holds no results"),
        ("found", coco.name, "says nothing of any image"),
        ("noise", "noise", "has 10000 found regions; up to 4095"),
    ]
    for results, truth, message in cases:
        with pytest.raises(AstSegError, match=message):
            score_results(tmp_path / results, tmp_path / truth)
    (tmp_path / "none.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(AstSegError, match=r"none\.json holds results of no image"):
        score_results(tmp_path / "none.json", coco)
    many = np.arange(600, dtype=np.uint16).reshape(SIZE)
    Image.fromarray(many).save(tmp_path / "found/a.png")
    with pytest.raises(AstSegError, match=r"found/a\.png has objects up to number 599"):
        score_results(tmp_path / "found", tmp_path / "noise")
    (tmp_path / "found/a.png").write_bytes(b"no image")
    with pytest.raises(AstSegError, match=r"a\.png"):
        score_results(tmp_path / "found", coco)


def test_photographs_are_neither_results_nor_truth(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    save(tmp_path / "photographs/a.png", noise)
    save(tmp_path / "masks/a.png", np.ones(SIZE, np.uint8))
    with pytest.raises(AstSegError, match=r"a photograph, not a mask: .* Name the folder of results\."):
        score_results(tmp_path / "photographs", tmp_path / "masks")
    with pytest.raises(AstSegError, match=r"a photograph, not a mask: .* Name the folder of masks\."):
        score_results(tmp_path / "masks", tmp_path / "photographs")


def test_results_can_be_the_truth(tmp_path: Path) -> None:
    for index in range(3):
        noise = np.random.default_rng(index).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        save(tmp_path / f"images/{index}.png", noise)
    segment_source(load_model("rooms"), open_source(tmp_path / "images"), tmp_path / "found")
    scores = score_results(tmp_path / "found", tmp_path / "found").evaluation.summary()
    assert (scores.overall.images, scores.overall.miou) == (3, 1)


def test_an_image_without_a_scored_pixel_is_left_out(tmp_path: Path) -> None:
    true = np.zeros(SIZE, np.uint8)
    true[4:10, 4:10] = 1
    for name, mask in (("a", true), ("b", np.full(SIZE, 255, np.uint8))):
        save(tmp_path / f"true/{name}.png", mask)
        save(tmp_path / f"found/{name}.png", true)
        save(tmp_path / f"images/{name}.jpg", np.zeros((*SIZE, 3), np.uint8))
    scored = score_results(tmp_path / "found", tmp_path / "true")
    assert scored.left_out == ("b",)
    assert scored.evaluation.scores.miou.tolist() == [1.0]
    source = open_source(tmp_path / "images", masks=tmp_path / "true")
    assert score_source(load_model("rooms"), source).left_out == ("b.jpg",)


def test_results_of_a_split_are_scored_by_its_masks(tmp_path: Path) -> None:
    make_store(tmp_path / "store", "rooms", {"train": 3, "test": 3}, image_size=32, workers=1)
    for split in ("train", "test"):
        segment_source(load_model("rooms"), open_source(tmp_path / "store", split), tmp_path / split)
        scored = score_results(tmp_path / split, tmp_path / "store").evaluation
        assert f"the prepared split '{split}'" in scored.protocol


@pytest.mark.parametrize("form", ["coco", "array", "store", "cdnet"])
def test_two_images_are_not_held_against_one_truth(tmp_path: Path, form: str) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[4:10, 4:10] = 1
    numbered = "a" if form == "coco" else "000001"
    for folder in ("x", "y"):
        save(tmp_path / f"found/{folder}/{numbered}.png", mask)
    truth = tmp_path / {"coco": "a.json", "array": "masks.npy", "store": "store", "cdnet": "groundtruth"}[form]
    if form == "coco":
        images = [{"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}]
        truth.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    elif form == "array":
        np.save(truth, np.stack([mask] * 3))
    elif form == "store":
        with StoreWriter(truth, SIZE, "s", "p") as writer, writer.split("test") as split:
            split.append(np.zeros((3, *SIZE, 3), np.uint8), np.stack([mask] * 3))
    else:
        save(truth / "gt000001.png", 255 * mask)
    with pytest.raises(AstSegError, match="would both be held against what is true of one image"):
        score_results(tmp_path / "found", truth)
