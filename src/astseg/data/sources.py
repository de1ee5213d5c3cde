"""Anything that holds pictures (a folder, an array, a video, a prepared data set), read the same way."""

import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from astseg.data.arrays import ARRAY_SUFFIXES, open_arrays
from astseg.data.folders import find_files, mask_file, unlike_names
from astseg.data.pictures import LABEL_MODES, PICTURE_SUFFIXES, picture_mode, read_mask, read_picture
from astseg.data.store import Store
from astseg.data.video import VIDEO_SUFFIXES, read_facts, read_frames
from astseg.errors import UserError

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
    mask_problem: str | None = None
    """Why the mask that it has cannot be used, in a sentence."""
    time: float | None = None
    """Seconds from the first frame, of a video."""


class Source(ABC):
    """Pictures one after another, however many there are: only the present one is in memory.

    Iterate it as often as you like. Whatever cannot be read is left out and named in `skipped`.

    Raises:
        UserError: while iterating, at the end, if nothing at all was readable.
    """

    fps: Fraction | None = None
    """Frames a second in the mean, of a video."""
    duration: float | None = None
    """Seconds from the first frame to the end of the last, of a video."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped: list[tuple[str, str]] = []
        """(name, reason) of what the latest iteration could not read."""
        self.left_out: tuple[str, ...] = ()
        """What lies there and is no picture to be read, in words."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What of it is read in a way that a user may want to know, in sentences."""
        return ()

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
        left_out: what else lies there, in words.
    """

    def __init__(self, path: Path, files: Sequence[Path], left_out: tuple[str, ...] = ()) -> None:
        super().__init__(path)
        self.files = tuple(files)
        self.left_out = left_out
        self._root = path if path.is_dir() else path.parent

    def estimated_length(self) -> int | None:
        """Count the pictures, by the headers of the arrays; unreadable pictures count too."""
        return sum(_array_count(file) if _is_array(file) else 1 for file in self.files)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the numbers and axes of arrays are taken."""
        return tuple(note for file in self.files if _is_array(file) for note in _array_notes(file))

    @cached_property
    def _names(self) -> dict[Path, str]:
        return unlike_names(self.files, self._root)

    @cached_property
    def has_masks(self) -> bool:  # asked more than once, and the headers of all files tell it
        """Whether every file has masks that can be used, as far as headers tell."""
        return all(self._has_mask(file) for file in self.files)

    def _pictures(self) -> Iterator[Picture]:
        for file, name in self._names.items():
            try:
                if _is_array(file):
                    yield from self._array_pictures(file, name)
                else:
                    yield self._read_file(file, name)
            except UserError as error:
                self.skipped.append((name, str(error)))

    def _read_file(self, file: Path, name: str) -> Picture:
        image = read_picture(file)
        path = mask_file(file, self._root)
        if path is None:
            return Picture(name, image)
        try:
            mask = read_mask(path)
            if mask.shape != image.shape[:2]:
                raise UserError(f"The mask {path} has {mask.shape} pixels, its picture {image.shape[:2]}.")
        except UserError as error:
            return Picture(name, image, mask_problem=str(error))
        return Picture(name, image, mask)

    def _has_mask(self, file: Path) -> bool:
        if not _is_array(file):
            path = mask_file(file, self._root)
            # What will be skipped does not stand in the way of the others.
            return picture_mode(path) in LABEL_MODES if path else picture_mode(file) is None
        try:
            return open_arrays(file).mask_key is not None
        except UserError:
            return True  # as above

    def _array_pictures(self, file: Path, name: str) -> Iterator[Picture]:
        # The items of a lone array need no folder to tell them from another's.
        prefix = f"{name}/" if len(self.files) > 1 or self.path.is_dir() else ""
        for index, item in enumerate(open_arrays(file)):
            own_name = f"{prefix}{index:06d}"
            if item.image is None:
                self.skipped.append((own_name, str(item.problem)))
            else:
                yield Picture(own_name, item.image, item.mask, item.problem)


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
        self.duration = self._facts.duration
        if more := self._facts.more_tracks:
            self.left_out = (f"{more} more video track{'' if more == 1 else 's'}",)

    def estimated_length(self) -> int | None:
        """Count the frames without decoding them."""
        return -(-self._facts.frames // self._every)

    def _pictures(self) -> Iterator[Picture]:
        def note(index: int, reason: str) -> None:
            self.skipped.append((f"{index:06d}", f"Frame {index} of {self.path} {reason}."))

        for frame in read_frames(self.path, self._every, note, self._facts):
            yield Picture(f"{frame.number:06d}", frame.image, time=frame.time)


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
    (`frame2` before `frame10`); see `find_files` for what is left out. A file whose ending is unknown is looked into.

    Args:
        path: what to open.
        split: which split of a prepared data set to read.
        every: of a video, take only each n-th frame.

    Raises:
        UserError: nothing is there, or nothing that can be read, or it is no video and not every frame is wanted.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.exists():
        raise UserError(f"There is no file or folder {path}.")
    known = PICTURE_SUFFIXES | ARRAY_SUFFIXES
    if suffix in VIDEO_SUFFIXES or not (path.is_dir() or suffix in known or (path.is_file() and _is_image(path))):
        return _open_video(path, every)
    if every != 1:
        raise UserError(f"Only of a video can each n-th frame be taken, and {path} is none.")
    if path.is_dir():
        if Store.is_store(path):
            return StoreSource(path, split)
        found = find_files(path)
        return FileSource(path, found.files, found.left_out)
    return FileSource(path, [path])


def _open_video(path: Path, every: int) -> VideoSource:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(path, every)
    no_kind = f"{path} is no kind of file that can be read: neither an image, nor a video, nor an .npy or .npz array."
    if _is_archive(path):  # in which FFmpeg would find a film that is not compressed
        raise UserError(f"{no_kind} Unpack it first.")
    try:
        return VideoSource(path, every)
    except UserError as error:
        raise UserError(f"{no_kind} Give one of these, or a folder.") from error


def _is_archive(path: Path) -> bool:
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def _is_image(path: Path) -> bool:
    """Whether a file's content is that of an image; of MPEG video, Pillow knows the beginning and cannot read it."""
    try:
        with Image.open(path) as image:
            return image.format != "MPEG"
    except Exception:  # damaged files make Pillow raise whatever they stumble over
        return False


def _array_count(file: Path) -> int:
    try:
        return open_arrays(file).count
    except UserError:
        return 0


def _array_notes(file: Path) -> tuple[str, ...]:
    try:
        return open_arrays(file).notes
    except UserError:
        return ()


def _is_array(file: Path) -> bool:
    return file.suffix.lower() in ARRAY_SUFFIXES
