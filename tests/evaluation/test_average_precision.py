"""AP and AR against pycocotools' own evaluation without categories."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from astseg.data.regions import Regions, Truth, encode, regions_of_masks
from astseg.evaluation.average_precision import PrecisionCounter, PrecisionScores
from astseg.evaluation.region_scores import RegionCounter

SIZE = (24, 30)
Images = list[tuple[Regions, Truth]]


def random_masks(random: np.random.Generator, count: int) -> list[dict[str, Any]]:
    masks = []
    for _ in range(count):
        mask = np.zeros(SIZE, bool)
        (top, left), (height, width) = random.integers(0, (18, 24)), random.integers(1, 12, 2)
        mask[top : top + height, left : left + width] = True
        masks.append(mask & (random.random(SIZE) > 0.1))
    return [encode(mask) for mask in masks if mask.any()]


def random_images(seed: int, most: int = 8) -> Images:
    """Found regions are true ones, damaged, and others; scores have ties, and some true regions are crowds."""
    random = np.random.default_rng(seed)
    images = []
    for _ in range(12):
        true = random_masks(random, int(random.integers(0, most)))
        damaged = [encode((coco_mask.decode(one) > 0) & (random.random(SIZE) > 0.3 * random.random())) for one in true]
        found = [one for one in damaged if random.random() > 0.2] + random_masks(random, int(random.integers(0, most)))
        scores = random.integers(0, 6, len(found)) / 5
        crowd = random.random(len(true)) < 0.2
        wanted = [one for one, is_crowd in zip(true, crowd, strict=True) if not is_crowd]
        crowds = tuple(one for one, is_crowd in zip(true, crowd, strict=True) if is_crowd)
        images.append(
            (regions_of_masks(found, SIZE, scores.tolist()), Truth(regions_of_masks(wanted, SIZE), crowds=crowds))
        )
    return images


def coco_scores(images: Images, min_area: int = 0) -> PrecisionScores:
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, (found, truth) in enumerate(images, 1):
        for mask, crowd in [(one, 0) for one in truth.regions.masks] + [(one, 1) for one in truth.crowds]:
            area = int(coco_mask.area(mask))
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": 1 + number % 3, "iscrowd": crowd}
            annotations.append(entry | {"area": area, "segmentation": mask, "bbox": coco_mask.toBbox(mask).tolist()})
        for mask, score in zip(found.masks, found.scores or (), strict=True):
            results.append({"image_id": number, "category_id": 2, "score": score, "segmentation": mask})
    truth = COCO()
    truth.dataset = {
        "images": [{"id": number, "height": SIZE[0], "width": SIZE[1]} for number in range(1, len(images) + 1)],
        "annotations": annotations,
        "categories": [{"id": number} for number in (1, 2, 3)],
        "info": {},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.params.useCats = 0
        evaluation.params.areaRng = [[min_area, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    if precision.max() < 0:
        return PrecisionScores(None, None, None, None)
    return PrecisionScores(*map(float, (precision.mean(), precision[0].mean(), recall.mean(), recall[0].mean())))


def own_scores(images: Images, min_area: int = 0) -> PrecisionScores:
    counter = RegionCounter(min_area)
    for found, truth in images:
        counter.add(found, truth)
    return counter.scores().precision


def assert_same(own: PrecisionScores, other: PrecisionScores) -> None:
    assert vars(own) == {name: pytest.approx(value, abs=1e-12) for name, value in vars(other).items()}


@pytest.mark.parametrize("min_area", [0, 40])
@pytest.mark.parametrize("seed", range(8))
def test_random_regions_score_as_in_pycocotools(seed: int, min_area: int) -> None:
    images = random_images(seed)
    own = own_scores(images, min_area)
    assert own.ap is not None
    assert 0 < own.ap < 1
    assert_same(own, coco_scores(images, min_area))


def test_only_a_hundred_found_regions_count() -> None:
    images = random_images(9, most=150)[:3]
    assert any(len(found.masks) > 100 for found, _ in images)
    assert_same(own_scores(images), coco_scores(images))


def test_degenerate_images() -> None:
    nothing = regions_of_masks([], SIZE, [])
    something = regions_of_masks([encode(np.ones(SIZE, bool))], SIZE, [0.5])
    crowd = Truth(nothing, crowds=something.masks)
    assert_same(own_scores([(something, Truth(something))]), PrecisionScores(1, 1, 1, 1))
    assert_same(own_scores([(nothing, Truth(something))]), PrecisionScores(0, 0, 0, 0))
    for images in ([(something, Truth(nothing))], [(nothing, Truth(nothing))], [(something, crowd)]):
        assert own_scores(images) == PrecisionScores(None, None, None, None)
    both = [(something, Truth(something)), (something, crowd), (something, Truth(nothing))]
    assert_same(own_scores(both), coco_scores(both))
    assert PrecisionCounter().scores() == PrecisionScores(None, None, None, None)
