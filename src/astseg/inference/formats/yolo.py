"""YOLO's segmentation: a text file for each image, with an outline on each line, and the images beside."""

import json
import shutil
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from astseg._core.image_files import is_stored_as_shown
from astseg._core.text import ENCODING_ERRORS
from astseg.inference.formats.outlines import Mask, Points, mask_to_polygon, polygon_to_mask
from astseg.inference.formats.writer import FormatWriter, FoundImage

COPIED_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""Of image files that YOLO reads; all others are written as PNG."""
DECIMALS = 6
"""Of coordinates, which are shares of the image's sides."""


class YoloWriter(FormatWriter):
    """Writes data.yaml, images/ and labels/.

    A line holds one polygon, so that the parts and holes of an object are joined by lines (`mask_to_polygon`). What
    each object loses by that and by the tolerance is measured as the intersection of its pixels and those of its line
    over their union.
    """

    needs_pixels = True
    main_file = "data.yaml"

    def __enter__(self) -> Self:
        self._objects, self._sum, self._worst = 0, 0.0, (np.inf, "")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        names = "".join(
            f"  {index}: {json.dumps(name, ensure_ascii=False)}\n" for index, name in enumerate(self.categories)
        )
        text = f"# Hold some images back for val.\ntrain: images\nval: images\nnames:\n{names}"
        self.path(self.main_file).write_text(text, encoding="utf-8")

    def append(self, image: FoundImage) -> None:
        """Write the image and its lines."""
        place = PurePosixPath("images", self._save_image(image))
        lines = []
        for found in image.objects:
            mask, corner = image.mask(found), np.array(found.box[:2])
            line = _format_line(corner + mask_to_polygon(mask, self.tolerance), image.labels.shape)
            lines.append(f"{found.category} {line}\n")
            self._measure(mask, _parse_line(line, image.labels.shape) - corner, f"{image.name}, {found.label}")
        path = self.path(*_label_path(place).parts)
        path.write_text("".join(lines), encoding="utf-8", errors=ENCODING_ERRORS)

    def _save_image(self, image: FoundImage) -> str:
        """Copy the image's file, or write one if YOLO would not see the same in it; return its name."""
        suffix = PurePosixPath(image.file_name).suffix
        if image.file is not None and suffix.lower() in COPIED_SUFFIXES and is_stored_as_shown(image.file):
            shutil.copyfile(image.file, self.path("images", image.name + suffix))
            return image.name + suffix
        assert image.pixels is not None
        Image.fromarray(image.pixels).save(self.path("images", f"{image.name}.png"))
        return f"{image.name}.png"

    def _measure(self, mask: Mask, polygon: Points, where: str) -> None:
        kept = polygon_to_mask(polygon, *mask.shape)
        overlap = float((kept & mask).sum() / (kept | mask).sum())
        self._objects += 1
        self._sum += overlap
        self._worst = min(self._worst, (overlap, where))

    @property
    def note(self) -> str | None:
        """Tell what outlines keep of the objects."""
        if not self._objects:
            return None
        worst, where = self._worst
        return (
            f"of {self._objects} objects, outlines simplified by {self.tolerance:g} pixels keep an IoU of "
            f"{self._sum / self._objects:.3f} on average, {worst:.3f} at worst ({where})"
        )


def _label_path(image: PurePosixPath) -> PurePosixPath:
    """Return the path at which YOLO looks for an image's labels: it exchanges the last folder of this name.

    >>> str(_label_path(PurePosixPath("images/a.b.jpg"))), str(_label_path(PurePosixPath("images/x/images/a.jpg")))
    ('labels/a.b.txt', 'images/x/labels/a.txt')
    """
    parts = list(image.parts[:-1])
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return PurePosixPath(*parts, image.name).with_suffix(".txt")


def _format_line(polygon: Points, size: tuple[int, int]) -> str:
    shares = polygon / (size[1], size[0])
    return " ".join(f"{value:.{DECIMALS}f}" for value in shares.ravel())


def _parse_line(line: str, size: tuple[int, int]) -> Points:
    return np.array(line.split(), float).reshape(-1, 2) * (size[1], size[0])
