"""Writing stores of prepared data; see ``store`` for their format.

The checksums of images are written once the images are on the disk, so that an unfinished split is whole as far as its
checksums go, however it was interrupted.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

import numpy as np

from astseg._core.arguments import as_path
from astseg._core.atomic_io import (
    atomic_write,
    check_free,
    lock_folder,
    move_into_place,
    partial_folder,
    remove_contents,
    resolve_link,
    sync,
    sync_opened,
)
from astseg._core.checksums import SUM_BYTES, damaged_row, read_sums, row_sums, seal, sums_file
from astseg._core.errors import AstSegError
from astseg._core.input_files import read_json
from astseg.data.store import (
    ARRAYS,
    FORMAT,
    MANIFEST_FILE,
    VERSION,
    ArrayRecord,
    Bytes,
    Manifest,
    SplitRecord,
    file_sha256,
)

HEADER_BYTES = 128
"""The size of numpy's header for these arrays, including the padding in which the first dimension can grow."""
PENDING_FILE = "begun.json"
"""The file beside an unfinished store with the settings by which it was begun."""
BYTES_BETWEEN_SYNCS = 1 << 27
"""How much of a split an interruption of the power can cost."""


class SplitWriter:
    """Appends images to one split of an unfinished store.

    With `resume` it continues after the last image that is known to be complete in all files of the split.

    Raises:
        AstSegError: what is to be continued is damaged.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        image_size: tuple[int, int],
        resume: bool = False,
        ignored_label: int | None = None,
    ) -> None:
        self.name = name
        self.ignored_label = ignored_label
        """The label, in masks, of pixels that are not scored; None if all are."""
        self.count = 0
        """The number of images written so far, also before an interruption."""
        self._folder = folder
        self._image_size = image_size
        self._resume = resume
        self._files: dict[str, BinaryIO] = {}
        self._sums: dict[str, BinaryIO] = {}
        self._unsynced: dict[str, list[bytes]] = {}
        """The checksums of images that may not be on the disk yet."""
        self._unsynced_bytes = 0
        self._histogram = np.zeros(256, np.int64)
        if resume:
            self._reopen()

    def append(self, images: Bytes, masks: Bytes | None = None, shadows: Bytes | None = None) -> None:
        """Append N images: images N x H x W x 3, masks and shadows N x H x W, all uint8.

        Raises:
            ValueError: a shape or a type is wrong, or the kinds of arrays differ between calls.
        """
        given = {kind: array for kind, array in zip(ARRAYS, (images, masks, shadows), strict=True) if array is not None}
        if self.count and given.keys() != self._files.keys():
            raise ValueError(f"split '{self.name}' began with {list(self._files)}, not with {list(given)}")
        for kind, array in given.items():
            expected = (len(images), *self._item_shape(kind))
            if array.shape != expected or array.dtype != np.uint8:
                raise ValueError(
                    f"{kind} should be uint8 of shape {expected}, not {array.dtype} of shape {array.shape}"
                )
            if kind not in self._files:
                self._open(kind, "w+b")
                self._write_header(kind)
            self._files[kind].write(np.ascontiguousarray(array).data)  # tofile would hide why writing failed
            self._unsynced[kind].append(row_sums(array).tobytes())
            self._unsynced_bytes += array.nbytes
        if masks is not None:
            self._histogram += np.bincount(masks.reshape(-1), minlength=256)
        self.count += len(images)
        if self._unsynced_bytes > BYTES_BETWEEN_SYNCS:
            self._sync()

    def finish(self) -> SplitRecord:
        """Write the final counts into the headers of the files and return the record for the manifest."""
        records = {}
        self._sync()
        for kind, file in self._files.items():
            self._write_header(kind)
            file.close()
            self._sums[kind].close()
            path = self._path(kind)
            shape = (self.count, *self._item_shape(kind))
            records[kind] = ArrayRecord(path.name, shape, file_sha256(path), file_sha256(sums_file(path)))
        labels = int(self._histogram.nonzero()[0].max(initial=-1)) + 1
        ignored = self.ignored_label if "masks" in records else None
        return SplitRecord(self.count, records, tuple(self._histogram[:labels].tolist()), ignored)

    def close(self) -> None:
        """Close the files without finishing them, so that writing can be resumed."""
        with ExitStack() as stack:
            for file in (*self._files.values(), *self._sums.values()):
                stack.callback(file.close)
            if self._resume and not any(file.closed for file in self._files.values()):
                self._sync()

    def _open(self, kind: str, mode: Literal["w+b", "r+b"]) -> None:
        path = self._path(kind)
        self._files[kind], self._sums[kind] = path.open(mode), sums_file(path).open(mode)
        self._unsynced[kind] = []

    def _sync(self) -> None:
        """Put the images on the disk, and then their checksums."""
        for file in self._files.values():
            file.flush()
            sync_opened(file.fileno())
        for kind, file in self._sums.items():
            file.writelines(self._unsynced[kind])
            file.flush()
            sync_opened(file.fileno())
            self._unsynced[kind].clear()
        self._unsynced_bytes = 0
        sync(self._folder)

    def _reopen(self) -> None:
        """Open what an interrupted writer has left, cut to the images that are whole in all files."""
        for kind in ARRAYS:
            if self._path(kind).exists() and sums_file(self._path(kind)).exists():
                self._open(kind, "r+b")
        self.count = self._count_whole()
        if not self.count:
            self.close()
            self._files.clear()
            self._sums.clear()
            return
        for kind in self._files:
            self._cut(kind)
            self._check(kind)
        self._sync()  # the shorter checksums, before anything is written behind
        if "masks" in self._files:
            self._count_labels()

    def _count_whole(self) -> int:
        """Count the images that are complete: writing can stop between the files or within an image."""
        counts = [
            max(0, file.seek(0, 2) - HEADER_BYTES) // self._item_bytes(kind) for kind, file in self._files.items()
        ]
        counts += [file.seek(0, 2) // SUM_BYTES for file in self._sums.values()]
        return min(counts, default=0)

    def _cut(self, kind: str) -> None:
        """Cut an array and its checksums to the images that are counted."""
        file, sums = self._files[kind], self._sums[kind]
        self._write_header(kind)
        file.truncate(HEADER_BYTES + self.count * self._item_bytes(kind))
        sums.truncate(self.count * SUM_BYTES)
        for opened in (file, sums):
            opened.seek(0, 2)

    def _count_labels(self) -> None:
        """Count the labels in the masks that are there."""
        self._files["masks"].seek(HEADER_BYTES)
        while block := self._files["masks"].read(1 << 24):
            self._histogram += np.bincount(np.frombuffer(block, np.uint8), minlength=256)

    def _item_bytes(self, kind: str) -> int:
        return math.prod(self._item_shape(kind))

    def _item_shape(self, kind: str) -> tuple[int, ...]:
        return (*self._image_size, 3) if kind == "images" else self._image_size

    def _check(self, kind: str) -> None:
        """Refuse to continue behind damaged images.

        Raises:
            AstSegError: an image that was looked at is damaged.
        """
        path = self._path(kind)
        shape = (self.count, *self._item_shape(kind))
        written = np.memmap(path, np.uint8, "r", HEADER_BYTES, shape)
        if damaged_row(written, read_sums(sums_file(path))) is not None:
            raise AstSegError(f"{path}, which was to be continued, is damaged. Remove {path.parent} and begin again.")

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self.name}.{kind}.npy"

    def _write_header(self, kind: str) -> None:
        # numpy pads the header so that the first dimension can grow without moving the data.
        file = self._files[kind]
        file.seek(0)
        header = {"descr": "|u1", "fortran_order": False, "shape": (self.count, *self._item_shape(kind))}
        np.lib.format.write_array_header_1_0(file, header)
        if file.tell() != HEADER_BYTES:
            raise AssertionError(f"numpy wrote a header of {file.tell()} bytes, not of {HEADER_BYTES}")
        file.seek(0, 2)


class StoreWriter:
    """Writes a store beside its destination and moves it there once it is complete.

    Use it as a context manager. An exception (Ctrl-C, a full disk) removes what was written. With `resume`, written
    images stay and the next writer of the same store continues after them: `SplitWriter.count` is the number of images
    that a split has already.

    Raises:
        AstSegError: the destination is not an empty folder, another process is writing it, or the store to resume was
            begun with another source, protocol or size.
    """

    def __init__(
        self,
        path: Path | str,
        image_size: tuple[int, int],
        source: str,
        protocol: str,
        details: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self.path = resolve_link(as_path("path", path))
        self.image_size = image_size
        self.resume = resume
        self.details: dict[str, Any] = dict(details or {})
        self._source = source
        self._protocol = protocol
        self._around = partial_folder(self.path)
        self._partial = self._around / self.path.name
        self._pending = self._around / PENDING_FILE
        self._splits: dict[str, SplitRecord] = {}
        self._kept = ExitStack()

    def check_destination(self) -> None:
        """Raise if the destination is in use, as entering the writer does.

        Raises:
            AstSegError: the destination exists already and is not an empty folder.
        """
        check_free(self.path)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(lock_folder(self._around, self.path))
            self.check_destination()
            if self.resume and self._pending.is_file() and self._partial.is_dir() and not self._holds_links():
                self._check_begun()
            else:
                remove_contents(self._around)
                self._partial.mkdir()
                if self.resume:
                    with atomic_write(self._pending) as partial:
                        partial.write_text(json.dumps(self._settings()))
            self._kept = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._kept:
            if kind is None:
                self._finish()
            elif not self.resume or not self.holds_images():
                remove_contents(self._around)

    @contextmanager
    def split(self, name: str, optional: bool = False, ignored_label: int | None = None) -> Iterator[SplitWriter]:
        """Open a split for appending, and finish it when the block ends.

        Args:
            name: the name of the split.
            optional: whether to leave the split out if nothing is appended.
            ignored_label: the label, in masks, of pixels that are not scored.

        Raises:
            ValueError: the name cannot begin that of a file.
            AstSegError: nothing was appended, and the split is not optional.
        """
        if not name or PurePath(name).name != name or "\0" in name:
            raise ValueError(f"a split's name is one that files can have, such as 'train', not {name!r}")
        writer = SplitWriter(self._partial, name, self.image_size, self.resume, ignored_label)
        try:
            yield writer
            if writer.count:
                self._splits[name] = writer.finish()
            elif not optional:
                raise AstSegError(f"Nothing was read for the split '{name}' of {self.path}.")
        finally:
            writer.close()

    def holds_images(self) -> bool:
        """Tell whether a split has any images, also from before an interruption."""
        return any(file.stat().st_size > HEADER_BYTES for file in self._partial.glob("*.npy"))

    def _holds_links(self) -> bool:
        """Tell whether the unfinished store or a file in it is a link: what it leads to is nothing to write on."""
        return any(path.is_symlink() for path in (self._partial, *self._partial.iterdir()))

    def _finish(self) -> None:
        manifest = Manifest(self._source, self._protocol, self.image_size, self._splits, self.details)
        content = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
        for split in content["splits"].values():
            if split["ignored_label"] is None:  # the format has the key only where there is a label
                del split["ignored_label"]
        (self._partial / MANIFEST_FILE).write_text(json.dumps(seal(content), indent=2) + "\n")
        move_into_place(self._partial, self.path)
        self._pending.unlink(missing_ok=True)

    def _settings(self) -> dict[str, Any]:
        return {"source": self._source, "protocol": self._protocol, "image_size": list(self.image_size)}

    def _check_begun(self) -> None:
        try:
            begun = read_json(self._pending)
        except ValueError:
            begun = None
        if begun != self._settings():
            raise AstSegError(
                f"{self._around} was begun with other settings and cannot be continued. "
                f"Remove it, or choose another destination."
            )
