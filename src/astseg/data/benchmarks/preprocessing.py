"""Preprocess published images and masks: crop, resize, and merge entity masks into label maps.

Images are resized bilinearly with antialiasing (Pillow), masks by the nearest pixel. Both are cropped first.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from astseg._core.image_files import check_png
from astseg.data.image_fitting import center_slices, resize
from astseg.data.store import MAX_LABELS, Bytes

MAX_PIXELS = 1 << 24
"""Of an image in an archive; the published ones have 76800."""


@contextmanager
def open_png(data: bytes) -> Iterator[Image.Image]:
    """Open the content of a PNG file.

    Raises:
        ValueError: it is no PNG, or has too many pixels; errors of the block too, whatever their type.
    """
    try:
        with warnings.catch_warnings(action="error"), Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has {image.height} x {image.width} pixels; at most {MAX_PIXELS} are read")
            check_png(image)
            yield image
    except UnidentifiedImageError as error:  # whose words name the place in memory
        raise ValueError("cannot identify it as a PNG image") from error
    except Exception as error:  # on damaged files Pillow's decoders raise errors of any type
        raise ValueError(str(error)) from error


def square_crop(pixels: Bytes, side: int | None, axis: int = 0) -> Bytes:
    """Crop a square from the center of an image.

    Args:
        pixels: an array whose axes `axis` and `axis + 1` are height and width.
        side: the square's side in pixels; None leaves the image as it is.
        axis: 0 for H x W and H x W x 3, 1 for E x H x W.

    Raises:
        ValueError: the image is smaller than the square.
    """
    height, width = pixels.shape[axis : axis + 2]
    if side is None:
        return pixels
    if min(height, width) < side:
        raise ValueError(f"an image of {height} x {width} pixels is smaller than the crop of {side} x {side}")
    return pixels[(slice(None),) * axis + center_slices((height, width), (side, side))]


def prepare_image(image: Bytes, crop: int | None, size: int) -> Bytes:
    """Crop an H x W x 3 image and resize it to size x size x 3, bilinear with antialiasing."""
    return resize(square_crop(image, crop), (size, size), Image.Resampling.BILINEAR)


def prepare_labels(labels: Bytes, crop: int | None, size: int) -> Bytes:
    """Crop an H x W label map and resize it to size x size by the nearest pixel."""
    return resize(square_crop(labels, crop), (size, size), Image.Resampling.NEAREST)


def labels_from_entities(entities: Bytes, background: int) -> Bytes:
    """Merge one mask per entity into a label map.

    Args:
        entities: E x H x W masks, 0 outside and 255 inside.
        background: number of leading entities that are background.

    Returns:
        H x W: max(0, strongest entity - (background - 1)), so 0 is the background and 1 the first object.
        Ties go to the first entity, as in `argmax`.

    Raises:
        ValueError: there are more objects than labels.
    """
    if len(entities) - background > MAX_LABELS:
        raise ValueError(f"{len(entities)} entities are more than there are labels")
    strongest = np.zeros(entities.shape[1:], np.uint8)
    best = entities[0].copy()
    for index, mask in enumerate(entities[1:], start=1):
        better = mask > best
        strongest[better] = max(0, index - background + 1)
        np.maximum(best, mask, out=best)
    return strongest
