"""A limit for a cache of files: the folders that were not used for longest go first, and none that is in use."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from astseg._core.atomic_io import lock_folder, remove_contents
from astseg._core.errors import AstSegError

FOLDER_NAME = re.compile("[0-9a-f]{16}")
"""Other folders in the cache are not astseg's."""
MARKER = ".used-"
"""What the names of files begin with that a process locks in a folder for as long as it uses it."""


@contextmanager
def used(folder: Path) -> Iterator[None]:
    """Keep a folder from being removed until the block ends, or the process.

    Raises:
        OSError: the folder cannot be written.
    """
    marker = folder / f"{MARKER}{uuid4().hex}"
    lock = FileLock(marker)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):
            marker.unlink(missing_ok=True)


def trim(cache: Path, max_bytes: int) -> None:
    """Remove folders from a cache until it has no more bytes than these, or all that are left are in use.

    A folder was used when a file in it was last added or removed, which `used` does.
    """
    folders = [folder for folder in cache.glob("*") if FOLDER_NAME.fullmatch(folder.name) and folder.is_dir()]
    folders.sort(key=lambda folder: folder.stat().st_mtime)
    sizes = [_size(folder) for folder in folders]
    total = sum(sizes)
    for folder, size in zip(folders, sizes, strict=True):
        if total <= max_bytes:
            return
        if _remove(folder):
            total -= size


def _size(folder: Path) -> int:
    return sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(folder))


def _remove(folder: Path) -> bool:
    """Remove a folder, and return whether it is gone."""
    try:
        with lock_folder(folder, folder):
            if not any(map(_is_locked, folder.glob(f"{MARKER}*"))):
                remove_contents(folder)
    except (AstSegError, OSError):  # somebody is writing it
        return False
    return not folder.exists()


def _is_locked(marker: Path) -> bool:
    """Tell whether the process that made a marker still runs."""
    lock = FileLock(marker, timeout=0)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return True
    lock.release()
    return False
