"""Read CLEVRTEX as published: PNG images, and masks as palette PNGs whose index is the label.

The palette's colors mean nothing: a reader that converts the mask to colors, as OpenCV does, loses the labels. Label 0
is the background, label i the i-th object of the image's JSON file.
"""

import re

import numpy as np

from astseg.data.benchmarks.preprocessing import open_png, prepare_image, prepare_labels
from astseg.data.benchmarks.staging import IMAGE, MASK
from astseg.data.store import Bytes

CROP = 192
INDEXED_MODES = ("P", "L", "1")


def file_index(name: str, variant: str) -> tuple[int, int] | None:
    """Return the image index and the kind (`IMAGE` or `MASK`) of a file by its name; None for other files.

    Args:
        name: a path that ends in `CLEVRTEX_<variant>_<six digits>.png`, or in `_flat.png` for masks.
        variant: the wanted variant; `clevr` wants names that begin with `CLEVR_` (CLEVR converted to this format).
    """
    prefix = r"CLEVR(?:_[a-z]+)?" if variant == "clevr" else f"CLEVRTEX_{variant}"
    match = re.fullmatch(rf"{prefix}_(\d{{6}})(_flat)?\.png", name.rpartition("/")[2])
    return match and (int(match[1]), MASK if match[2] else IMAGE)


def decode(data: bytes, kind: int, size: int) -> Bytes:
    """Decode and prepare an image or a mask: crop 192 x 192 from the center, resize to size x size.

    Raises:
        ValueError: a mask is a color image, the image is too small or too large, or the file is damaged.
    """
    with open_png(data) as image:
        if kind == IMAGE:
            return prepare_image(np.asarray(image.convert("RGB")), CROP, size)
        if image.mode not in INDEXED_MODES:
            raise ValueError(f"the mask is a {image.mode} image; a palette PNG was expected")
        return prepare_labels(np.asarray(image, np.uint8), CROP, size)
