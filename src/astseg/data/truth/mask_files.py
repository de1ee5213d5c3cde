"""True masks in files, of any kind that `astseg.data.masks` reads."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from astseg._core.connected_pieces import connected_pieces
from astseg._core.errors import AstSegError, naming
from astseg._core.image_files import Bytes, read_exif_transpose, read_image
from astseg.data.file_source import find_coding, merge_object_masks
from astseg.data.folders import find_masks_by_name
from astseg.data.masks import (
    IGNORED_LABEL,
    MaskCoding,
    decode_mask,
    describe_codings,
    read_raw_masks,
    rotate_like_image,
)
from astseg.data.regions import Mask, Truth, regions_of_labels
from astseg.data.truth.true_images import ImageName, TrueImages

PIECES = " The truth does not tell objects apart, so what is connected is one."


class MaskTruth(TrueImages):
    """Mask files, of any kind that `masks` reads.

    Args:
        path: a file or folder of masks.
        names: of the images, to which masks are matched as in a folder of both.
        ignored: the values of pixels that are not scored; None to detect them.
        as_shown: whether all masks are known to lie as images are shown, not as they may be stored.

    Raises:
        AstSegError: there are no masks, or none belongs to an image.
    """

    def __init__(
        self, path: Path, names: Sequence[str], ignored: frozenset[int] | None = None, *, as_shown: bool = False
    ) -> None:
        self._as_shown = as_shown
        self.masks, count = find_masks_by_name(names, path)
        if all(len(paths) == 1 for paths in self.masks.values()):
            self.count = count
        self.coding = find_coding(self.masks.values(), ignored=ignored)
        self._objects = tells_objects([self.coding], self.masks.values())
        self.description = describe_masks([self.coding], self._objects)

    def key(self, image: ImageName) -> tuple[Path, ...] | None:
        """Return the image's masks; None if it has none."""
        paths = self.masks.get(image.name)
        return None if paths is None else tuple(paths)

    def _read(self, key: tuple[Path, ...], image: Path | None) -> Truth:
        masks = [read_labels(path, self.coding, called=f"The mask {path}") for path in key]
        labels = merge_object_masks(masks, key[0])
        if not self._as_shown:
            labels = labels_as_shown(labels, image)
        ignored_label = IGNORED_LABEL if self.coding.ignored else None
        return truth_of_labels(labels, ignored_label, objects=self._objects)


def labels_as_shown(labels: Bytes, image: Path | None) -> Bytes:
    """Return labels as their image is shown: turned as the camera has turned its file, unless they lie so already.

    Args:
        labels: H x W.
        image: the file, which need not be there; without it they stay as they are.
    """
    turned = None if image is None else read_exif_transpose(image)
    return labels if image is None or turned is None else rotate_like_image(labels, read_image(image), turned)


def read_labels(path: Path, coding: MaskCoding, called: str) -> Bytes:
    """Read the labels of a mask file.

    Args:
        path: the file.
        coding: how it is read.
        called: the first words of errors that do not name the file themselves.

    Raises:
        AstSegError: it cannot be read, or has too many labels.
    """
    try:
        return decode_mask(next(read_raw_masks(path)), coding)
    except AstSegError as error:
        raise naming(error, path, called) from error


def tells_objects(codings: Iterable[MaskCoding], masks: Iterable[Sequence[Path]]) -> bool:
    """Tell whether any masks, one or several for each image, are of objects, not only of the foreground."""
    return any(coding.rule != "halves" for coding in codings) or any(len(paths) > 1 for paths in masks)


def describe_masks(codings: Iterable[MaskCoding], objects: bool) -> str:
    """Return a sentence on how masks are read."""
    return f"Truth: masks; {describe_codings(codings)}." + ("" if objects else PIECES)


def truth_of_labels(
    labels: Bytes, ignored_label: int | None, *, objects: bool = True, shadow: Mask | None = None
) -> Truth:
    """Return what a label image says.

    Args:
        labels: H x W, 0 is the background.
        ignored_label: of pixels that are not scored; None if all are.
        objects: False if labels only say what is foreground.
        shadow: pixels of shadows; None if unknown.
    """
    unscored = None if ignored_label is None else labels == ignored_label
    kept = labels if unscored is None else np.where(unscored, 0, labels)
    pieces = kept if objects else connected_pieces(kept > 0)
    return Truth(regions_of_labels(pieces), unscored, shadow=shadow)
