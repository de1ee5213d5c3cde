"""Formats that are image files: grey label images, and each object cut out."""

import numpy as np
from PIL import Image

from astseg.inference.formats.writer import FormatWriter, FoundImage


class GreyWriter(FormatWriter):
    """Writes the label images without a palette, which OpenCV and imageio turn into colors."""

    def append(self, image: FoundImage) -> None:
        """Write an image whose grey values are the labels."""
        Image.fromarray(image.labels).save(self.path(f"{image.name}.png"))


class CutoutWriter(FormatWriter):
    """Writes CATEGORY/NAME-LABEL.png: the object's own pixels in its box, all else transparent."""

    needs_pixels = True

    def append(self, image: FoundImage) -> None:
        """Write an image for each object."""
        assert image.pixels is not None
        for found in image.objects:
            left, top, width, height = found.box
            mask = image.mask(found)[..., None]
            colors = image.pixels[top : top + height, left : left + width]
            cut = np.concatenate([np.where(mask, colors, 0), np.uint8(255) * mask], axis=2).astype(np.uint8)
            name = f"{image.name}-{found.label}.png"
            Image.fromarray(cut).save(self.path(self.categories[found.category], name))
