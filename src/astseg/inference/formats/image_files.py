"""Formats that are image files: grey label images, and each object cut out."""

import os
import zlib

import numpy as np
from PIL import Image

from astseg.inference.formats.writer import FormatWriter, FoundImage

MAX_NAME_BYTES = 255
"""What disks allow."""


class GreyWriter(FormatWriter):
    """Writes the label images without a palette, which OpenCV and imageio turn into colors."""

    def append(self, image: FoundImage) -> None:
        """Write an image whose grey values are the labels."""
        Image.fromarray(image.labels).save(self.path(f"{image.name}.png"))


class CutoutWriter(FormatWriter):
    """Writes CATEGORY/NAME-LABEL.png: the object's own pixels in its box, all else transparent.

    A name that is too long for a disk is shortened.
    """

    needs_pixels = True

    def append(self, image: FoundImage) -> None:
        """Write an image for each object."""
        assert image.pixels is not None
        for found in image.objects:
            left, top, width, height = found.box
            mask = image.mask(found)[..., None]
            colors = image.pixels[top : top + height, left : left + width]
            cut = np.concatenate([np.where(mask, colors, 0), np.uint8(255) * mask], axis=2).astype(np.uint8)
            path = self.path(self.categories[found.category], image.name)
            Image.fromarray(cut).save(path.with_name(_shortened(path.name, f"-{found.label}.png")))


def _shortened(name: str, end: str) -> str:
    """Join a name and its end as disks allow it: a checksum takes the place of what is too much of the name.

    >>> _shortened("a", "-1.png"), _shortened(251 * "a", "-1.png")[238:]
    ('a-1.png', 'aa~eb813b94-1.png')
    """
    room = MAX_NAME_BYTES - len(end)
    whole = os.fsencode(name)
    if len(whole) > room:
        checksum = f"~{zlib.crc32(whole):08x}"
        name = whole[: room - len(checksum)].decode(errors="ignore") + checksum
    return name + end
