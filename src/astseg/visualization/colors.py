"""The colors of labels, the same in every image that astseg makes."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from astseg.data.store import MAX_LABELS, Bytes

SIDE_PER_CONTOUR_PIXEL = 600
"""Contours get one pixel wider per this many pixels of the longer side, to show when a large image is viewed whole."""

# The background, then the colors of Okabe and Ito (2008), "Color universal design", without black. Each further color
# is the vivid one farthest from white and from all before it, in Oklab as most people and as deuteranopes see it (the
# tests have the formula).
_COLORS = np.frombuffer(
    bytes.fromhex("""
    000000 e69f00 56b4e9 009e73 f0e442 0072b2 d55e00 cc79a7 7f001f 0000bf bf00ff 005f00 1f3f5f 7f009f 3fdf9f ff9fff
    bf005f 5f1fff 1fbf00 9fdfff 00ff00 7f5f3f ff1fdf ffbf9f 5f7fff 9f5fbf 9fffbf bf7fff ff007f 3f7f00 ff7f7f 7f005f
    9f9f5f 1f5f5f 3f3fbf 9f5f7f 1f7f7f bf009f ffff9f df9fbf 0000ff 00bf9f bf1f00 9fdf5f 009fbf 005fff bfbf7f 1f9f00
    7f3fdf ff003f 5f3f7f ffbfdf 5f3f00 00df1f 9f7f00 9fbf00 00dfdf 5f007f 3f1f9f ff5fbf 9fbfdf 7f3f3f 9fffff bf5f5f
    9f007f 9f00bf 9fff5f 5f7fbf 9f5fff 9fdfbf ffbf3f ff5f3f 00ff9f ffff00 df00bf 9f0000 00ffdf 3f9fff 9f7fbf ffdf9f
    df3fff ff5fff bf7f5f 5f5f00 7f9f1f df1f5f bf9fff df7f00 7f9fbf df3f9f df7fdf 7f5f9f 7fbf7f bf5fdf df5f7f 9f5f00
    ff9f9f 007fdf 3f1fdf 5f5fbf df1f00 5f1f5f 7f3f9f dfbfff ff9f5f 5f00bf 9f3f3f 3f5f7f 003f9f df9f7f 005f9f 7f5fdf
    3fbf5f 9f1f5f 1f3fff bf3f7f 7f7fdf 9f00ff 9f9fdf 9f3f7f 5f5fff 7f1f7f 5f9f9f 5fbfbf 005f3f ff7f3f 7f3f00 ff5f7f
    ff7fbf 7f7f3f 3f7f9f 7f3f5f 1f3f7f 7fbfff df5fbf 9f3fdf bf9f00 3f7f5f bf5f9f 7f1fbf 5f3f9f 7f1fff 7f3f7f 3f00bf
    9f1f9f 5f009f 3f5fdf 7f003f 9f003f dfdf7f df007f bfdf00 1f5fbf 0000df ff7fff bfdf9f bf3fbf 9f5f5f ff3f9f df7f7f
    dfffbf 5f3fdf 5f9fdf 9f5f9f 5f9f5f 7f9fff bfffdf 7f00df bf7f1f 9fbf5f dfbf5f bf3f5f bf5f7f 9f3fbf bf3fdf df00df
    5fdf5f dfff7f bf5fbf ff1fbf ff00ff df5fdf 9f7f5f 7fdf00 bf007f 9f5fdf bf5fff df7fbf 5fdfbf 9f3f5f 5f00df dfbf00
    007f3f bf7fdf ff5fdf df7fff df5f5f 5f5f9f df9fdf 5fdfff 9f3f00 bf3f3f ff7fdf bf003f bfff9f 5f3fbf 7f5f00 7fdfdf
    007fff 5f9f7f bf3f9f ff9fdf bf7f7f bfff00 ff7f9f 9f7fff 7f5fbf ff9fbf df5f9f bf9f7f ff3f5f 9f00df 7fbf9f df9f9f
    3f3f9f 003fdf bfbf3f 7f3fbf 3fff5f 3fffff ff5f9f df7f5f ff3f00 3f00ff df9fff 1f7fbf bf5f3f ffbfbf df5fff 00df7f
    7fdf7f 3fffbf bf00bf 00bf7f 9f7fdf dfbf9f df7f9f 9f3f9f 7f5fff bf9f5f 7fff1f ffbfff bf9fdf ffdfbf 003fbf 9f3fff
    """),
    np.uint8,
).reshape(-1, 3)


def label_colors(count: int) -> Bytes:
    """Return the colors of the background and of the labels 1 to `count`.

    The color of a label does not depend on the count.

    Args:
        count: the number of labels besides the background, 0 to 255.

    Returns:
        (count + 1) x 3 RGB; row 0, the background, is black.

    Raises:
        ValueError: the count is out of range.
    """
    if not 0 <= count <= MAX_LABELS:
        raise ValueError(f"there can be 0 to {MAX_LABELS} labels, not {count}")
    colors: Bytes = _COLORS[: count + 1].copy()
    return colors


def overlay(image: Bytes, labels: npt.NDArray[np.integer], opacity: float = 0.45) -> Bytes:
    """Blend the labels' colors into an image, and draw each object's contour in its full color.

    Contours are one pixel wide, and wider in large images (`SIDE_PER_CONTOUR_PIXEL`).

    Args:
        image: H x W x 3 RGB.
        labels: H x W, 0 (background, left as it is) to 255.
        opacity: of the color inside an object, 0 (contours only) to 1.

    Returns:
        H x W x 3 RGB, a new image.

    Raises:
        ValueError: the shapes do not fit, or a label is outside 0 to 255.
    """
    if image.shape != (*labels.shape, 3):
        raise ValueError(f"labels {labels.shape} do not fit an image of shape {image.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() <= MAX_LABELS:
        raise ValueError(f"labels should lie in 0 to {MAX_LABELS}, not {labels.min()} to {labels.max()}")
    result: Bytes = np.array(image, order="C")
    pixels, owners = result.reshape(-1, 3), labels.reshape(-1)
    # By numbers of pixels, several times as fast as by masks.
    inside = np.flatnonzero(owners)
    pairs = pixels.take(inside, 0).astype(np.uint16) << 8 | _COLORS.take(owners.take(inside), 0)
    pixels[inside] = _mixtures(opacity).take(pairs)
    outline = np.flatnonzero(contours(labels, max(1, max(labels.shape) // SIDE_PER_CONTOUR_PIXEL)))
    pixels[outline] = _COLORS.take(owners.take(outline), 0)
    return result


@lru_cache
def _mixtures(opacity: float) -> Bytes:
    """Return what becomes of a value v of an image under a value c of a color, at 256 v + c."""
    values = np.arange(256, dtype=np.float32)
    below, color = values[:, None], values[None]
    mixtures: Bytes = np.rint(below + np.float32(opacity) * (color - below)).astype(np.uint8).reshape(-1)
    return mixtures


def contours(labels: npt.NDArray[np.integer], width: int = 1) -> npt.NDArray[np.bool_]:
    """Return the pixels of objects that have a pixel of another label above, below, left or right of them.

    Args:
        labels: H x W, 0 is the background.
        width: of the contour, 1 or more: the most pixels up, down, left or right to another label.

    Returns:
        H x W; the image's border is not a contour.
    """
    edge = np.zeros(labels.shape, bool)
    vertical = labels[1:] != labels[:-1]
    horizontal = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= vertical
    edge[:-1] |= vertical
    edge[:, 1:] |= horizontal
    edge[:, :-1] |= horizontal
    if width > 1:
        edge = binary_dilation(edge, iterations=width - 1)
    inside: npt.NDArray[np.bool_] = edge & (labels > 0)
    return inside
