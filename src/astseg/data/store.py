"""Prepared data: uint8 memory maps beside a manifest.

A store is a folder::

    manifest.json
    train.images.npy     uint8, N x H x W x 3, RGB
    train.images.crc32   the checksum of each image, 4 N bytes; likewise of the other arrays
    train.masks.npy      uint8, N x H x W, 0 is the background      (only if the truth is known)
    train.shadows.npy    uint8, N x H x W, 1 where a shadow falls   (only for generated scenes)
    test.images.npy      ... and so on, one set of arrays for every split

Opening a store checks its manifest, the size of every array, and the checksums of all images of an array up to 256 MiB,
of 256 images of a larger one. ``Store.verify`` reads everything. Stores of an older astseg have no checksums of images.

Batches are read without decoding. Channels are last, so that a batch permuted to N x 3 x H x W has the memory format
in which convolutions are fastest. ``store_writer`` writes stores.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from astseg._core.checksums import damaged_row, read_sums, sums_file, unseal
from astseg._core.errors import AstSegError, NotPreparedError
from astseg._core.image_files import Bytes as Bytes

FORMAT = "astseg-store"
VERSION = 1
MANIFEST_FILE = "manifest.json"
ARRAYS = ("images", "masks", "shadows")
MAX_LABELS = 255
"""A mask has 8 bits, one value of which is the background."""


@dataclass(frozen=True)
class ArrayRecord:
    """The manifest's description of one array of a split."""

    file: str
    shape: tuple[int, ...]
    sha256: str
    sums_sha256: str = ""
    """Of the file with the checksums of the images; empty in a store of an older astseg, which has none."""


@dataclass(frozen=True)
class SplitRecord:
    """The manifest's description of one split."""

    count: int
    arrays: Mapping[str, ArrayRecord]
    label_histogram: tuple[int, ...] = ()
    """The number of pixels with label 0, 1, 2, ...; empty if the split has no masks."""
    ignored_label: int | None = None
    """The label of pixels that are not scored; None if all are."""


@dataclass(frozen=True)
class Manifest:
    """The content of a store and its origin."""

    source: str
    """The origin of the images: a path, an archive, a generator with its version."""
    protocol: str
    """How the images were prepared: crop, resize, label rules, split rule, seed."""
    image_size: tuple[int, int]
    """Height and width in pixels."""
    splits: Mapping[str, SplitRecord] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    """Further facts about the source, such as a seed or the names of skipped files."""


@dataclass(frozen=True)
class Split:
    """The arrays of one split, memory-mapped and read-only."""

    name: str
    images: Bytes
    """N x H x W x 3, RGB."""
    masks: Bytes | None = None
    """N x H x W, 0 is the background."""
    shadows: Bytes | None = None
    """N x H x W, 1 where a shadow falls."""
    ignored_label: int | None = None
    """The label, in masks, of pixels that are not scored; None if all are."""

    def __len__(self) -> int:
        return len(self.images)

    def masks_to_show(self, chosen: slice | npt.NDArray[np.intp]) -> Bytes | None:
        """Return some masks for display, in which ignored pixels are background; None if there are no masks."""
        if self.masks is None:
            return None
        masks = np.array(self.masks[chosen])
        if self.ignored_label is not None:
            masks[masks == self.ignored_label] = 0
        return masks


class Store:
    """A prepared data set on disk.

    Args:
        path: its folder.
        check_sums: whether to look at the checksums of images, as far as this is quick; `verify` reads everything.

    Raises:
        AstSegError: there is no store, it has another version, its files do not fit its manifest, or are damaged.
    """

    def __init__(self, path: Path | str, *, check_sums: bool = True) -> None:
        self.path = Path(path)
        self._checks_sums = check_sums
        self.manifest = _read_manifest(self.path)
        self._splits = {name: self._open_split(name, record) for name, record in self.manifest.splits.items()}

    @staticmethod
    def is_store(path: Path | str) -> bool:
        """Tell whether a folder looks like a store, without opening it; other programs write a manifest.json too."""
        try:
            content = json.loads((Path(path) / MANIFEST_FILE).read_bytes())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return False
        except ValueError:
            # Damaged, but the manifest of a store if arrays of one are there, which must not be taken for images.
            return any(Path(path).glob("*.images.npy"))
        return isinstance(content, dict) and content.get("format") == FORMAT

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self._splits)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.manifest.image_size

    def __contains__(self, name: str) -> bool:
        return name in self._splits

    def __getitem__(self, name: str) -> Split:
        if name not in self._splits:
            raise AstSegError(f"{self.path} has no split '{name}'. It has: {', '.join(self._splits)}.")
        return self._splits[name]

    def verify(self) -> None:
        """Read every file once and compare its SHA-256 with the manifest.

        Raises:
            AstSegError: a file has changed since it was written.
        """
        for split in self.manifest.splits.values():
            for record in split.arrays.values():
                if file_sha256(self.path / record.file) != record.sha256:
                    raise AstSegError(
                        f"{self.path / record.file} has changed since it was written. Prepare the data again."
                    )

    def _open_split(self, name: str, record: SplitRecord) -> Split:
        arrays: dict[str, Bytes] = {}
        for kind, array_record in record.arrays.items():
            file = self.path / array_record.file
            try:
                array: Bytes = np.load(file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise AstSegError(f"Cannot read {file}: {error}. Prepare the data again.") from error
            if array.shape != array_record.shape or array.dtype != np.uint8:
                raise AstSegError(
                    f"{file} should hold uint8 of shape {array_record.shape}, "
                    f"but holds {array.dtype} of shape {array.shape}. Prepare the data again."
                )
            self._check_sums(array, array_record)
            arrays[kind] = array
        return Split(name, **arrays, ignored_label=record.ignored_label)

    def _check_sums(self, array: Bytes, record: ArrayRecord) -> None:
        """Refuse an array that is not as it was written, as far as is looked at.

        Raises:
            AstSegError: the array or its checksums are damaged.
        """
        if not self._checks_sums or not record.sums_sha256:
            return
        file = self.path / record.file
        try:
            row = damaged_row(array, read_sums(sums_file(file))) if self._sums_intact(record) else -1
        except OSError as error:
            raise AstSegError(f"Cannot read {sums_file(file)}: {error.strerror}. Prepare the data again.") from error
        if row is not None:
            what = f"{sums_file(file)} is" if row < 0 else f"Image {row} in {file} is"
            raise AstSegError(f"{what} not as it was written: damaged, or exchanged. Prepare the data again.")

    def _sums_intact(self, record: ArrayRecord) -> bool:
        return file_sha256(sums_file(self.path / record.file)) == record.sums_sha256


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST_FILE
    if not Store.is_store(path):
        raise NotPreparedError(
            f"{path} is no prepared data set: it has no {MANIFEST_FILE} of astseg. Prepare it first."
        )
    try:
        content = unseal(json.loads(file.read_bytes()))
        content.pop("format")
        if content.pop("version") != VERSION:
            raise AstSegError(f"{file} is not of format {FORMAT}, version {VERSION}. Prepare the data again.")
        content["image_size"] = tuple(content["image_size"])
        content["splits"] = {name: _split_record(split) for name, split in content["splits"].items()}
        return Manifest(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AstSegError(f"{file} cannot be understood ({error!r}). Prepare the data again.") from error


def _split_record(content: dict[str, Any]) -> SplitRecord:
    arrays = {
        kind: ArrayRecord(array["file"], tuple(array["shape"]), array["sha256"], array.get("sums_sha256", ""))
        for kind, array in content["arrays"].items()
        if kind in ARRAYS and Path(array["file"]).name == array["file"]
    }
    ignored = content.get("ignored_label")
    if ignored is not None and (type(ignored) is not int or not 0 < ignored <= MAX_LABELS):
        raise ValueError(f"an ignored label of {ignored!r}")
    return SplitRecord(int(content["count"]), arrays, tuple(content["label_histogram"]), ignored)
