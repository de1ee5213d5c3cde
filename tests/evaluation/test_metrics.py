"""Every metric is held to a second implementation that counts pixel by pixel, or pair by pair."""

import itertools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score  # type: ignore[import-untyped]

from astseg.evaluation import contingency, metrics

Labels = np.ndarray[Any, np.dtype[Any]]


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[Labels, Labels]:
    """Two small label maps that agree in part, since random noise is never a good segmentation."""
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    pixels = st.lists(st.integers(0, 3), min_size=height * width, max_size=height * width)
    true = np.array(draw(pixels)).reshape(height, width)
    noise = np.array(draw(pixels)).reshape(height, width)
    renamed = np.array(draw(st.permutations(range(4))))[true]
    kept = draw(st.sampled_from([0.0, 0.5, 0.9]))
    keep = np.random.default_rng(draw(st.integers(0, 9))).random((height, width)) < kept
    return np.where(keep, renamed, noise), true


def regions(labels: Labels) -> dict[int, set[int]]:
    """The set of pixels of each label."""
    return {int(label): {int(i) for i in np.flatnonzero(labels == label)} for label in np.unique(labels)}


def region_iou(first: set[int], second: set[int]) -> float:
    return len(first & second) / len(first | second) if first and second else 0.0


def possible_mean_ious(predicted: Labels, true: Labels, count: int) -> set[float]:
    """The values that the definition allows, by trying every matching; they differ in the number of pairs."""
    p, t = regions(predicted), regions(true)
    sums = []
    for order in itertools.permutations(range(count)):
        pairs = [(p.get(a, set()), t.get(b, set())) for a, b in enumerate(order)]
        sums.append((sum(region_iou(*pair) for pair in pairs), sum(bool(a or b) for a, b in pairs)))
    best = max(total for total, _ in sums)
    return {round(best / pairs, 9) for total, pairs in sums if total > best - 1e-9}


def rand_index_by_pairs(predicted: Labels, true: Labels) -> float:
    """Adjusted Rand index from the four kinds of pixel pairs, one pair at a time."""
    p, t = predicted.ravel().tolist(), true.ravel().tolist()
    kinds = [(p[i] == p[j], t[i] == t[j]) for i, j in itertools.combinations(range(len(p)), 2)]
    both, neither = kinds.count((True, True)), kinds.count((False, False))
    only_p, only_t = kinds.count((True, False)), kinds.count((False, True))
    if not only_p and not only_t:
        return 1.0
    scale = (both + only_t) * (only_t + neither) + (both + only_p) * (only_p + neither)
    return 2 * (both * neither - only_p * only_t) / scale


def covering_by_sets(predicted: Labels, true: Labels, foreground_only: bool, scaled: bool) -> float:
    objects = [pixels for label, pixels in regions(true).items() if label or not foreground_only]
    total = weight = 0.0
    for pixels in objects:
        share = len(pixels) if scaled else 1
        total += share * max(region_iou(pixels, other) for other in regions(predicted).values())
        weight += share
    return total / weight if weight else 0.0


class TestMeanIou:
    @settings(deadline=None)
    @given(label_pairs())
    def test_equals_a_best_matching(self, pair: tuple[Labels, Labels]) -> None:
        predicted, true = pair
        (value,) = metrics.mean_iou(predicted[None], true[None], num_labels=5)
        assert round(value, 9) in possible_mean_ious(predicted, true, 5)

    @settings(deadline=None)
    @given(label_pairs(), st.permutations(range(5)))
    def test_renaming_labels_changes_nothing_where_the_pairs_are_unique(
        self, pair: tuple[Labels, Labels], order: list[int]
    ) -> None:
        predicted, true = pair
        assume(len(possible_mean_ious(predicted, true, 5)) == 1)
        renamed = np.array(order)[predicted]
        before, after = (metrics.mean_iou(labels[None], true[None], 5) for labels in (predicted, renamed))
        np.testing.assert_allclose(before, after)

    def test_a_known_value(self) -> None:
        true = np.array([[[0, 0, 0, 0], [1, 1, 2, 2]]])
        predicted = np.array([[[0, 0, 0, 3], [3, 3, 3, 3]]])
        # 0-0: 3/4; 3-1 or 3-2: 2/5; one true object is left over: three pairs.
        np.testing.assert_allclose(metrics.mean_iou(predicted, true, 4), (3 / 4 + 2 / 5) / 3)

    def test_background_everywhere_scores_for_the_background(self) -> None:
        true = np.zeros((1, 10, 10), int)
        true[0, :2] = 1
        np.testing.assert_allclose(metrics.mean_iou(np.zeros_like(true), true, 4), 0.8 / 2)

    def test_more_true_labels_than_the_predictor_has(self) -> None:
        true = np.arange(6).reshape(1, 2, 3)
        predicted = np.minimum(true, 2)
        # Label 2 covers four true objects, of which it can be matched to one: 1 + 1 + 1/4 over six pairs.
        np.testing.assert_allclose(metrics.mean_iou(predicted, true, num_labels=3), 2.25 / 6)

    def test_an_image_does_not_depend_on_its_batch(self) -> None:
        rng = np.random.default_rng(0)
        blocks = [np.kron(rng.integers(0, highest, (2, 4, 4)), np.ones((1, 3, 3), int)) for highest in [2, 9] * 20]
        predicted, true = np.stack(blocks, axis=1)
        together = metrics.mean_iou(predicted, true)
        alone = [metrics.mean_iou(p[None], t[None])[0] for p, t in zip(predicted, true, strict=True)]
        np.testing.assert_array_equal(together, alone)


class TestAdjustedRandIndex:
    @settings(deadline=None)
    @given(label_pairs())
    def test_two_references(self, pair: tuple[Labels, Labels]) -> None:
        predicted, true = pair
        (value,) = metrics.adjusted_rand_index(predicted[None], true[None])
        assert value == pytest.approx(rand_index_by_pairs(predicted, true))
        assert value == pytest.approx(adjusted_rand_score(true.ravel(), predicted.ravel()))

    @settings(deadline=None)
    @given(label_pairs())
    def test_foreground(self, pair: tuple[Labels, Labels]) -> None:
        predicted, true = pair
        (value,) = metrics.adjusted_rand_index(predicted[None], true[None], foreground_only=True)
        inside = true > 0
        assert value == pytest.approx(rand_index_by_pairs(predicted[inside], true[inside]))

    def test_no_foreground_is_one(self) -> None:
        true, predicted = np.zeros((1, 3, 3), int), np.arange(9).reshape(1, 3, 3)
        assert metrics.adjusted_rand_index(predicted, true, foreground_only=True) == 1
        assert metrics.adjusted_rand_index(predicted, true) == 0

    def test_one_object_with_one_pixel_of_another_label_is_zero(self) -> None:
        true = np.ones((1, 20, 20), int)
        predicted = true.copy()
        assert metrics.adjusted_rand_index(predicted, true, foreground_only=True) == 1
        predicted[0, 0, 0] = 2
        assert metrics.adjusted_rand_index(predicted, true, foreground_only=True) == 0

    def test_a_single_cluster_is_exactly_zero(self) -> None:
        labels = np.random.default_rng(4).integers(0, 5, (50, 13, 17))
        nothing = np.zeros_like(labels)
        for value in (metrics.adjusted_rand_index(*pair) for pair in ((nothing, labels), (labels, nothing))):
            np.testing.assert_array_equal(value, 0)

    def test_large_images_do_not_overflow(self) -> None:
        rng = np.random.default_rng(1)
        true = rng.integers(0, 5, (1, 1000, 1000))
        predicted = np.where(rng.random(true.shape) < 0.7, true, 0)
        expected = adjusted_rand_score(true.ravel(), predicted.ravel())
        np.testing.assert_allclose(metrics.adjusted_rand_index(predicted, true), expected)


class TestSegmentationCovering:
    @settings(deadline=None)
    @given(label_pairs(), st.booleans(), st.booleans())
    def test_reference(self, pair: tuple[Labels, Labels], foreground_only: bool, scaled: bool) -> None:
        predicted, true = pair
        (value,) = metrics.segmentation_covering(
            predicted[None], true[None], foreground_only=foreground_only, scaled=scaled
        )
        assert value == pytest.approx(covering_by_sets(predicted, true, foreground_only, scaled))

    def test_nothing_to_cover_is_zero(self) -> None:
        nothing = np.zeros((2, 3, 3), int)
        np.testing.assert_array_equal(metrics.segmentation_covering(nothing, nothing), 0)
        np.testing.assert_array_equal(metrics.segmentation_covering(nothing, nothing, foreground_only=False), 1)

    def test_area_counts_only_when_scaled(self) -> None:
        true = np.array([[[1, 1, 1, 2]]])
        predicted = np.array([[[5, 5, 5, 5]]])
        np.testing.assert_allclose(metrics.segmentation_covering(predicted, true), (3 / 4 + 1 / 4) / 2)
        np.testing.assert_allclose(metrics.segmentation_covering(predicted, true, scaled=True), 10 / 16)


ALL: dict[str, Callable[[Any, Any], Any]] = {
    "miou": metrics.mean_iou,
    "ari_fg": lambda p, t: metrics.adjusted_rand_index(p, t, foreground_only=True),
    "ari": metrics.adjusted_rand_index,
    "msc_fg": metrics.segmentation_covering,
    "msc": lambda p, t: metrics.segmentation_covering(p, t, foreground_only=False),
    "scaled_sc": lambda p, t: metrics.segmentation_covering(p, t, scaled=True),
}


@pytest.fixture
def blocks() -> Labels:
    """Six images of 8 x 8 pixels with up to five objects and some foreground in each."""
    labels = np.random.default_rng(2).integers(0, 6, (6, 4, 4))
    labels[:, 0, 0] = 1
    return np.kron(labels, np.ones((1, 2, 2), int))


@pytest.mark.parametrize("name", ALL)
class TestAll:
    def test_the_same_masks_under_other_names_score_one(self, name: str, blocks: Labels) -> None:
        renamed = np.array([4, 0, 5, 2, 1, 3])[blocks]
        np.testing.assert_allclose(ALL[name](renamed, blocks), 1)

    def test_tensors_and_bytes(self, name: str, blocks: Labels) -> None:
        predicted = np.roll(blocks, 1, axis=2)
        expected = ALL[name](predicted, blocks)
        assert expected.shape == (6,)
        assert expected.dtype == np.float64
        for convert in (torch.from_numpy, lambda labels: labels.astype(np.uint8)):
            np.testing.assert_array_equal(ALL[name](convert(predicted), convert(blocks)), expected)

    def test_all_scores_at_once_are_the_scores_one_by_one(self, name: str, blocks: Labels) -> None:
        predicted = np.roll(blocks, 1, axis=1)
        scores = metrics.score_segmentations(predicted, blocks)
        np.testing.assert_array_equal(getattr(scores, name), ALL[name](predicted, blocks))

    def test_no_images(self, name: str, blocks: Labels) -> None:
        none = blocks[:0]
        assert ALL[name](none, none).shape == getattr(metrics.score_segmentations(none, none), name).shape == (0,)


class TestSquaredError:
    def test_sums_over_channels_and_pixels_of_each_image(self) -> None:
        images = torch.zeros(3, 3, 4, 5)
        other = images.clone()
        other[1, 2, 3, 4] = 0.5
        other[2] = 0.1
        np.testing.assert_allclose(metrics.squared_error(other, images), [0, 0.25, 60 * 0.01], rtol=1e-6)

    def test_shapes_must_agree(self) -> None:
        with pytest.raises(ValueError, match="reconstruction"):
            metrics.squared_error(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))


class TestScoreSegmentations:
    def test_chunks_change_nothing(self, blocks: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
        # A high label in one image enlarges the tables of its chunk and must not affect other images.
        predicted, true = np.roll(blocks, 3, axis=2), blocks.copy()
        true[3][true[3] == 1] = 200
        whole = metrics.score_segmentations(predicted, true, 4)
        for images in (1, 4):
            monkeypatch.setattr(metrics, "IMAGES_PER_CHUNK", images)
            parts = metrics.score_segmentations(predicted, true, 4)
            for field in fields(whole):
                np.testing.assert_allclose(getattr(parts, field.name), getattr(whole, field.name), rtol=1e-12)

    def test_refuses_different_numbers_of_images(self) -> None:
        with pytest.raises(ValueError, match="predicted labels"):
            metrics.score_segmentations(np.zeros((3, 4, 4), int), np.zeros((2, 4, 4), int))


class TestIgnoredLabel:
    @settings(deadline=None)
    @given(label_pairs(), st.integers(0, 99), st.sampled_from([4, 255]))
    def test_equals_the_scores_of_the_other_pixels(self, pair: tuple[Labels, Labels], seed: int, label: int) -> None:
        predicted, true = pair
        dropped = np.less(np.random.default_rng(seed).random(true.shape), 0.3)
        assume(not dropped.all())
        marked = np.where(dropped, label, true)
        scores = metrics.score_segmentations(predicted[None], marked[None], 5, ignored_label=label)
        kept = predicted[~dropped][None, None], true[~dropped][None, None]
        expected = metrics.score_segmentations(*kept, 5)
        for field in fields(scores):
            np.testing.assert_allclose(getattr(scores, field.name), getattr(expected, field.name), err_msg=field.name)
        maps = predicted[None], marked[None]
        assert metrics.mean_iou(*maps, 5, ignored_label=label) == pytest.approx(scores.miou)
        assert metrics.adjusted_rand_index(*maps, ignored_label=label) == pytest.approx(scores.ari)
        assert metrics.segmentation_covering(*maps, ignored_label=label) == pytest.approx(scores.msc_fg)

    def test_all_pixels_are_ignored(self) -> None:
        everything = np.full((1, 2, 2), 255)
        scores = metrics.score_segmentations(np.zeros((1, 2, 2), int), everything, 2, ignored_label=255)
        assert [*scores.ari_fg, *scores.miou, *scores.msc_fg] == [1, 0, 0]


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">i4"])
def test_integers_of_all_types(kind: str) -> None:
    rng = np.random.default_rng(5)
    predicted, true = rng.integers(0, 5, (2, 3, 8, 8))
    expected = metrics.score_segmentations(predicted, true, ignored_label=4)
    found = metrics.score_segmentations(predicted.astype(kind), true.astype(kind), ignored_label=4)
    for field in fields(expected):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int16])
def test_unsigned_tensors(kind: torch.dtype) -> None:
    labels = torch.tensor([[[0, 1], [2, 2]]]).to(kind)
    assert metrics.mean_iou(labels, labels) == [1]


@pytest.mark.parametrize("label", [-1, 4096, 2**40, 2**63 - 1])
@pytest.mark.parametrize("side", [0, 1])
def test_labels_without_a_place_in_a_table(label: int, side: int) -> None:
    maps = [np.zeros((1, 4, 4), np.int64), np.zeros((1, 4, 4), np.int64)]
    maps[side][0, 0, 0] = label
    with pytest.raises(ValueError, match="must lie in 0 to 4095"):
        metrics.score_segmentations(maps[0], maps[1])


@pytest.mark.parametrize("ignored", [2.5, "255", True, np.nan])
def test_what_cannot_be_ignored(ignored: Any) -> None:
    labels = np.zeros((1, 2, 2), np.int64)
    with pytest.raises(ValueError, match="must be an integer"):
        metrics.mean_iou(labels, labels, ignored_label=ignored)


def test_tables_that_would_fill_the_memory() -> None:
    labels = np.zeros((64, 2, 2), np.int64)
    labels[:, 0, 0] = 4095
    with pytest.raises(ValueError, match="score fewer images at a time"):
        metrics.mean_iou(labels, labels)


def test_lists_of_maps() -> None:
    """Of one size."""
    random = np.random.default_rng(0)
    predicted, true = random.integers(0, 3, (2, 4, 5, 6))
    found = metrics.score_segmentations(list(predicted), list(true))
    for field in fields(found):
        np.testing.assert_array_equal(
            getattr(found, field.name), getattr(metrics.score_segmentations(predicted, true), field.name)
        )
    with pytest.raises(ValueError, match=r"have shape \(3, 5, 6\), true labels \(4, 5, 6\)"):
        metrics.score_segmentations(list(predicted[:3]), list(true))


def test_many_labels_are_scored_a_few_images_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    predicted, true = random.integers(0, 10, (64, 8, 8)), random.integers(0, 4, (64, 8, 8))
    expected = metrics.score_segmentations(predicted, true)
    monkeypatch.setattr(metrics, "CHUNK_BYTES", 2 * 8 * 10**2)
    monkeypatch.setattr(contingency, "MAX_TABLES_BYTES", 4 * 8 * 10**2)
    np.testing.assert_array_equal(metrics.score_segmentations(predicted, true).miou, expected.miou)
