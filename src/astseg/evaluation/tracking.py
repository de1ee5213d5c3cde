"""Scores of tracking, by how well tracks follow objects: HOTA, IDF1, and identity switches.

All compare two sequences of label images, in which a number stands for one object throughout; 0 is the background.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

Labels = Int[np.ndarray, "height width"]

MIN_IOU = 0.5
"""An object is found where the IoU is above this; then no two can be found by one, or one by two."""
HOTA_THRESHOLDS = np.arange(1, 20) / 20


@dataclass(frozen=True)
class TrackingScores:
    """The scores of a sequence, or of several: means, and the sum of the switches."""

    hota: float
    """0 to 1: the geometric mean of detection and association, over thresholds of IoU (Luiten et al., IJCV 2021)."""
    idf1: float
    """0 to 1: the F-measure of objects with the right identity, where a true object and a track are given to each other
    for the whole sequence (Ristani et al., ECCV workshops 2016)."""
    switches: int
    """How often an object is found by another track than when it was last found (CLEAR MOT, Bernardin and
    Stiefelhagen, 2008)."""


Pair = tuple[int, int]
"""The numbers of a true object and of a track."""


class _Frame(NamedTuple):
    """The objects and tracks of a frame, by their numbers, and how far they overlap."""

    truth: list[int]
    found: list[int]
    iou: Float[np.ndarray, "truth found"]


def score_tracks(truth: Iterable[Labels], found: Iterable[Labels]) -> TrackingScores:
    """Score the tracks of one sequence.

    Args:
        truth: the true objects in each frame.
        found: the tracks in each frame, images of the same sizes.
    """
    frames = [_compare(*pair) for pair in zip(truth, found, strict=True)]
    return TrackingScores(_hota(frames), _idf1(frames), _switches(frames))


def mean_scores(scores: Sequence[TrackingScores]) -> TrackingScores:
    """Return the scores of several sequences together: the means of HOTA and IDF1, and the sum of the switches."""
    return TrackingScores(
        float(np.mean([score.hota for score in scores])),
        float(np.mean([score.idf1 for score in scores])),
        sum(score.switches for score in scores),
    )


def _compare(truth: Labels, found: Labels) -> _Frame:
    """Return the IoU of every pair of objects in a frame."""
    true_names, true_places = np.unique(truth, return_inverse=True)
    found_names, found_places = np.unique(found, return_inverse=True)
    common = np.zeros((len(true_names), len(found_names)))
    np.add.at(common, (true_places.ravel(), found_places.ravel()), 1)
    union = common.sum(1, keepdims=True) + common.sum(0) - common
    rows, columns = true_names != 0, found_names != 0
    iou = (common / union)[rows][:, columns]
    return _Frame(true_names[rows].tolist(), found_names[columns].tolist(), iou)


def _pairs(frame: _Frame, which: npt.NDArray[np.bool_]) -> list[Pair]:
    """Return the pairs of a frame that a mask of its IoU chooses."""
    return [(frame.truth[row], frame.found[column]) for row, column in np.argwhere(which)]


def _switches(frames: Sequence[_Frame]) -> int:
    """Count how often an object is found by another track than the one that found it last."""
    latest: dict[int, int] = {}
    switches = 0
    for frame in frames:
        pairs = dict(_pairs(frame, frame.iou > MIN_IOU))
        switches += sum(latest.get(true, track) != track for true, track in pairs.items())
        latest |= pairs
    return switches


def _idf1(frames: Sequence[_Frame]) -> float:
    """Return 2 M / (T + F): of T objects and F tracks in all frames, M are found by the track matched to the object.

    Each object is matched to one track for the whole sequence, so that M is largest. Without any, the score is 1.
    """
    together = Counter(pair for frame in frames for pair in _pairs(frame, frame.iou > MIN_IOU))
    total = sum(len(frame.truth) + len(frame.found) for frame in frames)
    table = _table(together)
    return float(2 * table[linear_sum_assignment(-table)].sum() / total) if total else 1.0


def _table(counts: Counter[Pair]) -> Float[np.ndarray, "truth found"]:
    """Return the counts of pairs as a table, with a row for each object and a column for each track."""
    true_names = sorted({true for true, _ in counts})
    found_names = sorted({track for _, track in counts})
    table = np.zeros((len(true_names), len(found_names)))
    for (true, track), count in counts.items():
        table[true_names.index(true), found_names.index(track)] = count
    return table


def _hota(frames: Sequence[_Frame]) -> float:
    """Return HOTA: at each threshold the square root of detection times association, averaged over the thresholds.

    Detection is H / (T + F - H), for T objects and F tracks in all frames, of which H pairs are hits: matched, with an
    IoU of the threshold or more. The association of a hit is the Jaccard index of the frames of its object and those of
    its track, where the two hit; its mean over the hits counts. Without objects and tracks, the score is 1.
    """
    true_counts = Counter(true for frame in frames for true in frame.truth)
    found_counts = Counter(track for frame in frames for track in frame.found)
    total = true_counts.total() + found_counts.total()
    if not total:
        return 1.0
    alignment = _alignment(frames, true_counts, found_counts)
    matches = [(pair, iou) for frame in frames for pair, iou in _match(frame, alignment)]
    scores = []
    for threshold in HOTA_THRESHOLDS:
        hits = Counter(pair for pair, iou in matches if iou >= threshold - np.finfo(float).eps)
        association = sum(
            count * count / (true_counts[true] + found_counts[track] - count) for (true, track), count in hits.items()
        )
        # The number of hits cancels out: detection is proportional to it, and the mean over the hits divides by it.
        scores.append(np.sqrt(association / (total - hits.total())))
    return float(np.mean(scores))


def _alignment(frames: Sequence[_Frame], true_counts: Counter[int], found_counts: Counter[int]) -> dict[Pair, float]:
    """Return how well each object and track go together in the whole sequence, from 0 to 1.

    The measure is that of the authors' program, which matches by it: a Jaccard index of frames, in which a frame counts
    by the pair's share of the IoU that either of them has with anything.
    """
    shares: Counter[Pair] = Counter()
    for frame in frames:
        either = frame.iou.sum(0) + frame.iou.sum(1, keepdims=True) - frame.iou
        overlapping = frame.iou > 0
        for pair, share in zip(_pairs(frame, overlapping), frame.iou[overlapping] / either[overlapping], strict=True):
            shares[pair] += share
    return {
        (true, track): share / (true_counts[true] + found_counts[track] - share)
        for (true, track), share in shares.items()
    }


def _match(frame: _Frame, alignment: dict[Pair, float]) -> Iterable[tuple[Pair, float]]:
    """Yield the pairs of a frame, matched one to one with the largest sum of IoU times alignment, and their IoU."""
    weights = np.array([[alignment.get((true, track), 0.0) for track in frame.found] for true in frame.truth])
    weights = weights.reshape(frame.iou.shape) * frame.iou
    for row, column in zip(*linear_sum_assignment(-weights), strict=True):
        yield (frame.truth[row], frame.found[column]), float(frame.iou[row, column])
