"""Reading label images from `.npy` and `.npz` files, in any order."""

from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from astseg._core.errors import AstSegError
from astseg._core.input_files import regular_size
from astseg.data.array_members import (
    Numbers,
    array_names,
    member_size,
    open_member,
    path_in_errors,
    read_array,
    read_header,
)
from astseg.data.arrays import MASK_KEYS
from astseg.data.store import MAX_LABELS

LABEL_KEYS = (*MASK_KEYS, "label", "labels")
MAX_PACKED_BYTES = 1 << 30
"""The limit for the masks of an `.npz`, which have to be in memory as a whole; those of an `.npy` have none."""


class LabelArray:
    """N label images in a file: N x H x W integers or truth values, also N x H x W x 1.

    Args:
        path: the file; in an `.npz`, `mask`, `masks`, `label` or `labels`, or the only array.

    Raises:
        AstSegError: the file cannot be read, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path_in_errors(path):
            regular_size(path)
            self._key = "" if path.suffix.lower() == ".npy" else _find_key(path)
            with open_member(path, self._key) as file:
                shape, self._dtype, by_columns = read_header(file)
                self._start = file.tell()
            if len(shape) == 4 and shape[3] == 1:
                shape = shape[:3]
            if len(shape) != 3 or not all(shape) or self._dtype.kind not in "iub":
                raise AstSegError(f"should hold integers of shape N x H x W, but holds {self._dtype} of shape {shape}.")
            self._shape = shape
            if member_size(path, self._key) - self._start < prod(shape) * self._dtype.itemsize:
                raise AstSegError(f"is cut off: it is too short for {shape[0]} label images.")
            self._whole = self._read_whole(by_columns) if self._key or by_columns else None

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, index: int) -> npt.NDArray[np.int64]:
        """Return a label image, H x W; one of truth values as black and white, 0 and 255.

        Raises:
            AstSegError: it cannot be read, or has a value below 0.
        """
        with path_in_errors(self.path):
            labels = (self._read(index) if self._whole is None else self._whole[index]).astype(np.int64)
            if labels.min() < 0:
                raise AstSegError(f"holds a label {labels.min()} in image {index}; labels are 0 or more.")
        return labels * MAX_LABELS if self._dtype.kind == "b" else labels

    def _read(self, index: int) -> Numbers:
        size = self._shape[1:]
        with open_member(self.path, self._key) as file:
            file.seek(self._start + index * prod(size) * self._dtype.itemsize)
            return read_array(file, size, self._dtype)

    def _read_whole(self, by_columns: bool) -> Numbers:
        size = prod(self._shape) * self._dtype.itemsize
        if size > MAX_PACKED_BYTES:
            raise AstSegError(f"holds {size} bytes of labels; at most {MAX_PACKED_BYTES} are unpacked. Save an .npy.")
        with open_member(self.path, self._key) as file:
            file.read(self._start)
            whole = read_array(file, self._shape[::-1] if by_columns else self._shape, self._dtype)
            if file.read(1):  # at the end of a member its checksum is compared
                raise AstSegError("is longer than it says.")
        return whole.T if by_columns else whole


def _find_key(path: Path) -> str:
    """Return the name of the labels in an `.npz`."""
    names = array_names(path)
    key = next((key for key in LABEL_KEYS if key in names), names[0] if len(names) == 1 else None)
    if key is None:
        raise AstSegError(f"holds the arrays {', '.join(names) or '(none)'}. Name the masks 'masks'.")
    return key
