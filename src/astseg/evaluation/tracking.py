"""How well tracks follow objects: HOTA, IDF1, and switches of identity.

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


class _Frame(NamedTuple):
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
    """Put the scores of several sequences together."""
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


def _pairs(frame: _Frame, which: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    return [(frame.truth[row], frame.found[column]) for row, column in np.argwhere(which)]


def _switches(frames: Sequence[_Frame]) -> int:
    latest: dict[int, int] = {}
    switches = 0
    for frame in frames:
        pairs = dict(_pairs(frame, frame.iou > MIN_IOU))
        switches += sum(latest.get(true, track) != track for true, track in pairs.items())
        latest |= pairs
    return switches


def _idf1(frames: Sequence[_Frame]) -> float:
    together = Counter(pair for frame in frames for pair in _pairs(frame, frame.iou > MIN_IOU))
    total = sum(len(frame.truth) + len(frame.found) for frame in frames)
    matched = _table(together)
    return float(2 * matched[linear_sum_assignment(-matched)].sum() / total) if total else 1.0


def _table(counts: Counter[tuple[int, int]]) -> Float[np.ndarray, "truth found"]:
    true_names = sorted({true for true, _ in counts})
    found_names = sorted({track for _, track in counts})
    table = np.zeros((len(true_names), len(found_names)))
    for (true, track), count in counts.items():
        table[true_names.index(true), found_names.index(track)] = count
    return table


def _hota(frames: Sequence[_Frame]) -> float:
    true_counts = Counter(true for frame in frames for true in frame.truth)
    found_counts = Counter(track for frame in frames for track in frame.found)
    total = true_counts.total() + found_counts.total()
    if not total:
        return 1.0
    # Pairs are matched by how well they go together in the whole sequence, as the authors' program does it.
    shares: Counter[tuple[int, int]] = Counter()
    for frame in frames:
        either = frame.iou.sum(0) + frame.iou.sum(1, keepdims=True) - frame.iou
        for pair, (row, column) in zip(_pairs(frame, frame.iou > 0), np.argwhere(frame.iou > 0), strict=True):
            shares[pair] += frame.iou[row, column] / either[row, column]
    alignment = {
        (true, track): share / (true_counts[true] + found_counts[track] - share)
        for (true, track), share in shares.items()
    }
    matches = [(pair, iou) for frame in frames for pair, iou in _match(frame, alignment)]
    scores = []
    for threshold in HOTA_THRESHOLDS:
        hits = Counter(pair for pair, iou in matches if iou >= threshold - np.finfo(float).eps)
        association = sum(
            count * count / (true_counts[true] + found_counts[track] - count) for (true, track), count in hits.items()
        )
        # The square root of detection (hits of all) times association (its mean over the hits).
        scores.append(np.sqrt(association / (total - hits.total())))
    return float(np.mean(scores))


def _match(frame: _Frame, alignment: dict[tuple[int, int], float]) -> Iterable[tuple[tuple[int, int], float]]:
    weights = np.array([[alignment.get((true, track), 0.0) for track in frame.found] for true in frame.truth])
    weights = weights.reshape(frame.iou.shape) * frame.iou
    for row, column in zip(*linear_sum_assignment(-weights), strict=True):
        yield (frame.truth[row], frame.found[column]), float(frame.iou[row, column])
