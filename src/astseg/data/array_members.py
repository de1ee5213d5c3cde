"""Arrays as they lie in files: an `.npy`, whose key is empty, or a member of an `.npz` by its key.

What reads them is in `arrays`, for images, and in `label_arrays`.
"""

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import numpy.typing as npt

from astseg._core.errors import AstSegError, naming

Numbers: TypeAlias = npt.NDArray[np.generic]

MAX_COMPRESSION = 1032
"""Deflate cannot do better, so that a larger member of an archive is no member."""
MAX_COLUMN_MAJOR_BYTES = 1 << 28
"""The limit for column-major arrays, which have to be in memory as a whole to be read."""


@contextmanager
def path_in_errors(path: Path) -> Iterator[None]:
    """Make whatever error a file causes an `AstSegError` that names the file."""
    try:
        yield
    except AstSegError as error:
        raise naming(error, path, str(path)) from error
    except FileNotFoundError as error:
        raise AstSegError(f"There is no file {path}.") from error
    except Exception as error:  # zip, zlib and header parsing each raise errors of their own
        raise AstSegError(f"{path} is not a readable array file: {describe_damage(error)}.") from error


def describe_damage(error: Exception) -> str:
    """Return what NumPy says of a file that it cannot read, as a clause, without its advice to trust the file.

    >>> describe_damage(EOFError("it is cut off"))
    'it is cut off'
    >>> describe_damage(ValueError("malformed node on line 1: <ast.Name object at 0x7f5eee10bbe0>"))
    'malformed node on line 1'
    """
    words = len(error.args) > 1 and isinstance(error.args[0], str)  # with a place in the header behind them
    told = re.sub(r": <[\w.]+ object at 0x\w+>", "", error.args[0] if words else str(error))
    return "its header is longer than that of any array of numbers" if "allow_pickle" in told else told


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays in an `.npz`.

    Raises:
        AstSegError: the list is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        if any(member.comment for member in archive.infolist()):
            # NumPy writes none; a wrong length of one hides the next array.
            raise AstSegError("has a damaged list of its arrays.")
        return [name.removesuffix(".npy") for name in archive.namelist()]


def member_size(path: Path, key: str) -> int:
    """Return the length of an array's file, which for a member of an archive is held against the compressed length.

    Raises:
        AstSegError: a member is compressed by other means than NumPy's, or claims more than it can hold.
    """
    if not key:
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{key}.npy")
    limits = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: MAX_COMPRESSION}
    if member.file_size > limits.get(member.compress_type, 0) * member.compress_size:
        raise AstSegError(f"claims {member.file_size} bytes of '{key}' in {member.compress_size}. It is damaged.")
    return member.file_size


@contextmanager
def open_member(path: Path, key: str) -> Iterator[IO[bytes]]:
    """Open an `.npy`, or an array of an `.npz` by its name."""
    if not key:
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        yield file


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic], bool]:
    """Read the header of an open array: its shape, its type, and whether the order is column-major.

    Raises:
        AstSegError: the shape is impossible, or the numbers are none that are read.
    """
    read = np.lib.format.read_array_header_1_0
    if np.lib.format.read_magic(file) != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(file)
    if min(shape, default=0) < 0:
        raise AstSegError(f"has an impossible shape: {shape}.")
    if dtype.hasobject:
        raise AstSegError("holds Python objects, which are not read. Save an array of numbers.")
    if columns_first and prod(shape) * dtype.itemsize > MAX_COLUMN_MAJOR_BYTES:
        raise AstSegError("is stored columns first. Save it after numpy.ascontiguousarray.")
    return shape, dtype, columns_first


def read_array(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Numbers:
    """Read the next numbers of an open array.

    Raises:
        EOFError: they are cut off.
    """
    size = prod(shape) * dtype.itemsize
    data = file.read(size)
    if len(data) != size:
        raise EOFError("it is cut off")
    return np.frombuffer(data, dtype).reshape(shape)
