"""Scoring of images one by one, each at its own size, whether a model or another program found its regions."""

import numpy as np

from astseg._core.errors import AstSegError
from astseg.data.regions import Regions, Truth, covered
from astseg.evaluation.contingency import MAX_SCORED_LABEL
from astseg.evaluation.evaluator import Evaluation
from astseg.evaluation.metrics import SegmentationScores, join_scores, score_segmentations
from astseg.evaluation.protocol import LABEL_SCORES
from astseg.evaluation.region_scores import RegionCounter

UNSCORED = -1
"""The true label of pixels that are not scored."""


class ImageEvaluator:
    """Scores images one by one.

    Args:
        num_slots: the largest number of objects that can be found; None if unknown.
        min_area: see `RegionCounter`.
    """

    def __init__(self, num_slots: int | None = None, min_area: int = 0) -> None:
        self.num_slots = num_slots
        self._regions = RegionCounter(min_area)
        self._names: list[str] = []
        self._objects: list[int] = []
        self._scores: list[SegmentationScores] = []
        self._nothing: list[SegmentationScores] = []
        self._unscored = False

    @property
    def images(self) -> int:
        """The number of images that were added."""
        return len(self._names)

    def add(self, name: str, found: Regions, truth: Truth) -> None:
        """Add an image.

        Raises:
            AstSegError: the found and the true labels differ in size, or there are too many regions.
        """
        _check_scorable(name, found, truth)
        self._regions.add(found, truth)
        true = truth.regions.labels.astype(np.int64)
        unscored = covered(truth.crowds, true.shape) & (true == 0)
        if truth.unscored is not None:
            unscored |= truth.unscored
        true[unscored] = UNSCORED
        self._unscored |= bool(unscored.any())
        num_labels = None if self.num_slots is None else self.num_slots + 1
        labels = found.labels.astype(np.int64)
        for predicted, scores in ((labels, self._scores), (np.zeros_like(labels), self._nothing)):
            scores.append(score_segmentations(predicted[None], true[None], num_labels, UNSCORED))
        self._objects.append(len(np.unique(true[true > 0])))
        self._names.append(name)

    def evaluation(self, protocol: str) -> Evaluation:
        """Return the scores of all images.

        Args:
            protocol: sentences that say which regions are scored, and against which truth.
        """
        size = f"{self.images} images at their own sizes."
        unscored = " Some pixels are not scored." if self._unscored else ""
        return Evaluation(
            num_slots=self.num_slots,
            protocol=f"{size}{unscored} {protocol} Means over images. {LABEL_SCORES}",
            index=np.arange(self.images),
            objects=np.array(self._objects, np.int64),
            scores=join_scores(self._scores),
            background_everywhere=join_scores(self._nothing),
            mse=None,
            shadow_claimed=None,
            lit_claimed=None,
            regions=self._regions.scores(),
            names=tuple(self._names),
        )


def _check_scorable(name: str, found: Regions, truth: Truth) -> None:
    """Raise an AstSegError unless found and true labels have one size, and tables have room for their regions."""
    shape, true_shape = found.labels.shape, truth.regions.labels.shape
    if shape != true_shape:
        raise AstSegError(
            f"What was found in {name} has {shape[0]} x {shape[1]} pixels, what is true of it "
            f"{true_shape[0]} x {true_shape[1]}. Score results of the images' own size."
        )
    for what, regions in (("found", found), ("true", truth.regions)):
        highest = int(regions.labels.max(initial=0))
        if highest > MAX_SCORED_LABEL:
            raise AstSegError(f"{name} has {highest} {what} regions; up to {MAX_SCORED_LABEL} can be scored.")
