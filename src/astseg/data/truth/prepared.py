"""True masks of prepared data."""

from pathlib import Path

import numpy as np

from astseg._core.errors import TruthNotFoundError
from astseg.data.regions import Truth
from astseg.data.store import Store
from astseg.data.truth.mask_files import truth_of_labels
from astseg.data.truth.true_images import ImageName, TrueImages


class StoreTruth(TrueImages):
    """Masks of a split of prepared data, by the images' numbers.

    Args:
        path: the folder of the store.
        name: of the split; by default what `Store.default_split` names.

    Raises:
        AstSegError: it cannot be read, or has no such split.
        TruthNotFoundError: the split has no masks.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        store = Store(path)
        split = store[store.default_split if name is None else name]
        self._place = f"The split '{split.name}' of {path}"
        if split.masks is None:
            raise TruthNotFoundError(f"{self._place} has no masks, so nothing true is known of it.")
        self._masks, self._ignored_label = split.masks, split.ignored_label
        self.count = len(self._masks)
        self.description = f"True objects by the masks of the prepared split '{split.name}'."

    def key(self, image: ImageName) -> int | None:
        """Return the image's number; None if it has none for a name."""
        return image.index_of_mask(len(self._masks), self._place)

    def _read(self, key: int, image: Path | None) -> Truth:
        return truth_of_labels(np.array(self._masks[key]), self._ignored_label)
