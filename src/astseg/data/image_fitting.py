"""Cropping and resizing images and masks to a size."""

import numpy as np
from PIL import Image

from astseg._core.image_files import Bytes


def center_crop(size: tuple[int, int], target: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the largest centered crop with the target's proportions.

    Args:
        size: height and width of the image.
        target: height and width to which the crop will be resized.
    """
    height, width = size
    # The largest h x w with the target's h / w; at least one pixel, since images may be 1 x 1000.
    crop_height = max(1, min(height, round(width * target[0] / target[1])))
    crop_width = max(1, min(width, round(height * target[1] / target[0])))
    return center_slices(size, (crop_height, crop_width))


def center_slices(size: tuple[int, int], part: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of a centered part of an image.

    Args:
        size: height and width of the image.
        part: height and width of the part, at most those of the image.
    """
    top, left = (size[0] - part[0]) // 2, (size[1] - part[1]) // 2
    return slice(top, top + part[0]), slice(left, left + part[1])


def fit_image(image: Bytes, size: tuple[int, int]) -> Bytes:
    """Crop an image (`center_crop`), then resize it bilinearly with antialiasing.

    Args:
        image: H x W x 3.
        size: height and width of the result.

    Returns:
        height x width x 3.
    """
    return resize(image[center_crop((image.shape[0], image.shape[1]), size)], size, Image.Resampling.BILINEAR)


def fit_mask(mask: Bytes, size: tuple[int, int]) -> Bytes:
    """Crop a mask as `fit_image` crops its image, and resize it by the nearest pixel.

    Args:
        mask: H x W labels.
        size: height and width of the result.

    Returns:
        height x width labels.
    """
    return resize(mask[center_crop((mask.shape[0], mask.shape[1]), size)], size, Image.Resampling.NEAREST)


def resize(values: Bytes, size: tuple[int, int], how: Image.Resampling) -> Bytes:
    """Resize an H x W or H x W x 3 array to a height and width; an array of that size is returned unchanged."""
    if values.shape[:2] == size:
        return values
    return np.array(Image.fromarray(values).resize((size[1], size[0]), how))
