"""The regions of one image, found or true, which may overlap: whole masks beside the label of each pixel."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Integer
from pycocotools import mask as coco_mask
from scipy.ndimage import find_objects

Rle: TypeAlias = dict[str, Any]
"""A mask of an image as pycocotools' compressed RLE."""
Mask: TypeAlias = Bool[np.ndarray, "height width"]


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of one image."""

    labels: Integer[np.ndarray, "height width"]
    """The region of each pixel, counted from 1 in an order that is the maker's, and 0 for none; where regions overlap,
    the upper one."""
    masks: tuple[Rle, ...]
    """All pixels of each region, also those below others."""
    scores: tuple[float, ...] | None = None
    """How sure each region is, on any scale; None if nothing is known."""

    @property
    def overlap(self) -> bool:
        """Whether any pixel belongs to two regions."""
        return bool(coco_mask.area(list(self.masks)).sum() > np.count_nonzero(self.labels))


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of one image."""

    regions: Regions
    unscored: Mask | None = None
    """Pixels that are taken out of all regions; None if there are none."""
    crowds: tuple[Rle, ...] = ()
    """Regions that hold many objects which nobody separated: what is found there counts neither way."""
    shadow: Mask | None = None
    """Pixels of shadows on the background; None if unknown."""

    @property
    def is_void(self) -> bool:
        """Whether no pixel is to be scored, so that nothing is known."""
        return self.unscored is not None and bool(self.unscored.all())


def regions_of_labels(labels: Integer[np.ndarray, "height width"], scores: Sequence[float] | None = None) -> Regions:
    """Return the regions of a label image; 0 is the background.

    Args:
        labels: H x W, 0 or more.
        scores: of label 1, 2, ...; labels without a pixel have one too.
    """
    present = [label for label, box in enumerate(find_objects(labels), 1) if box is not None]
    columns = np.asfortranarray(labels)
    masks = tuple(encode(columns == label) for label in present)
    return Regions(labels, masks, None if scores is None else tuple(float(scores[label - 1]) for label in present))


def regions_of_masks(masks: Sequence[Rle], size: tuple[int, int], scores: Sequence[float] | None = None) -> Regions:
    """Return regions by their masks; where they overlap, those of higher scores are above, or else smaller ones.

    Args:
        masks: of each region.
        size: height and width of the image.
        scores: of each region, if there are any.
    """
    labels = np.zeros(size, np.int64)
    heights = -coco_mask.area(list(masks)).astype(np.float64) if scores is None else np.array(scores)
    for index in np.argsort(heights, kind="stable").tolist():
        labels[coco_mask.decode(masks[index]) > 0] = index + 1
    return Regions(labels, tuple(masks), None if scores is None else tuple(map(float, scores)))


def without_pixels(regions: Regions, pixels: Mask) -> Regions:
    """Return regions without some pixels; a region that had no others has none left."""
    outside = encode(~pixels)
    labels = np.where(pixels, 0, regions.labels)
    return Regions(labels, tuple(coco_mask.merge([mask, outside], True) for mask in regions.masks), regions.scores)


def covered(masks: Iterable[Rle], size: tuple[int, int]) -> Mask:
    """Return the pixels that any of some masks covers."""
    parts = list(masks)
    return np.asarray(coco_mask.decode(coco_mask.merge(parts)) > 0) if parts else np.zeros(size, bool)


def encode(mask: Mask) -> Rle:
    """Return a mask as RLE."""
    encoded: Rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return encoded
