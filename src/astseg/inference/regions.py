"""The connected pieces of a label image, and where they would lie after a movement."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from jaxtyping import Int
from scipy.ndimage import find_objects

from astseg._core.connected_pieces import connected_pieces

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Box = tuple[slice, slice]

MIN_PIECE_SHARE = 0.2
"""A piece of a label below this share of the label's largest piece goes with that one: a shred is no object."""


@dataclass(frozen=True, eq=False)
class Region:
    """Some pixels of an image, which may reach beyond its edges."""

    corner: Ints
    """Row and column of the box's top left pixel."""
    mask: npt.NDArray[np.bool_]
    """Which pixels of the box."""

    @cached_property
    def area(self) -> int:
        """The number of pixels, 1 or more."""
        return int(self.mask.sum())

    @cached_property
    def centroid(self) -> Floats:
        """Mean row and column."""
        rows, columns = np.nonzero(self.mask)
        mean: Floats = self.corner + np.array([rows.mean(), columns.mean()])
        return mean

    def paint(self, shape: tuple[int, ...], shift: Floats) -> npt.NDArray[np.bool_]:
        """Return an image of a shape that is true under the region after a shift by whole pixels."""
        image = np.zeros(shape, bool)
        place, window = self._overlap(shape, shift)
        image[place] = self.mask[window]
        return image

    def count(self, image: Int[np.ndarray, "height width"], shift: Floats) -> Ints:
        """Count each of an image's values, 0 to its largest, under the region after a shift by whole pixels."""
        place, window = self._overlap(image.shape, shift)
        return np.bincount(image[place][self.mask[window]], minlength=int(image.max()) + 1)

    def most(self, image: Int[np.ndarray, "height width"], shift: Floats) -> int:
        """Return the most frequent value above 0 under the region after a shift by whole pixels; 0 if there is none."""
        place, window = self._overlap(image.shape, shift)
        values = image[place][self.mask[window]]
        names, counts = np.unique(values[values > 0], return_counts=True)
        return int(names[counts.argmax()]) if len(names) else 0

    def _overlap(self, shape: tuple[int, ...], shift: Floats) -> tuple[Box, Box]:
        """Return the box of an image into which a shift takes the region, and the part of the region in it."""
        corner = self.corner + np.rint(shift).astype(np.int64)
        begin, end = (np.clip(edge, 0, shape) for edge in (corner, corner + self.mask.shape))
        (top, left), (bottom, right) = begin - corner, end - corner
        return (slice(begin[0], end[0]), slice(begin[1], end[1])), (slice(top, bottom), slice(left, right))


@dataclass(frozen=True, eq=False)
class Pieces:
    """The pieces of a label image: of each label the pixels that lie in one island."""

    image: Int[np.ndarray, "height width"]
    """The piece of each pixel, from 1 on in the order of their first pixels, whatever the labels are; 0 for none."""
    labels: Ints
    """The label of each piece."""
    islands: Ints
    """The island of each piece: connected pixels of any labels, with background all around."""
    regions: list[Region]


def find_pieces(labels: Int[np.ndarray, "height width"]) -> Pieces:
    """Tell the objects apart that share a label: those with background between them.

    Pieces of a label with only other objects between them stay together, as one that is partly hidden.
    """
    foreground = labels > 0
    islands = connected_pieces(foreground)
    count = int(islands.max(initial=0))
    keys = labels[foreground].astype(np.int64) * (count + 1) + islands[foreground]
    names, first, places, areas = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    owners, homes = np.divmod(names, count + 1)
    by_area = np.lexsort((first, -areas, owners))  # of equally large ones, the first
    _, begins, label_places = np.unique(owners[by_area], return_index=True, return_inverse=True)
    largest = np.empty(len(names), np.int64)
    largest[by_area] = by_area[begins][label_places]
    whole = np.where(areas < MIN_PIECE_SHARE * areas[largest], largest, np.arange(len(names)))
    np.minimum.at(first, whole, first)
    order = np.array([piece for piece in first.argsort() if whole[piece] == piece], np.int64)
    numbers = np.zeros(len(names), np.int64)
    numbers[order] = np.arange(1, len(order) + 1)
    image = np.zeros(labels.shape, np.int64)
    image[foreground] = numbers[whole][places]
    return Pieces(image, owners[order], homes[order], list(cut_regions(image).values()))


def cut_regions(image: Int[np.ndarray, "height width"]) -> dict[int, Region]:
    """Return the region of each value above 0 that is there."""
    boxes = {value: box for value, box in enumerate(find_objects(image), 1) if box is not None}
    return {
        value: Region(np.array([rows.start, columns.start]), image[rows, columns] == value)
        for value, (rows, columns) in boxes.items()
    }
