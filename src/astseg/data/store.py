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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import numpy as np
import numpy.typing as npt

from astseg._core.arguments import as_path
from astseg._core.checksums import damaged_row, read_sums, sums_file, unseal
from astseg._core.errors import AstSegError, NotPreparedError, describe_mistake
from astseg._core.image_files import Bytes as Bytes
from astseg._core.input_files import NotAFileError, read_json
from astseg._core.mapped_arrays import map_array
from astseg.data.array_members import describe_damage

FORMAT = "astseg-store"
VERSION = 1
MANIFEST_FILE = "manifest.json"
ARRAYS = ("images", "masks", "shadows")
MAX_ENTRIES = 10_000
"""Of a list among the details of a manifest."""
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
    """The arrays of one split, memory-mapped and read-only.

    Raises:
        ValueError: an array is not uint8, or its shape does not fit.
    """

    name: str
    images: Bytes
    """N x H x W x 3, RGB."""
    masks: Bytes | None = None
    """N x H x W, 0 is the background."""
    shadows: Bytes | None = None
    """N x H x W, 1 where a shadow falls."""
    ignored_label: int | None = None
    """The label, in masks, of pixels that are not scored; None if all are."""

    def __post_init__(self) -> None:
        size = self.images.shape[:3]
        for kind, shape in (("images", (*size, 3)), ("masks", size), ("shadows", size)):
            array = getattr(self, kind)
            if array is not None and (array.dtype != np.uint8 or array.shape != shape or len(shape) < 3):
                wanted = "N x H x W x 3" if kind == "images" else " x ".join(map(str, size))
                raise ValueError(
                    f"the {kind} of a split are uint8 of shape {wanted}, not {array.dtype} of shape {array.shape}"
                )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        """Tell what is there, not the pixels."""
        along = [kind for kind in ("masks", "shadows") if getattr(self, kind) is not None]
        height, width = self.images.shape[1:3]
        with_them = f" with {' and '.join(along)}" if along else ""
        return f"<Split '{self.name}': {len(self)} images of {height}x{width}{with_them}>"

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
        self.path = as_path("path", path)
        self._checks_sums = check_sums
        self.manifest = _read_manifest(self.path)
        self._splits = {name: self._open_split(name, record) for name, record in self.manifest.splits.items()}

    @staticmethod
    def is_store(path: Path | str) -> bool:
        """Tell whether a folder looks like a store, without opening it; other programs write a manifest.json too."""
        try:
            content = read_json(Path(path) / MANIFEST_FILE)
        except (FileNotFoundError, NotADirectoryError, NotAFileError):
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
    def default_split(self) -> str:
        """The split that is segmented and shown where none is named: `test`, or else the first one."""
        return "test" if "test" in self._splits else self.splits[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.manifest.image_size

    def __repr__(self) -> str:
        """Tell what is there."""
        return f"<Store {self.path}: {', '.join(map(repr, self._splits.values()))}>"

    def __contains__(self, name: str) -> bool:
        return name in self._splits

    def __getitem__(self, name: str) -> Split:
        if name not in self._splits:
            raise AstSegError(f"{self.path} has no split '{name}'. It has: {', '.join(self._splits)}.")
        return self._splits[name]

    def verify(self) -> None:
        """Read every file once and compare it with the manifest.

        Raises:
            AstSegError: a file has changed since it was written.
        """
        if damaged := self.damaged_files():
            raise AstSegError(f"{self.path / damaged[0]} has changed since it was written. Prepare the data again.")

    def damaged_files(self) -> list[str]:
        """Read every file once, and return the names of those that are not as they were written."""
        damaged = []
        for record in (record for split in self.manifest.splits.values() for record in split.arrays.values()):
            if file_sha256(self.path / record.file) != record.sha256:
                damaged.append(record.file)
            sums = sums_file(self.path / record.file)
            if record.sums_sha256 and (not sums.is_file() or file_sha256(sums) != record.sums_sha256):
                damaged.append(sums.name)
        return damaged

    def _open_split(self, name: str, record: SplitRecord) -> Split:
        arrays: dict[str, Bytes] = {}
        for kind, array_record in record.arrays.items():
            file = self.path / array_record.file
            try:
                array: Bytes = map_array(file)
            except (OSError, ValueError) as error:
                raise AstSegError(f"Cannot read {file}: {describe_damage(error)}. Prepare the data again.") from error
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
        content = unseal(read_json(file))
        content.pop("format")
        if content.pop("version") != VERSION:
            raise AstSegError(f"{file} is not of format {FORMAT}, version {VERSION}. Prepare the data again.")
        manifest = msgspec.convert(content, Manifest)
        msgspec.convert(manifest.details, _KnownDetails)
        for name, split in manifest.splits.items():
            _check_split(name, split, manifest.image_size)
        return manifest
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AstSegError(
            f"{file} cannot be understood ({describe_mistake(error)}). Prepare the data again."
        ) from error


def first_entries(key: str, entries: Sequence[Any]) -> dict[str, Any]:
    """Return details of a manifest that hold the first of many entries, and the number of the others.

    Millions would make it larger than a manifest may be that is read again.

    >>> first_entries("skipped", ["a"])
    {'skipped': ['a']}
    """
    more = len(entries) - MAX_ENTRIES
    return {key: list(entries[:MAX_ENTRIES]), **({f"more_{key}": more} if more > 0 else {})}


class _KnownDetails(TypedDict, total=False):
    """The details that are read again; all others are only kept."""

    benchmark: str
    name: str
    seed: int
    slots: int | None
    images_published: int | None
    images_found: int
    unreadable: list[tuple[str, str]]
    more_unreadable: int
    skipped: list[tuple[str, str]]
    more_skipped: int
    left_out: list[str]
    notes: list[str]
    masks: str
    masks_left_behind: int
    mask_problem: str
    missing: int
    repeated: list[str]
    more_repeated: int
    links: list[str]
    more_links: int
    unassigned: dict[str, int]
    records_read: dict[str, int]
    records_needed: dict[str, int | None]


def _check_split(name: str, split: SplitRecord, image_size: tuple[int, int]) -> None:
    """Raise unless a split's arrays are named like files of the store and fit each other.

    Raises:
        ValueError: they do not.
    """
    if split.count < 1 or "images" not in split.arrays or split.arrays.keys() - set(ARRAYS):
        raise ValueError(f"'{name}' has {split.count} images and the arrays {', '.join(split.arrays) or '(none)'}")
    for kind, record in split.arrays.items():
        shape = (split.count, *image_size, *((3,) if kind == "images" else ()))
        if Path(record.file).name != record.file:
            raise ValueError(f"'{record.file}' is not a file of the store")
        if record.shape != shape:
            raise ValueError(f"the {kind} of '{name}' should have the shape {shape}, not {record.shape}")
    if split.ignored_label is not None and not 0 < split.ignored_label <= MAX_LABELS:
        raise ValueError(f"an ignored label of {split.ignored_label!r}")
