"""Scores of found regions against true ones: foreground, panoptic quality and average precision."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from pycocotools import mask as coco_mask

from astseg.data.regions import Regions, Truth, covered, encode, without_pixels
from astseg.evaluation.average_precision import PrecisionCounter, PrecisionScores
from astseg.evaluation.foreground import ForegroundCounter, ForegroundScores
from astseg.evaluation.panoptic import MAX_CROWD_SHARE, PanopticCounter, PanopticScores

PROTOCOL = (
    "Foreground: all pixels of all images together, without telling objects apart. "
    "Regions: a true region is matched if the IoU with a found one is above 0.5. "
    "PQ, SQ, RQ: panoptic quality with one class; not defined where regions overlap. "
    "AP, AR: COCO's, whatever the category, at IoU 0.5 and as the mean over 0.5, 0.55, ... 0.95, "
    "with up to 100 found regions of an image, ranked by their activation or the score in their file."
)
WITHOUT_SCORES = " Nothing says how sure the found regions are, so larger ones are taken for surer."


@dataclass(frozen=True)
class RegionScores:
    """The scores of all images together."""

    foreground: ForegroundScores
    true_regions: int
    """The number of true regions."""
    matched_regions: int
    """Those that are matched at IoU 0.5."""
    found_regions: int
    """The number of found regions, without those that do not count."""
    panoptic: PanopticScores | None
    """None if regions overlap: a region may then match several others."""
    precision: PrecisionScores
    protocol: str


class RegionCounter:
    """Counts image by image.

    Args:
        min_area: an area in pixels. Smaller true regions need not be found, and smaller found ones count only if they
            match.
    """

    def __init__(self, min_area: int = 0) -> None:
        self.min_area = min_area
        self._foreground, self._panoptic, self._precision = ForegroundCounter(), PanopticCounter(), PrecisionCounter()
        self._overlap = False
        self._ranked = True

    def add(self, found: Regions, truth: Truth) -> None:
        """Add an image."""
        size = truth.regions.labels.shape
        crowds = covered(truth.crowds, size) & (truth.regions.labels == 0)
        scored = ~crowds if truth.unscored is None else ~(crowds | truth.unscored)
        self._foreground.add(found.labels > 0, truth.regions.labels > 0, scored, truth.shadow)
        self._overlap |= found.overlap or truth.regions.overlap
        self._ranked &= found.scores is not None or not found.masks
        self._add_regions(found, truth)

    def _add_regions(self, found: Regions, truth: Truth) -> None:
        """Match the regions of an image, apart from their pixels that are not scored.

        A found region is pardoned, so that it counts only if it matches, where it is small
        or lies in pixels that are not scored.
        """
        true, crowds, inside = truth.regions, list(truth.crowds), found
        if truth.unscored is not None:
            true, inside = without_pixels(true, truth.unscored), without_pixels(found, truth.unscored)
            crowds.append(encode(truth.unscored))
        true_areas = coco_mask.area(list(true.masks))
        wanted = [mask for mask, area in zip(true.masks, true_areas, strict=True) if area]
        small = true_areas[true_areas > 0] < self.min_area
        ious = _ious(inside, wanted, crowd=False)
        shares = _ious(found, crowds, crowd=True)
        areas = coco_mask.area(list(inside.masks))
        pardoned = (areas < self.min_area) | ((areas == 0) & (coco_mask.area(list(found.masks)) > 0))
        ignored = np.concatenate([small, np.ones(len(crowds), bool)])
        crowd = np.arange(len(ignored)) >= len(small)
        scores = np.array(areas if found.scores is None else found.scores, np.float64)
        self._precision.add(np.concatenate([ious, shares], 1), scores, ignored, crowd, pardoned)
        self._panoptic.add(ious, pardoned | (shares.sum(1) > MAX_CROWD_SHARE), small)

    def scores(self) -> RegionScores:
        """Return the scores of all images together."""
        counts = self._panoptic
        return RegionScores(
            foreground=self._foreground.scores(),
            true_regions=counts.matched + counts.missed,
            matched_regions=counts.matched,
            found_regions=counts.matched + counts.spurious,
            panoptic=None if self._overlap else counts.scores(),
            precision=self._precision.scores(),
            protocol=self._protocol(),
        )

    def _protocol(self) -> str:
        small = f" True regions of fewer than {self.min_area} pixels need not be found." if self.min_area else ""
        return PROTOCOL + ("" if self._ranked else WITHOUT_SCORES) + small


def _ious(found: Regions, masks: list[dict[str, object]], *, crowd: bool) -> Float[np.ndarray, "found masks"]:
    """Return the IoU of each found region with each mask; for crowds, the share of the region in the mask."""
    if not found.masks or not masks:
        return np.zeros((len(found.masks), len(masks)))
    return np.asarray(coco_mask.iou(list(found.masks), masks, [int(crowd)] * len(masks)), np.float64)
