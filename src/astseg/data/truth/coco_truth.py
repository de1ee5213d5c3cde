"""True instances in a COCO file."""

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from pycocotools import mask as coco_mask

from astseg._core.image_files import read_exif_transpose, read_image
from astseg.data.coco import CocoFile
from astseg.data.masks import lies_as_stored, transposed
from astseg.data.regions import Rle, Truth, encode
from astseg.data.truth.true_images import ImageName, TrueImages


class CocoTruth(TrueImages):
    """COCO's instances of the images whose name, or its end, is that of the file.

    Raises:
        AstSegError: see `CocoFile`.
    """

    description = (
        "Truth: COCO's instances, whatever their category; pixels of crowds are not scored. "
        "Where instances overlap, pixels belong to the smaller one."
    )

    def __init__(self, path: Path) -> None:
        self.file = CocoFile(path)
        self.count = len(self.file.images)

    def key(self, image: ImageName) -> Hashable | None:
        """Return the number of the image in the file; None if it has none of that name, or several."""
        found = None
        if image.file_name is not None:
            # An image whose name has its suffix has a twin with another, which may be the one that the file means.
            found = self.file.find(image.file_name, same_suffix=image.file_name == image.name)
        if found is None:
            found = self.file.find(image.name, same_suffix=True)  # it has none to leave out
        return None if found is None else found.id

    def _read(self, key: Any, image: Path | None) -> Truth:
        truth = self.file.truth(self.file.images[key])
        turned = None if image is None else read_exif_transpose(image)
        if image is None or turned is None or not lies_as_stored(truth.regions.labels, read_image(image), turned):
            return truth
        return _turned(truth, turned)


def _turned(truth: Truth, turned: Image.Transpose) -> Truth:
    """Return what is true of an image that was transposed."""

    def turn(mask: Rle) -> Rle:
        return encode(transposed(coco_mask.decode(mask), turned) > 0)

    regions = replace(
        truth.regions,
        labels=transposed(truth.regions.labels, turned),
        masks=tuple(map(turn, truth.regions.masks)),
    )
    return replace(truth, regions=regions, crowds=tuple(map(turn, truth.crowds)))
