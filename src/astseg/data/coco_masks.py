"""Masks as COCO's files hold them, from anybody: polygons and both forms of RLE, checked before memory is taken."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from astseg.data.regions import Rle

MAX_CROSSINGS = 1 << 22
"""Of an outline, the pixels along its lines: pycocotools takes memory for each."""


def read_mask(segmentation: Any, size: tuple[int, int]) -> Rle:
    """Return the mask of an annotation.

    Args:
        segmentation: polygons ([[x, y, x, y, ...], ...]) or RLE ({"size": [height, width], "counts": ...}), whose
            counts are a list of numbers or COCO's text.
        size: height and width of the image.

    Raises:
        ValueError: it is something else, or does not fit the image.
    """
    if isinstance(segmentation, dict):
        counts, own_size = segmentation.get("counts"), segmentation.get("size")
        if own_size != list(size):
            raise ValueError(f"an RLE of size {own_size} in an image of {size[0]} x {size[1]} pixels")
        # pycocotools reads beyond the end of a text that is cut off, so it is given numbers.
        numbers = parse_counts(counts) if isinstance(counts, str) else counts
        _check_counts(numbers, size)
        return _one(coco_mask.frPyObjects([{"size": list(size), "counts": numbers}], *size))
    if isinstance(segmentation, list) and segmentation:
        for polygon in segmentation:
            _check_polygon(polygon, size)
        return _one(coco_mask.frPyObjects(segmentation, *size))
    boxed = "; a box alone is no mask" if segmentation in ([], None) else ""
    raise ValueError(f"a segmentation that is neither polygons nor RLE{boxed}")


def check_size(height: Any, width: Any) -> tuple[int, int]:
    """Return the size of an image, whose sides may be written as 64.0, as tables of other programs do.

    Raises:
        ValueError: it is none, or has too many pixels.
    """
    sides = [int(side) if isinstance(side, float) and side.is_integer() else side for side in (height, width)]
    if not all(map(_is_count, sides)):
        raise ValueError(f"an image of height {height!r:.80} and width {width!r:.80}, which should be whole numbers")
    limit = Image.MAX_IMAGE_PIXELS or math.inf
    if not 0 < math.prod(sides) <= limit:
        raise ValueError(f"an image of {height} x {width} pixels; there may be up to {limit}")
    return sides[0], sides[1]


def parse_counts(text: str) -> list[int]:
    """Return the numbers of COCO's compressed RLE: 5 bits a character, from the fourth number on as differences.

    Raises:
        ValueError: the text is no such thing.

    >>> parse_counts("52203")
    [5, 2, 2, 2, 5]
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("an RLE whose counts are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("an RLE whose counts are cut off")
    return counts


def _check_counts(counts: Any, size: tuple[int, int]) -> None:
    if not isinstance(counts, list) or not all(map(_is_count, counts)) or sum(counts) != size[0] * size[1]:
        raise ValueError(f"an RLE whose counts are not those of {size[0]} x {size[1]} pixels")


def _check_polygon(polygon: Any, size: tuple[int, int]) -> None:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError("a polygon of fewer than three points, or half a point")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in polygon):
        raise ValueError("a polygon of something other than numbers")
    points = np.array(polygon, np.float64).reshape(-1, 2)
    # Outlines leave their image by a few pixels at most.
    if not (np.abs(points) <= 2 * max(size)).all():
        raise ValueError(f"a polygon far outside its image of {size[0]} x {size[1]} pixels")
    if np.abs(points - np.roll(points, 1, 0)).max(1).sum() > MAX_CROSSINGS:
        raise ValueError(f"a polygon whose lines are longer than {MAX_CROSSINGS} pixels")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _one(masks: Sequence[Rle]) -> Rle:
    merged: Rle = coco_mask.merge(list(masks))
    return merged
