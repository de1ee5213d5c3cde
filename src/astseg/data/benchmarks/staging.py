"""Temporary storage for images and masks that arrive in any order.

Archives hold images and masks in any order, and the splits depend on the total number of images. So each prepared
image and mask is first written at its index in a sparse file, and the store is written from there. What has arrived
is recorded once it is on the disk, so that an interrupted import resumes without decoding much twice. The folder lies
beside the destination and needs as much space as the store.
"""

import errno
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from astseg._core.atomic_io import atomic_write, make_folder, remove_contents, sync_opened, unlink_link
from astseg._core.checksums import SUM_BYTES
from astseg._core.errors import AstSegError
from astseg._core.input_files import parse_json
from astseg.data.store import Bytes

IMAGE, MASK, UNREADABLE = 1, 2, 4
SUM_FILES = {IMAGE: "images.crc32", MASK: "masks.crc32"}
BYTES_BETWEEN_NOTES = 1 << 27
"""How much a killed import decodes again."""


def write_at(file: FileIO, data: bytes, offset: int) -> None:
    """Write data at an offset of an open file.

    Raises:
        OSError: the disk is full, which the system reports as a short write.
    """
    file.seek(offset)
    if (file.write(data) or 0) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Staging:
    """Prepared images and label maps on disk, by index. An exception before the first one removes the folder.

    Args:
        folder: the folder, created if missing.
        size: side of the square images in pixels.
        settings: what is being imported.

    Raises:
        AstSegError: the folder was started with other settings.
    """

    def __init__(self, folder: Path, size: int, settings: dict[str, Any]) -> None:
        self.folder = folder
        self._size = size
        self._bytes = {IMAGE: 3 * size * size, MASK: size * size}
        note = folder / "settings.json"
        if note.is_file() and note.read_text() != json.dumps(settings):
            raise AstSegError(
                f"{folder} was started with other settings and cannot be resumed. "
                f"Remove it or choose another destination."
            )
        make_folder(folder)
        if not note.is_file():
            with atomic_write(note) as partial:
                partial.write_text(json.dumps(settings))
        self._files = {kind: _opened(folder / name) for kind, name in ((IMAGE, "images"), (MASK, "masks"))}
        # One byte of flags per index.
        self._seen = bytearray(_content(folder / "seen"))
        # Checksums by index, four bytes each; 0 if unknown, as in the folder of an older astseg.
        self._sums = {kind: bytearray(_content(folder / name)) for kind, name in SUM_FILES.items()}
        self._unreadable: dict[str, str] = dict(_entries(folder / "unreadable"))
        self._unnoted_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What cannot be noted, because the disk is full or the folder was removed, is decoded again.
        try:
            with suppress(OSError, AstSegError):
                if self.folder.is_dir():
                    self._note()
        finally:
            for file in self._files.values():
                file.close()
        if kind is not None and not any(seen & (IMAGE | MASK) for seen in self._seen):
            self.remove()

    def remove(self) -> None:
        """Delete the contents, and the folder unless it is locked; nothing can be stored or read afterwards."""
        remove_contents(self.folder)
        with suppress(OSError):
            self.folder.rmdir()

    def has(self, index: int, kind: int) -> bool:
        """Return whether the image (`IMAGE`) or mask (`MASK`) of an index has arrived or is known to be unreadable."""
        return index < len(self._seen) and bool(self._seen[index] & (kind | UNREADABLE))

    def put(self, index: int, kind: int, pixels: Bytes) -> None:
        """Store an image (size x size x 3) or a label map (size x size)."""
        data = pixels.tobytes()
        write_at(self._files[kind], data, index * self._bytes[kind])
        self._set_sum(index, kind, data)
        self._mark(index, kind)
        self._unnoted_bytes += pixels.nbytes
        if self._unnoted_bytes > BYTES_BETWEEN_NOTES:
            self._note()

    def mark_unreadable(self, index: int, name: str, reason: str) -> None:
        """Record that a file of an index cannot be read."""
        self._unreadable[name] = reason
        self._mark(index, UNREADABLE)

    @property
    def total(self) -> int:
        """One more than the highest index seen so far."""
        return len(self._seen)

    @property
    def missing(self) -> list[int]:
        """Indices below `total` whose image or mask has not arrived, except unreadable ones."""
        return [i for i, seen in enumerate(self._seen) if not seen & UNREADABLE and seen != IMAGE | MASK]

    @property
    def unreadable(self) -> list[list[str]]:
        """Names of the unreadable files, each with the reason."""
        return [[name, reason] for name, reason in self._unreadable.items()]

    @property
    def num_complete(self) -> int:
        """Number of images that have arrived with their masks."""
        return self._seen.count(IMAGE | MASK)

    def read(self, indices: Iterable[int]) -> Iterator[tuple[Bytes, Bytes]]:
        """Yield the image and label map of each index that has both.

        Raises:
            AstSegError: one of them is not as it was put.
        """
        for index in indices:
            if self._seen[index] == IMAGE | MASK:
                yield self._get(index, IMAGE), self._get(index, MASK)

    def finished(self, source: str) -> bool:
        """Return whether a source was read to its end."""
        return source in self._finished()

    def finish(self, source: str) -> None:
        """Record that a source was read to its end."""
        self._note()
        self._write("finished.json", json.dumps([*self._finished(), source]).encode())

    def _finished(self) -> list[str]:
        try:
            return list(parse_json(_content(self.folder / "finished.json") or "[]"))
        except ValueError:  # cut short, by an older astseg that was killed: the sources are read again
            return []

    def _get(self, index: int, kind: int) -> Bytes:
        shape = (self._size, self._size, 3) if kind == IMAGE else (self._size, self._size)
        file, size = self._files[kind], self._bytes[kind]
        file.seek(index * size)
        data = file.read(size)
        if self._sum(index, kind) not in (0, zlib.crc32(data)):
            raise AstSegError(
                f"What was imported so far is damaged: image {index} in {self.folder} has another checksum. "
                "Remove that folder and import again."
            )
        return np.frombuffer(data, np.uint8).reshape(shape)

    def _set_sum(self, index: int, kind: int, data: bytes) -> None:
        sums, end = self._sums[kind], SUM_BYTES * (index + 1)
        sums.extend(bytes(max(0, end - len(sums))))
        sums[end - SUM_BYTES : end] = zlib.crc32(data).to_bytes(SUM_BYTES, "little")

    def _sum(self, index: int, kind: int) -> int:
        return int.from_bytes(self._sums[kind][SUM_BYTES * index : SUM_BYTES * (index + 1)], "little")

    def _mark(self, index: int, kind: int) -> None:
        if index >= len(self._seen):
            self._seen.extend(bytes(index + 1 - len(self._seen)))
        self._seen[index] |= kind

    def _note(self) -> None:
        """Record what has arrived, once it is on the disk."""
        for file in self._files.values():
            sync_opened(file.fileno())
        for kind, name in SUM_FILES.items():
            self._write(name, self._sums[kind])
        self._write("unreadable", "".join(json.dumps(entry) + "\n" for entry in self.unreadable).encode())
        self._write("seen", self._seen)
        self._unnoted_bytes = 0

    def _write(self, name: str, content: bytes | bytearray) -> None:
        with atomic_write(self.folder / name) as partial:
            partial.write_bytes(content)


def _entries(file: Path) -> Iterator[list[str]]:
    """Yield the names and reasons in a file; a line may be cut short, by an older astseg that was killed."""
    for line in _content(file).splitlines():
        with suppress(ValueError):
            yield parse_json(line)


def _opened(file: Path) -> FileIO:
    """Open a file to read and write it at any place, without a buffer; made if it is missing."""
    unlink_link(file)
    file.touch(0o644)
    return FileIO(file, "r+")


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""
