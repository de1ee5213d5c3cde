"""Foreground, panoptic quality and counts, against slow versions that go from pixel to pixel."""

from dataclasses import replace

import numpy as np
import pytest

from astseg.data.regions import Regions, Truth, encode, regions_of_labels, regions_of_masks
from astseg.evaluation.region_scores import WITHOUT_SCORES, RegionCounter, RegionScores

SIZE = (9, 11)
Images = list[tuple[Regions, Truth]]


def random_images(seed: int) -> Images:
    random = np.random.default_rng(seed)
    images = []
    for _ in range(10):
        true = np.repeat(np.repeat(random.integers(0, 4, (3, 4)), 3, 0), 3, 1)[:, :11]
        found = np.where(random.random(SIZE) < 0.75, (true * 2) % 5, random.integers(0, 6, SIZE))
        unscored = random.random(SIZE) < 0.1
        unscored[:, 8:] |= random.random() < 0.3
        shadow = random.random(SIZE) < 0.2
        truth = Truth(regions_of_labels(np.where(unscored, 0, true)), unscored, shadow=shadow)
        images.append((regions_of_labels(found, [1.0] * 6), truth))
    return images


def score(images: Images, min_area: int = 0) -> RegionScores:
    counter = RegionCounter(min_area)
    for found, truth in images:
        counter.add(found, truth)
    return counter.scores()


@pytest.mark.parametrize("seed", range(5))
def test_the_foreground_pixel_by_pixel(seed: int) -> None:
    images = random_images(seed)
    both = false = missed = shadow = claimed = 0
    for found, truth in images:
        assert truth.unscored is not None
        assert truth.shadow is not None
        for place in np.ndindex(SIZE):
            if truth.unscored[place]:
                continue
            is_found, is_true = bool(found.labels[place] > 0), bool(truth.regions.labels[place] > 0)
            is_shadow = bool(truth.shadow[place]) and not is_true
            both += is_found and is_true
            false += is_found and not is_true
            missed += is_true and not is_found
            shadow += is_shadow
            claimed += is_shadow and is_found
    scores = score(images).foreground
    precision, recall = both / (both + false), both / (both + missed)
    assert scores.precision == pytest.approx(precision)
    assert scores.recall == pytest.approx(recall)
    assert scores.f_measure == pytest.approx(2 * precision * recall / (precision + recall))
    assert scores.shadow_claimed == pytest.approx(claimed / shadow)


@pytest.mark.parametrize("seed", range(5))
def test_panoptic_quality_pair_by_pair(seed: int) -> None:
    images = random_images(seed)
    matched = spurious = missed = 0
    ious = []
    for found, truth in images:
        assert truth.unscored is not None
        scored = ~truth.unscored
        true_left = set(np.unique(truth.regions.labels[scored])) - {0}
        for label in set(np.unique(found.labels)) - {0}:
            mask = found.labels == label
            best = 0.0
            for true in sorted(true_left):
                other = truth.regions.labels == true
                iou = (mask & other & scored).sum() / ((mask | other) & scored).sum()
                if iou > 0.5:
                    best = iou
                    true_left.discard(true)
                    break
            if best:
                matched += 1
                ious.append(best)
            else:
                spurious += (mask & scored).sum() >= (mask & ~scored).sum()
        missed += len(true_left)
    scores = score(images)
    assert scores.panoptic is not None
    assert (scores.matched_regions, scores.true_regions) == (matched, matched + missed)
    assert scores.found_regions == matched + spurious
    assert matched
    assert missed
    assert spurious
    assert scores.panoptic.sq == pytest.approx(np.mean(ious))
    assert scores.panoptic.rq == pytest.approx(matched / (matched + (missed + spurious) / 2))
    assert scores.panoptic.pq == pytest.approx(sum(ious) / (matched + (missed + spurious) / 2))


def test_small_true_regions_need_not_be_found_and_may_be() -> None:
    true = np.zeros(SIZE, int)
    true[0, 0], true[3:6, 3:6], true[8, 8:] = 1, 2, 3
    found = np.where(true == 2, 0, true)
    found[8, 0] = 5
    images = [(regions_of_labels(found), Truth(regions_of_labels(true)))]
    assert vars(score(images)) | {"foreground": 0, "precision": 0, "panoptic": 0, "protocol": 0} == {
        "foreground": 0, "true_regions": 3, "matched_regions": 2, "found_regions": 3,
        "panoptic": 0, "precision": 0, "protocol": 0,
    }  # fmt: skip
    large = score(images, min_area=4)
    assert (large.true_regions, large.matched_regions, large.found_regions) == (1, 0, 0)
    assert large.precision.ar50 == 0
    assert "fewer than 4 pixels need not" in large.protocol


def test_what_lies_in_a_crowd_counts_neither_way() -> None:
    crowd = np.zeros(SIZE, bool)
    crowd[:, 6:] = True
    true = np.zeros(SIZE, int)
    true[:4, :4] = 1
    found = true.copy()
    found[2:5, 7:10], found[6:8, 6] = 2, 3
    truth = Truth(regions_of_labels(true), crowds=(encode(crowd),))
    scores = score([(regions_of_labels(found), truth)])
    assert (scores.true_regions, scores.matched_regions, scores.found_regions) == (1, 1, 1)
    assert (scores.precision.ap, scores.foreground.f_measure) == (1, 1)
    assert score([(regions_of_labels(found), replace(truth, crowds=()))]).foreground.precision == pytest.approx(16 / 27)


def test_panoptic_quality_is_not_defined_where_regions_overlap() -> None:
    left, right = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    left[:, :6], right[:, 5:] = True, True
    overlapping = regions_of_masks([encode(left), encode(right)], SIZE)
    labels = regions_of_labels(left + 2 * right.astype(int) - 2 * (left & right))
    for pair in ((overlapping, labels), (labels, overlapping), (overlapping, overlapping)):
        scores = score([(pair[0], Truth(pair[1]))])
        assert scores.panoptic is None
        assert (scores.matched_regions, scores.true_regions) == (2, 2)
    assert score([(labels, Truth(labels))]).panoptic is not None


def test_nothing_true_and_nothing_found() -> None:
    nothing = regions_of_labels(np.zeros(SIZE, int))
    scores = score([(nothing, Truth(nothing))])
    assert scores.panoptic is not None
    assert (scores.panoptic.pq, scores.panoptic.rq, scores.panoptic.sq) == (None, None, None)
    assert (scores.foreground.f_measure, scores.foreground.shadow_claimed) == (1, None)
    assert (scores.foreground.precision, scores.foreground.recall) == (1, 1)
    assert (scores.true_regions, scores.found_regions) == (0, 0)


def test_regions_without_scores_are_told() -> None:
    one = regions_of_labels(np.ones(SIZE, int))
    assert score([(one, Truth(one))]).protocol.endswith(WITHOUT_SCORES)
    assert WITHOUT_SCORES not in score([(replace(one, scores=(0.5,)), Truth(one))]).protocol
    assert WITHOUT_SCORES not in score([(regions_of_labels(np.zeros(SIZE, int)), Truth(one))]).protocol


def test_larger_regions_are_taken_for_surer_where_nothing_says_more() -> None:
    true = np.zeros(SIZE, int)
    true[:5, :5] = 1
    found = np.where(true, 2, 0)
    found[8, 8] = 1
    images = [(regions_of_labels(found), Truth(regions_of_labels(true)))]
    assert score(images).precision.ap == 1
    assert score([(replace(images[0][0], scores=(0.9, 0.1)), images[0][1])]).precision.ap == pytest.approx(0.5)
