"""Average precision and recall of found regions, whatever their kind, by COCO's rules (Lin et al., ECCV 2014).

In each image the 100 found regions with the highest scores are matched in the order of their scores, each to the free
true region with the largest IoU. The found regions of all images are then sorted by score, and precision is averaged at
101 values of recall.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MAX_FOUND = 100
"""The found regions of an image that count."""
SURELY_BELOW_ONE = 1 - 1e-10
"""The highest threshold, so that an IoU of 1 passes in spite of rounding."""


@dataclass(frozen=True)
class PrecisionScores:
    """Average precision and recall, from 0 to 1; None where no region is true."""

    ap: float | None
    """Average precision, the mean over `IOU_THRESHOLDS`."""
    ap50: float | None
    """At IoU 0.5."""
    ar: float | None
    """Average recall: the share of true regions that are found, the mean over `IOU_THRESHOLDS`."""
    ar50: float | None
    """At IoU 0.5."""


@dataclass
class PrecisionCounter:
    """Counts image by image; keeps of each found region its score, and whether it is right at each threshold."""

    _scores: list[Float[np.ndarray, " found"]] = field(default_factory=list)
    _right: list[Bool[np.ndarray, "thresholds found"]] = field(default_factory=list)
    _wrong: list[Bool[np.ndarray, "thresholds found"]] = field(default_factory=list)
    _true: int = 0

    def add(
        self,
        ious: Float[np.ndarray, "found true"],
        scores: Float[np.ndarray, " found"],
        ignored: Bool[np.ndarray, " true"],
        crowd: Bool[np.ndarray, " true"],
        pardoned: Bool[np.ndarray, " found"],
    ) -> None:
        """Add an image.

        Args:
            ious: the IoU of each pair of regions; for a crowd, the share of the found region that lies in it.
            scores: the scores of the found regions.
            ignored: the true regions that need not be found; a found region that matches one does not count.
            crowd: the ignored regions that several found regions may match.
            pardoned: the found regions that count only if they match.
        """
        chosen = np.argsort(-scores, kind="stable")[:MAX_FOUND]
        wanted_first = np.argsort(ignored, kind="stable")
        ious, ignored, crowd = ious[chosen][:, wanted_first], ignored[wanted_first], crowd[wanted_first]
        matches = np.array([_match(ious, ignored, crowd, threshold) for threshold in IOU_THRESHOLDS], np.int64)
        matched = matches >= 0
        dropped = np.where(matched, np.append(ignored, False)[matches], pardoned[chosen])
        self._scores.append(scores[chosen])
        self._right.append(matched & ~dropped)
        self._wrong.append(~matched & ~dropped)
        self._true += int((~ignored).sum())

    def scores(self) -> PrecisionScores:
        """Return the scores of all images together."""
        if not self._true:
            return PrecisionScores(None, None, None, None)
        order = np.argsort(-np.concatenate(self._scores), kind="stable")
        right = np.concatenate(self._right, 1)[:, order].cumsum(1)
        wrong = np.concatenate(self._wrong, 1)[:, order].cumsum(1)
        recalls = right.max(1, initial=0) / self._true
        precisions = np.array([_average(*counts, self._true) for counts in zip(right, wrong, strict=True)])
        return PrecisionScores(float(precisions.mean()), float(precisions[0]), float(recalls.mean()), float(recalls[0]))


def _match(
    ious: Float[np.ndarray, "found true"],
    ignored: Bool[np.ndarray, " true"],
    crowd: Bool[np.ndarray, " true"],
    threshold: float,
) -> list[int]:
    """Match the found regions of an image in their order.

    Args:
        ious: the IoU of each pair of regions, in the order of falling scores and with the ignored regions last.
        ignored: the true regions that need not be found.
        crowd: the ignored regions that several found regions may match.
        threshold: the least IoU of a match.

    Returns:
        The index of the true region that each found one matches, or -1.
    """
    free = np.ones(len(ignored), bool)
    matches = []
    for row in ious:
        fitting = (free | crowd) & (row >= min(threshold, SURELY_BELOW_ONE))
        # An ignored region is matched only if no other fits. Among equal IoU the last region is matched.
        fitting &= ignored == (not (fitting & ~ignored).any())
        if not fitting.any():
            matches.append(-1)
            continue
        matches.append(len(row) - 1 - int(np.where(fitting, row, -1.0)[::-1].argmax()))
        free[matches[-1]] = False
    return matches


def _average(right: Float[np.ndarray, " found"], wrong: Float[np.ndarray, " found"], true: int) -> float:
    """Return the mean of the precision at `RECALLS`, each the highest at this recall or a larger one."""
    precision = right / np.maximum(right + wrong, 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / true, RECALLS, side="left")
    return float(np.append(highest, 0.0)[places].mean())
