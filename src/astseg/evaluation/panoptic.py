"""Panoptic quality with one class, the object (Kirillov et al., CVPR 2019)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

MIN_IOU = 0.5
"""Two regions match above this IoU. If no regions overlap, each then has one match at most."""
MAX_CROWD_SHARE = 0.5
"""A found region without a match does not count if a larger share of it lies in crowds or where nothing is scored."""


@dataclass(frozen=True)
class PanopticScores:
    """The scores of all images together, from 0 to 1."""

    pq: float | None
    """Panoptic quality, the product of the other two; None if no region is true or found."""
    rq: float | None
    """Recognition: the F-measure of the regions."""
    sq: float | None
    """Segmentation: the mean IoU of the matches; 0 if there is none."""


@dataclass
class PanopticCounter:
    """Counts image by image."""

    matched: int = 0
    missed: int = 0
    spurious: int = 0
    iou: float = 0.0
    """The sum of the IoU of all matches."""

    def add(
        self,
        ious: Float[np.ndarray, "found true"],
        pardoned: Bool[np.ndarray, " found"],
        ignored: Bool[np.ndarray, " true"],
    ) -> None:
        """Add an image.

        Args:
            ious: the IoU of each pair of regions.
            pardoned: the found regions that count only if they match.
            ignored: the true regions that need not be found; a found region that matches one does not count.
        """
        matches = ious > MIN_IOU
        wanted = matches[:, ~ignored]
        self.matched += int(wanted.any(0).sum())
        self.missed += int((~wanted.any(0)).sum())
        self.spurious += int((~matches.any(1) & ~pardoned).sum())
        self.iou += float(ious[:, ~ignored][wanted].sum())

    def scores(self) -> PanopticScores:
        """Return the scores of all images."""
        total = 2 * self.matched + self.missed + self.spurious
        if not total:
            return PanopticScores(None, None, None)
        rq, sq = 2 * self.matched / total, self.iou / max(1, self.matched)
        return PanopticScores(rq * sq, rq, sq)
