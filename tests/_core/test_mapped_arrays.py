import ctypes
import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from astseg._core import mapped_arrays
from astseg._core.mapped_arrays import fetch_rows, map_array

ROWS, ROW_BYTES = 256, 12 * 1024


def in_memory(array: np.ndarray) -> list[bool]:
    """Tell of each row whether all of it is in memory, as the system says."""
    first = array.__array_interface__["data"][0]
    begin = first - first % mmap.PAGESIZE
    pages = (ctypes.c_ubyte * (-(-(first + array.nbytes - begin) // mmap.PAGESIZE)))()
    system = ctypes.CDLL(None, use_errno=True)
    assert system.mincore(ctypes.c_void_p(begin), ctypes.c_size_t(first + array.nbytes - begin), pages) == 0
    starts = [first + row * array.strides[0] - begin for row in range(len(array))]
    return [
        all(pages[page] & 1 for page in range(start // mmap.PAGESIZE, (start + ROW_BYTES - 1) // mmap.PAGESIZE + 1))
        for start in starts
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is in memory")
@pytest.mark.parametrize("left_out", [0, 40])
def test_only_the_rows_are_fetched(tmp_path: Path, left_out: int) -> None:
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.save(file, np.ones((ROWS, ROW_BYTES), np.uint8))
        file.flush()
        os.fsync(file.fileno())
        mapped = np.load(path, mmap_mode="r")
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    array = mapped[left_out:].reshape(-1, 4, ROW_BYTES // 4)
    if any(in_memory(array)):
        pytest.skip("this disk is memory")
    rows = np.array([200, 60, 61])
    fetch_rows(array, rows)
    until = time.monotonic() + 30
    while not all(in_memory(array)[row] for row in rows) and time.monotonic() < until:
        time.sleep(0.01)
    found = in_memory(array)
    assert all(found[row] for row in rows)
    assert not any(found[row] for row in (100, 58, 63, 198, 202))


def test_of_other_arrays_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_arrays, "_address", lambda array: pytest.fail("was about to fetch"))
    fetch_rows(np.ones((3, 4)), np.array([0, 2]))
    fetch_rows(np.frombuffer(b"abcd", np.uint8), np.array([1]))


def npy(header: str) -> bytes:
    """Return a file of 96 bytes of content behind a header."""
    line = header.ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(line).to_bytes(2, "little") + line.encode() + bytes(96)


def of_shape(shape: str) -> bytes:
    return npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}")


def test_an_array_is_mapped(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(of_shape("(2, 4, 4, 3)"))
    found = map_array(tmp_path / "a.npy")
    assert isinstance(found, np.memmap)
    assert (found.shape, found.dtype, found.flags.writeable) == ((2, 4, 4, 3), np.uint8, False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"PK\3\4, but no archive",
        of_shape("(3, 4, 4, 3)"),
        of_shape("(1000000000, 4, 4, 3)"),
        of_shape(f"({10**30}, 4, 4, 3)"),
        of_shape("(-2, 4, 4, 3)"),
        of_shape("(True, 4, 4, 3)"),
        of_shape("(2.0, 4, 4, 3)"),
        of_shape("("),
        npy("(" * 100),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}"),
    ],
)
def test_what_claims_to_be_an_array_is_refused_by_one_kind_of_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        map_array(tmp_path / "a.npy")


def test_only_files_are_mapped(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        map_array(tmp_path / "a.npy")
    with pytest.raises(OSError, match="it is a folder, not a file"):
        map_array(tmp_path)
