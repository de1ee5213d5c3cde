"""Checksums that tell damaged files: of the rows of an array, of a JSON object, in itself, and of a file, at its end.

They are CRC-32, which notices every change within 32 neighboring bits, and of other changes all but one in 4 billion.
They tell damage, not malice.
"""

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from astseg._core.sampling import evenly_spaced

Sums: TypeAlias = npt.NDArray[np.uint32]
"""The checksums of an array's rows, as they are written: little-endian."""

SUM_KEY = "crc32"
"""The key of a JSON object under which the checksum of the rest stands."""
FILE_SEAL = b"\nastseg-crc32 "
"""What comes before the checksum at the end of a file."""
SEAL_BYTES = len(FILE_SEAL) + 8
SUMS_SUFFIX = ".crc32"
SUM_BYTES = 4
"""The size of a row's checksum in its file."""
WHOLE_BYTES = 1 << 28
"""Up to this size, all rows of an array are checked; it takes a tenth of a second."""
SAMPLED_ROWS = 256
"""The number of rows that are checked in a larger array."""
BLOCK_ROWS = 64
"""Rows that are in memory at once."""
BLOCK_BYTES = 1 << 24


def sums_file(array: Path) -> Path:
    """Return the path of the checksums beside an array.

    >>> sums_file(Path("store/train.images.npy")).as_posix()
    'store/train.images.crc32'
    """
    return array.with_suffix(SUMS_SUFFIX)


def row_sums(rows: npt.NDArray[Any]) -> Sums:
    """Return the checksum of each row of an array, along its first axis."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), math.prod(rows.shape[1:])).view(np.uint8)
    return np.fromiter((zlib.crc32(row.data) for row in flat), "<u4", len(rows))


def pixels_crc32(image: npt.NDArray[Any]) -> int:
    """Return the checksum of an image, in whatever file its pixels are."""
    return int(row_sums(image[None])[0])


def checked_sums(array: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], Sums]:
    """Return which rows of an array are checked, all of a small one, else some, spread evenly; and their checksums."""
    rows = evenly_spaced(len(array), len(array) if array.nbytes <= WHOLE_BYTES else SAMPLED_ROWS)
    blocks = [rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS)]
    return rows, np.concatenate([row_sums(array[block]) for block in blocks] or [np.empty(0, "<u4")])


def damaged_row(array: npt.NDArray[Any], sums: Sums) -> int | None:
    """Return the first of the checked rows of an array that has another checksum; None if all are as written."""
    if len(sums) < len(array):
        return len(sums)
    rows, found = checked_sums(array)
    damaged = rows[found != sums[rows]]
    return int(damaged[0]) if len(damaged) else None


def read_sums(file: Path) -> Sums:
    """Read the checksums of rows; those of the last row may be cut off.

    Raises:
        OSError: the file cannot be read.
    """
    content = file.read_bytes()
    return np.frombuffer(content[: len(content) // SUM_BYTES * SUM_BYTES], "<u4")


def seal_file(file: Path) -> None:
    """Write a file's checksum behind its content, for readers that do not mind, such as those of zip files."""
    total = _file_sum(file, file.stat().st_size)
    with file.open("ab") as end:
        end.write(FILE_SEAL + total)


def is_intact(file: Path) -> bool | None:
    """Tell whether a file with a checksum at its end is as it was written; None if it has none."""
    with file.open("rb") as content:
        size = content.seek(0, 2) - SEAL_BYTES
        content.seek(max(0, size))
        mark, total = content.read(len(FILE_SEAL)), content.read()
    return total == _file_sum(file, size) if mark == FILE_SEAL else None


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the checksum of its content.

    >>> seal({"steps": 3})
    {'steps': 3, 'crc32': '7f1c32aa'}
    """
    return {**content, SUM_KEY: _json_sum(content)}


def unseal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sealed JSON object without its checksum; one that was never sealed is returned as it is.

    Raises:
        ValueError: the content is not the one that was sealed.
    """
    rest = {name: value for name, value in content.items() if name != SUM_KEY}
    if SUM_KEY in content and content[SUM_KEY] != _json_sum(rest):
        raise ValueError(f"the checksum does not match: damaged, or changed by hand (then delete its line '{SUM_KEY}')")
    return rest


def _file_sum(file: Path, size: int) -> bytes:
    """Return the checksum of a file's first bytes, in eight hexadecimal digits."""
    total = 0
    with file.open("rb") as content:
        while size > 0 and (block := content.read(min(size, BLOCK_BYTES))):
            total = zlib.crc32(block, total)
            size -= len(block)
    return f"{total:08x}".encode()


def _json_sum(content: Mapping[str, Any]) -> str:
    as_read = json.loads(json.dumps(content))  # keys become texts, tuples lists
    return f"{zlib.crc32(json.dumps(as_read, sort_keys=True).encode()):08x}"
