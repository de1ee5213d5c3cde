"""Anything that holds pictures (a folder, an array, a video, a prepared data set), read the same way."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from astseg.data.arrays import ARRAY_SUFFIXES, open_arrays
from astseg.data.pictures import PICTURE_SUFFIXES, read_mask, read_picture
from astseg.data.store import Store
from astseg.data.video import VIDEO_SUFFIXES, read_facts, read_frames
from astseg.errors import UserError
from astseg.files import UNFINISHED

OWN_FOLDERS = (("run.json", "checkpoint.pt"), ("objects.json", "labels"))
"""What the folders of runs and of masks hold."""

Bytes: TypeAlias = npt.NDArray[np.uint8]

Progress: TypeAlias = Callable[[int, int | None], None]
"""Told after each piece of work how much is done and, where known, how much there is."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a source."""

    name: str
    """Unlike any other of its source, and fit to be a relative path without suffix: `holiday/beach`, `000041`."""
    image: Bytes
    """H x W x 3, RGB."""
    mask: Bytes | None = None
    """H x W, 0 is the background."""


class Source(ABC):
    """Pictures one after another, however many there are: only the present one is in memory.

    Iterate it as often as you like. Whatever cannot be read is left out and named in `skipped`.

    Raises:
        UserError: while iterating, at the end, if nothing at all was readable.
    """

    fps: Fraction | None = None
    """Frames a second, of a video."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped: list[tuple[str, str]] = []
        """(name, reason) of what the latest iteration could not read."""

    def __iter__(self) -> Iterator[Picture]:
        self.skipped.clear()
        readable = False
        for picture in self._pictures():
            readable = True
            yield picture
        if not readable:
            reasons = f" {self.skipped[0][1]}" if self.skipped else ""
            raise UserError(f"Nothing in {self.path} can be read ({len(self.skipped)} tried).{reasons}")

    @abstractmethod
    def _pictures(self) -> Iterator[Picture]:
        """Read the pictures, and add to `skipped` what cannot be read."""

    @abstractmethod
    def estimated_length(self) -> int | None:
        """How many pictures there are if all are readable; None if that takes reading them all."""

    @property
    def has_masks(self) -> bool:
        """Whether every picture comes with its true mask."""
        return False


class FileSource(Source):
    """Picture and array files in a given order.

    A picture `images/NAME.jpg` finds its mask in `masks/NAME.png`, an array in the same `.npz`.

    Args:
        path: the file or folder that the user named.
        files: the files to read.
    """

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        super().__init__(path)
        self.files = tuple(files)

    def estimated_length(self) -> int | None:
        """Count the pictures, by the headers of the arrays; unreadable pictures count too."""
        return sum(_array_count(file) if _is_array(file) else 1 for file in self.files)

    @cached_property
    def _names(self) -> dict[Path, str]:
        """Names without suffixes, but where two files or a file and a folder would share one."""
        root = self.path if self.path.is_dir() else self.path.parent
        relative = {file: file.relative_to(root) for file in self.files}
        uses = Counter(name.with_suffix("") for name in relative.values())
        uses.update({folder for name in relative.values() for folder in name.parents})
        return {
            file: (name if uses[name.with_suffix("")] > 1 else name.with_suffix("")).as_posix()
            for file, name in relative.items()
        }

    @property
    def has_masks(self) -> bool:
        """Whether every file has masks, as far as their headers and names tell."""
        return all(_has_mask(file) for file in self.files)

    def _pictures(self) -> Iterator[Picture]:
        for file, name in self._names.items():
            try:
                if _is_array(file):
                    yield from self._array_pictures(file, name)
                else:
                    yield _read_file(file, name)
            except UserError as error:
                self.skipped.append((name, str(error)))

    def _array_pictures(self, file: Path, name: str) -> Iterator[Picture]:
        # The items of a lone array need no folder to tell them from another's.
        prefix = f"{name}/" if len(self.files) > 1 or self.path.is_dir() else ""
        for index, (image, mask) in enumerate(open_arrays(file)):
            yield Picture(f"{prefix}{index:06d}", image, mask)


class VideoSource(Source):
    """The frames of a video.

    Args:
        path: the file.
        every: take only the frames 0, every, 2 * every, ...
    """

    def __init__(self, path: Path, every: int = 1) -> None:
        super().__init__(path)
        if every < 1:
            raise UserError(f"Every how many frames one is taken should be 1 or more, not {every}.")
        self._facts = read_facts(path)
        self._every = every
        self.fps = self._facts.fps / every

    def estimated_length(self) -> int | None:
        """Count the frames without decoding them."""
        return -(-self._facts.frames // self._every)

    def _pictures(self) -> Iterator[Picture]:
        def note(index: int, reason: str) -> None:
            self.skipped.append((f"{index:06d}", f"Frame {index} of {self.path} {reason}."))

        for index, image in read_frames(self.path, self._every, note):
            yield Picture(f"{index:06d}", image)


class StoreSource(Source):
    """One split of a prepared data set.

    Args:
        path: the folder.
        split: which split.
    """

    def __init__(self, path: Path, split: str) -> None:
        super().__init__(path)
        self._split = Store(path)[split]

    def estimated_length(self) -> int | None:
        """The number of pictures, exactly."""
        return len(self._split)

    @property
    def has_masks(self) -> bool:
        """Whether the split has masks."""
        return self._split.masks is not None

    def _pictures(self) -> Iterator[Picture]:
        masks = self._split.masks
        for index in range(len(self._split)):
            mask = None if masks is None else np.array(masks[index])
            yield Picture(f"{index:06d}", np.array(self._split.images[index]), mask)


def open_source(path: Path | str, split: str = "test", every: int = 1) -> Source:
    """Open a folder, a picture, an `.npy` or `.npz` file, a video, or a prepared data set.

    A folder is searched with all its subfolders for pictures and arrays, in the order in which people count
    (`frame2` before `frame10`); hidden files, the folders of masks and what astseg itself made there are left out.

    Args:
        path: what to open.
        split: which split of a prepared data set to read.
        every: of a video, take only each n-th frame.

    Raises:
        UserError: nothing is there, or nothing that can be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.exists():
        raise UserError(f"There is no file or folder {path}.")
    if path.is_dir():
        if Store.is_store(path):
            return StoreSource(path, split)
        return FileSource(path, find_files(path))
    if suffix in VIDEO_SUFFIXES:
        return VideoSource(path, every)
    if suffix in PICTURE_SUFFIXES | ARRAY_SUFFIXES:
        return FileSource(path, [path])
    known = ", ".join(sorted(PICTURE_SUFFIXES | ARRAY_SUFFIXES | VIDEO_SUFFIXES))
    raise UserError(f"{path} is no kind of file that can be read. Known are {known}, and folders.")


def find_files(folder: Path) -> list[Path]:
    """All pictures and arrays in a folder and its subfolders, sorted as people count.

    Runs, masks and prepared data that astseg made in a subfolder are no pictures to learn from.

    Raises:
        UserError: there are none.
    """
    everything = list(folder.rglob("*"))
    own = {path for path in everything if path.is_dir() and _is_made_by_astseg(path)}
    files = [
        file
        for file in everything
        if file.is_file() and not _is_hidden(file.relative_to(folder)) and own.isdisjoint(file.parents)
    ]
    wanted = [
        file
        for file in files
        if file.suffix.lower() in PICTURE_SUFFIXES | ARRAY_SUFFIXES and not _lies_in_masks(file, folder)
    ]
    if not wanted:
        videos = sum(file.suffix.lower() in VIDEO_SUFFIXES for file in files)
        hint = f" It holds {videos} videos: name one of them instead." if videos else ""
        raise UserError(f"{folder} holds no pictures and no arrays of pictures.{hint}")
    return sorted(wanted, key=lambda file: natural_key(file.relative_to(folder).as_posix()))


def natural_key(text: str) -> tuple[list[tuple[str, int]], str]:
    """What to sort names by so that numbers in them count as numbers: `a2` comes before `a10`."""
    pieces = re.findall(r"(\D*)(\d*)", text.casefold())
    return [(letters, int(digits or -1)) for letters, digits in pieces], text


def _read_file(file: Path, name: str) -> Picture:
    image = read_picture(file)
    mask_file = _mask_file(file)
    mask = None
    if mask_file is not None:
        mask = read_mask(mask_file)
        if mask.shape != image.shape[:2]:
            raise UserError(f"{mask_file} has {mask.shape} pixels, its picture {image.shape[:2]}.")
    return Picture(name, image, mask)


def _mask_file(file: Path) -> Path | None:
    """The mask of a picture: the PNG of the same name under `masks` instead of `images`."""
    parts = file.parts
    if "images" not in parts[:-1]:
        return None
    last = len(parts) - 1 - parts[::-1].index("images", 1)
    mask = Path(*parts[:last], "masks", *parts[last + 1 :]).with_suffix(".png")
    return mask if mask.is_file() else None


def _lies_in_masks(file: Path, folder: Path) -> bool:
    parents = (parent for parent in file.parents if parent.is_relative_to(folder) and parent != folder)
    return any(parent.name == "masks" and (parent.parent / "images").is_dir() for parent in parents)


def _has_mask(file: Path) -> bool:
    if not _is_array(file):
        return _mask_file(file) is not None
    try:
        return open_arrays(file).mask_key is not None
    except UserError:
        return True  # it will be skipped, so that it does not stand in the way of the others


def _array_count(file: Path) -> int:
    try:
        return open_arrays(file).count
    except UserError:
        return 0


def _is_array(file: Path) -> bool:
    return file.suffix.lower() in ARRAY_SUFFIXES


def _is_made_by_astseg(folder: Path) -> bool:
    return (
        Store.is_store(folder)
        or folder.suffix == UNFINISHED
        or any(all((folder / name).exists() for name in names) for names in OWN_FOLDERS)
    )


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)
