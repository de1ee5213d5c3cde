"""True masks in an array."""

from pathlib import Path

from astseg._core.errors import AstSegError, naming
from astseg._core.sampling import evenly_spaced_first
from astseg.data.file_source import NUM_PROBED_MASKS
from astseg.data.label_arrays import LabelArray
from astseg.data.mask_edges import RawMask
from astseg.data.masks import IGNORED_LABEL, choose_coding, decode_mask, telling_masks
from astseg.data.regions import Truth
from astseg.data.truth.mask_files import describe_masks, labels_as_shown, truth_of_labels
from astseg.data.truth.true_images import ImageName, TrueImages


class ArrayTruth(TrueImages):
    """Masks in an `.npy` or `.npz`: mask k, counted from 0, is that of the image or frame ``00000k``.

    Args:
        path: the file; see `LabelArray`.
        ignored: the values of pixels that are not scored; None to detect them.

    Raises:
        AstSegError: it cannot be read.
    """

    def __init__(self, path: Path, ignored: frozenset[int] | None = None) -> None:
        self._masks = LabelArray(path)
        self.count = len(self._masks)
        probed = evenly_spaced_first(len(self._masks), NUM_PROBED_MASKS)
        raw = (RawMask(self._masks[index], "grey") for index in probed)
        self.coding = choose_coding(telling_masks(raw, NUM_PROBED_MASKS), ignored)
        self._objects = self.coding.rule != "halves"
        self.description = describe_masks([self.coding], self._objects)

    def key(self, image: ImageName) -> int | None:
        """Return the image's number; None if it has none for a name."""
        return image.index_of_mask(len(self._masks), str(self._masks.path))

    def _read(self, key: int, image: Path | None) -> Truth:
        path = self._masks.path
        try:
            labels = decode_mask(RawMask(self._masks[key], "grey"), self.coding)
        except AstSegError as error:
            raise naming(error, path, f"Mask {key} of {path}") from error
        labels = labels_as_shown(labels, image)
        return truth_of_labels(labels, IGNORED_LABEL if self.coding.ignored else None, objects=self._objects)
