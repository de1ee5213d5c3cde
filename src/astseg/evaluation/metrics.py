"""Metrics of segmentations against the truth: pure functions from label maps to one value per image.

Labels are integers; 0 is the background. All metrics of label maps are computed from one contingency table per image,
which `score_segmentations` builds once for all scores. Averaging over images is left to the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from astseg._core.settings_io import Range, check_whole_number
from astseg.evaluation.contingency import (
    MAX_SCORED_LABEL,
    LabelMaps,
    Tables,
    check_shapes,
    contingency_tables,
)

PerImage: TypeAlias = Float64[np.ndarray, "batch"]

IMAGES_PER_CHUNK = 64  # a table of 256 x 256 labels has half a megabyte
CHUNK_BYTES = 1 << 28
"""The most bytes of tables that are scored at a time: they are made square, and copied."""


@dataclass(frozen=True)
class SegmentationScores:
    """The result of `score_segmentations`: arrays with one value per image."""

    miou: PerImage
    """Mean intersection over union with matched labels, background included; 0 to 1."""
    ari_fg: PerImage
    """Adjusted Rand index over the pixels of true objects; at most 1, 0 by chance."""
    ari: PerImage
    """Adjusted Rand index over all pixels."""
    msc_fg: PerImage
    """Mean segmentation covering of the true objects; 0 to 1."""
    msc: PerImage
    """Mean segmentation covering of the true objects and the background."""
    scaled_sc: PerImage
    """Segmentation covering of the true objects, each weighted by its area."""


def score_segmentations(
    predicted: LabelMaps, true: LabelMaps, num_labels: int | None = None, ignored_label: int | None = None
) -> SegmentationScores:
    """Return all scores of a batch, with a single pass over its pixels.

    Args:
        predicted: labels, N x H x W.
        true: labels, N x H x W.
        num_labels: see `mean_iou`.
        ignored_label: see `contingency_tables`.

    Raises:
        ValueError: see `contingency_tables`; or ``num_labels`` is out of range.
        TypeError: these are no arrays.
    """
    check_shapes(predicted, true)
    if num_labels is not None:
        check_whole_number("num_labels", num_labels, Range(0, MAX_SCORED_LABEL + 1))
    size = _images_per_chunk(predicted, true)
    chunks = [slice(start, start + size) for start in range(0, max(1, len(true)), size)]
    tables = (contingency_tables(predicted[chunk], true[chunk], ignored_label) for chunk in chunks)
    return join_scores([_compute_scores(table, num_labels) for table in tables])


def _images_per_chunk(predicted: LabelMaps, true: LabelMaps) -> int:
    """Return how many images to score at a time: fewer of many labels, whose tables are large."""
    highest = max((int(one.max()) for one in chain(predicted, true) if 0 not in one.shape), default=0)
    return max(1, min(IMAGES_PER_CHUNK, CHUNK_BYTES // (8 * (1 + highest) ** 2)))


def join_scores(parts: Sequence[SegmentationScores]) -> SegmentationScores:
    """Return the scores of all images of several parts."""
    names = [field.name for field in fields(SegmentationScores)]
    return SegmentationScores(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _compute_scores(tables: Tables, num_labels: int | None) -> SegmentationScores:
    return SegmentationScores(
        miou=_mean_iou(tables, num_labels),
        ari_fg=_adjusted_rand_index(tables[:, :, 1:]),
        ari=_adjusted_rand_index(tables),
        msc_fg=_segmentation_covering(tables, foreground_only=True, scaled=False),
        msc=_segmentation_covering(tables, foreground_only=False, scaled=False),
        scaled_sc=_segmentation_covering(tables, foreground_only=True, scaled=True),
    )


def mean_iou(
    predicted: LabelMaps, true: LabelMaps, num_labels: int | None = None, ignored_label: int | None = None
) -> PerImage:
    """Return the mean intersection over union of optimally matched labels, including the background.

    This is the definition of the CLEVRTEX benchmark. Each predicted and true label becomes a mask, and empty masks are
    added until both sides have the same number. The IoU with an empty mask is 0. Masks are matched one to one with the
    largest sum of IoU, which is divided by the number of pairs in which at least one mask is not empty.

    A spurious label and a missed object that do not overlap can be matched to each other (one pair) or each to an empty
    mask (two pairs) with the same sum. The benchmark leaves this choice to its solver. To reproduce the published
    figures, this function uses the same solver on the same matrix. In such images only, the value can depend on the
    order and number of the labels: the divisor lies between max(P, T) and P + T - M, for P predicted and T true labels
    with a pixel and M pairs that overlap.

    Args:
        predicted: labels, N x H x W.
        true: labels, N x H x W.
        num_labels: the number of labels that the predictor can output, including the background (K + 1). For an image
            with higher labels, and by default, the image's own highest label determines the number.
        ignored_label: see `contingency_tables`.

    Returns:
        N values from 0 to 1; 1 exactly where both maps are the same partition of the image.

    Raises:
        ValueError: see `contingency_tables`.
    """
    return _mean_iou(contingency_tables(predicted, true, ignored_label), num_labels)


def adjusted_rand_index(
    predicted: LabelMaps, true: LabelMaps, *, foreground_only: bool = False, ignored_label: int | None = None
) -> PerImage:
    """Return the adjusted Rand index (Hubert and Arabie, 1985) of two partitions of each image's pixels.

    Args:
        predicted: labels, N x H x W.
        true: labels, N x H x W.
        foreground_only: leave out the pixels whose true label is 0 (ARI-FG). Among the predicted labels the background
            is still a cluster like any other.
        ignored_label: see `contingency_tables`.

    Returns:
        N values: 1 for equal partitions, 0 on average for random ones, possibly below 0. Where both are trivial (a
        single cluster, or no pixels) they agree on every pair of pixels: 1. An image without foreground therefore has
        ARI-FG 1, and the number of such images should be reported with the mean. Where only one of the two is a single
        cluster the index is 0, however few pixels have a second label.

    Raises:
        ValueError: see `contingency_tables`.
    """
    tables = contingency_tables(predicted, true, ignored_label)
    return _adjusted_rand_index(tables[:, :, 1:] if foreground_only else tables)


def segmentation_covering(
    predicted: LabelMaps,
    true: LabelMaps,
    *,
    foreground_only: bool = True,
    scaled: bool = False,
    ignored_label: int | None = None,
) -> PerImage:
    """Return the mean over the true objects of the best IoU with any predicted label (MSC, GENESIS).

    Args:
        predicted: labels, N x H x W. Any label, including the background, may cover an object, or several.
        true: labels, N x H x W.
        foreground_only: leave out the true background (MSC-FG) instead of counting it as another object (MSC).
        scaled: weight objects by their pixels (scaled SC) instead of equally.
        ignored_label: see `contingency_tables`.

    Returns:
        N values from 0 to 1. Where there is nothing to cover the value is 0, as in the published evaluations, not 1 as
        for the Rand index; the number of images without foreground should be reported with the mean.

    Raises:
        ValueError: see `contingency_tables`.
    """
    return _segmentation_covering(contingency_tables(predicted, true, ignored_label), foreground_only, scaled)


def squared_error(
    reconstruction: Float[Tensor, "batch 3 height width"], images: Float[Tensor, "batch 3 height width"]
) -> PerImage:
    """Return the squared error of images in [0, 1], summed over channels and pixels (the MSE of the tables).

    The sum grows with the image size: values for 64 x 64 and 128 x 128 pixels cannot be compared.

    Raises:
        ValueError: the shapes differ.
    """
    if reconstruction.shape != images.shape:
        raise ValueError(f"the reconstruction has shape {reconstruction.shape}, the images {images.shape}")
    # In double precision the order of summation affects none of the printed digits.
    first, second = (values.detach().cpu().double() for values in (reconstruction, images))  # MPS has no doubles
    errors: PerImage = (first - second).square().sum((1, 2, 3)).numpy()
    return errors


def f_measure(true_positives: int, false_positives: int, false_negatives: int) -> float:
    """Return the harmonic mean of precision and recall of a foreground mask; 1 if it is rightly empty.

    >>> f_measure(true_positives=2, false_positives=1, false_negatives=1)
    0.6666666666666666
    """
    total = 2 * true_positives + false_positives + false_negatives
    return 2 * true_positives / total if total else 1.0


def _intersection_over_union(tables: Tables) -> Float64[np.ndarray, "batch predicted true"]:
    """Return the IoU of each predicted with each true label; 0 where both are empty."""
    unions = tables.sum(2, keepdims=True) + tables.sum(1, keepdims=True) - tables
    ious: Float64[np.ndarray, "batch predicted true"] = tables / np.maximum(unions, 1)
    return ious


def _mean_iou(tables: Tables, num_labels: int | None) -> PerImage:
    size = max(num_labels or 0, *tables.shape[1:])
    tables = np.pad(tables, ((0, 0), (0, size - tables.shape[1]), (0, size - tables.shape[2])))
    ious = _intersection_over_union(tables)
    predicted_present, true_present = tables.sum(2) > 0, tables.sum(1) > 0
    # The image's own highest label counts, not the batch's: a score must not depend on the rest of the batch.
    highest = np.where(predicted_present | true_present, np.arange(size), 0).max(1)
    means = np.zeros(len(tables))
    for image, labels in enumerate(np.maximum(highest + 1, num_labels or 0)):
        # True labels must be the rows: the solver's choice among equally good matchings depends on it.
        square = ious[image, :labels, :labels].T
        true_labels, predicted_labels = linear_sum_assignment(square, maximize=True)
        pairs = np.sum(true_present[image, true_labels] | predicted_present[image, predicted_labels])
        means[image] = square[true_labels, predicted_labels].sum() / max(1, pairs)
    return means


def _adjusted_rand_index(tables: Tables) -> PerImage:
    together = _count_pixel_pairs(tables).sum((1, 2))
    predicted_together = _count_pixel_pairs(tables.sum(2)).sum(1)
    true_together = _count_pixel_pairs(tables.sum(1)).sum(1)
    # The counts are integers up to here, so equal partitions are recognized without rounding errors.
    same = (together == predicted_together) & (together == true_together)
    fewer, more = np.minimum(predicted_together, true_together), np.maximum(predicted_together, true_together)
    # In this order a single cluster scores exactly 0: it contains all pairs, so the quotient is exactly 1.
    by_chance = fewer * (more / np.maximum(_count_pixel_pairs(tables.sum((1, 2))), 1))
    maximum = (predicted_together + true_together) / 2
    index: PerImage = np.where(same, 1.0, (together - by_chance) / np.where(same, 1.0, maximum - by_chance))
    return index


def _count_pixel_pairs(counts: Int64[np.ndarray, "*shape"]) -> Int64[np.ndarray, "*shape"]:
    """Return the number of pixel pairs within each group."""
    pairs: Int64[np.ndarray, "*shape"] = counts * (counts - 1) // 2
    return pairs


def _segmentation_covering(tables: Tables, foreground_only: bool, scaled: bool) -> PerImage:
    first = 1 if foreground_only else 0
    covered = _intersection_over_union(tables).max(1)[:, first:]
    areas = tables.sum(1)[:, first:]
    weights = areas if scaled else (areas > 0).astype(np.int64)
    means: PerImage = (weights * covered).sum(1) / np.maximum(weights.sum(1), 1)
    return means
