"""The colours of labels, the same in every picture that astseg makes."""

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

Bytes = npt.NDArray[np.uint8]

MAX_LABELS = 255
"""A label picture has 8 bits, one value of which is the background."""
CONTOUR_SHARE = 600
"""A contour of a 600th of a picture is seen where the whole picture is looked at."""

# Okabe and Ito (2008), "Color universal design", but for black: common colour visions all tell them apart.
FIRST_COLORS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)

# Ottosson, "A perceptual color space for image processing" (2020): linear sRGB -> cone responses -> Oklab.
CONES_FROM_RGB = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OKLAB_FROM_CONES = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
# Viénot, Brettel and Mollon (1999), "Digital video colourmaps for checking the legibility of displays by
# dichromats".
DEUTERANOPE_FROM_RGB = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])


def label_colors(count: int) -> Bytes:
    """The colours of the background and of the labels 1 to `count`.

    A label keeps its colour whatever the count: a shorter list is the beginning of a longer one.

    Args:
        count: how many labels there are beside the background, 0 to 255.

    Returns:
        (count + 1) x 3 RGB; row 0, the background, is black.

    Raises:
        ValueError: more labels than 8 bits can tell apart, or fewer than none.
    """
    if not 0 <= count <= MAX_LABELS:
        raise ValueError(f"there can be 0 to {MAX_LABELS} labels, not {count}")
    colors: Bytes = _all_colors()[: count + 1].copy()
    return colors


def overlay(image: Bytes, labels: npt.NDArray[np.integer], opacity: float = 0.45) -> Bytes:
    """Lay the labels' colours over a picture, and draw each object's contour in its full colour.

    Contours are a pixel wide, in large pictures the CONTOUR_SHARE-th part of the longer side.

    Args:
        image: H x W x 3 RGB.
        labels: H x W, 0 (background, left as it is) to 255.
        opacity: of the colour inside an object, 0 (contours only) to 1.

    Returns:
        H x W x 3 RGB, a new picture.

    Raises:
        ValueError: the shapes do not fit, or a label is outside 0 to 255.
    """
    if image.shape != (*labels.shape, 3):
        raise ValueError(f"labels {labels.shape} do not fit a picture of shape {image.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() <= MAX_LABELS:
        raise ValueError(f"labels should lie in 0 to {MAX_LABELS}, not {labels.min()} to {labels.max()}")
    colored = _all_colors()[labels]
    outline = contours(labels, max(1, max(labels.shape) // CONTOUR_SHARE))
    strength = np.where(outline, 1.0, opacity).astype(np.float32) * (labels > 0)
    mixed = image + strength[..., None] * (colored.astype(np.float32) - image)
    result: Bytes = np.rint(mixed).astype(np.uint8)
    return result


def contours(labels: npt.NDArray[np.integer], width: int = 1) -> npt.NDArray[np.bool_]:
    """The pixels of objects that have a pixel of another label above, below, left or right of them.

    Args:
        labels: H x W, 0 is the background.
        width: of the contour, in pixels, 1 or more: so many steps up, down, left or right lead to another label.

    Returns:
        H x W; the picture's border is no contour.
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


@cache
def _all_colors() -> Bytes:
    """All 256 colours: black, the first seven, then always the one farthest from all before it."""
    levels = np.linspace(0, 255, 9).astype(int)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    features = _appearance(candidates)
    # Neither as dark as the background nor grey like much of what lies under an overlay.
    vivid = (features[:, 0] > 0.35) & (np.ptp(candidates, axis=1) > 60)
    candidates, features = candidates[vivid], features[vivid]
    # White is taken too: on a page and on bright pictures it is as hard to see as black is on dark ones.
    chosen = [(0, 0, 0), *FIRST_COLORS]
    taken = _appearance(np.array([*chosen, (255, 255, 255)]))
    nearest = np.linalg.norm(features[:, None] - taken[None], axis=-1).min(axis=1)
    while len(chosen) <= MAX_LABELS:
        # Rounding keeps the choice the same where processors differ in the last bit.
        best = int(np.argmax(nearest.round(6)))
        chosen.append(tuple(candidates[best].tolist()))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[best], axis=-1))
    colors = np.array(chosen, np.uint8)
    colors.flags.writeable = False
    return colors


def _appearance(rgb: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """N x 6: where colours lie in Oklab as most people see them, and as a deuteranope does."""
    linear = (rgb / 255) ** 2.2
    seen = (linear, (linear @ DEUTERANOPE_FROM_RGB.T).clip(0, 1))
    return np.concatenate([np.cbrt(one @ CONES_FROM_RGB.T) @ OKLAB_FROM_CONES.T for one in seen], axis=1)
