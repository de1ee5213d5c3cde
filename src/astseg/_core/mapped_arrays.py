"""Arrays that are mapped from files, and read from the disk as they are looked at."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from astseg._core.input_files import regular_size


def map_array(path: Path) -> npt.NDArray[Any]:
    """Map the array of an `.npy` file, to be looked at.

    Raises:
        OSError: there is no regular file, or it cannot be opened.
        ValueError: it is damaged, holds something else, or is shorter than its header claims.
    """
    regular_size(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # a damaged header raises errors of any type
        raise ValueError(*error.args) from error


def fetch_rows(array: npt.NDArray[np.generic], rows: npt.NDArray[np.int64]) -> None:
    """Let the system read rows of a mapped array from the disk while the program goes on.

    Looking at a row that is not in memory reads the file around it as well, megabytes of it with some disks, and the
    program waits for that. Of other arrays, and on Windows, nothing happens.

    Args:
        array: the array.
        rows: their indices along its first axis.
    """
    mapping = _mapping(array)
    if mapping is None or not hasattr(mapping, "madvise"):
        return
    begin = _address(array) - _address(np.frombuffer(mapping, np.uint8))
    size = array[:1].nbytes
    for row in rows.tolist():
        start = begin + row * array.strides[0]
        page = start - start % mmap.PAGESIZE
        mapping.madvise(mmap.MADV_WILLNEED, page, start + size - page)


def _mapping(array: npt.NDArray[np.generic]) -> mmap.mmap | None:
    """Return what an array is a part of, if that is mapped."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def _address(array: npt.NDArray[np.generic]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
