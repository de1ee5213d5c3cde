"""Panoptic quality with one class, the object (Kirillov et al., CVPR 2019)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

MIN_IOU = 0.5
"""Of a match, which then is the only one if no regions overlap."""
MAX_CROWD_SHARE = 0.5
"""A found region that matches nothing does not count if more of it lies in crowds and where nothing is scored."""


@dataclass(frozen=True)
class PanopticScores:
    """The scores of all images together, from 0 to 1."""

    pq: float | None
    """The product of the two; None if nothing is true or found."""
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
    """The sum over the matches."""

    def add(
        self,
        ious: Float[np.ndarray, "found true"],
        pardoned: Bool[np.ndarray, " found"],
        ignored: Bool[np.ndarray, " true"],
    ) -> None:
        """Add an image.

        Args:
            ious: of each pair.
            pardoned: the found regions that do not count unless they match.
            ignored: the true regions that need not be found; what matches one does not count.
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
