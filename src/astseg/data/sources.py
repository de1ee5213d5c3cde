"""Reading everything that holds images (folders, arrays, videos, prepared data sets) in the same way."""

import re
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from astseg._core.errors import AstSegError
from astseg._core.image_files import (
    FORMATS,
    IMAGE_SUFFIXES,
    Bytes,
    count_images,
    is_image_file,
    read_exif_transpose,
    read_images,
)
from astseg._core.sampling import evenly_spaced
from astseg.data.arrays import ArrayFile, is_array_file, open_arrays
from astseg.data.folders import find_files, find_masks, unique_names
from astseg.data.mask_edges import RawMask
from astseg.data.masks import (
    IGNORED_LABEL,
    MaskCoding,
    choose_coding,
    decode_mask,
    read_raw_masks,
    rotate_like_image,
    share_ignored_label,
)
from astseg.data.store import Store
from astseg.data.video import VIDEO_SUFFIXES, read_facts, read_frames

Kind: TypeAlias = Literal["store", "folder", "array", "image", "video"]
NUM_PROBED_MASKS = 16
"""The number of masks that decide how all masks are read."""
MAX_MISSING_SHARE = 0.02
"""Of a film's frames, or of its time. Some films promise a few frames more than they have."""
CUT_OFF = "the end of the film, which is cut off"


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of a source."""

    name: str
    """Unique in its source, and a relative path for result files once a suffix is appended: `holiday/beach`, `000041`.
    Not always the file's own name."""
    image: Bytes
    """H x W x 3, RGB."""
    mask: Bytes | None = None
    """H x W, 0 is the background; see `Source.ignored_label`."""
    mask_problem: str | None = None
    """Why an existing mask cannot be used, as a sentence."""
    time: float | None = None
    """For videos, seconds from the first frame."""
    file_name: str | None = None
    """The path below the source's folder of the file that holds this image alone; None if there is none."""


class Source(ABC):
    """An iterable of images, of which only the current one is in memory.

    It can be iterated repeatedly. Images that cannot be read are left out and named in `skipped`.

    Raises:
        AstSegError: at the end of an iteration, if nothing was readable, unless `may_be_empty`.
    """

    fps: Fraction | None = None
    """For videos, the mean number of frames per second."""
    duration: float | None = None
    """For videos, seconds from the first frame to the end of the last."""
    split: str | None = None
    """Of prepared data, which split."""
    digests: Mapping[str, str] | None = None
    """Of a shard, by what it is known later whether its files have changed."""
    may_be_empty: bool = False
    """Whether an iteration may end without an image that could be read."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = str(path) if name is None else name
        """What messages and results call it."""
        self.places: tuple[Path, ...] = ()
        """Of several places opened as one, all of them; `path` is then the folder that holds them."""
        self.skipped: list[tuple[str, str]] = []
        """(name, reason) of images that the latest iteration could not read."""
        self.left_out: tuple[str, ...] = ()
        """Descriptions of everything there that is not read."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about how images are read, where users may want to know."""
        return ()

    def __iter__(self) -> Iterator[Sample]:
        self.skipped.clear()
        readable = False
        for sample in self._samples():
            readable = True
            yield sample
        if not readable and not self.may_be_empty:
            reasons = f" {self.skipped[0][1]}" if self.skipped else ""
            raise AstSegError(f"Nothing in {self.name} can be read ({len(self.skipped)} tried).{reasons}")

    @abstractmethod
    def _samples(self) -> Iterator[Sample]:
        """Yield the images, and add those that cannot be read to `skipped`."""

    @abstractmethod
    def estimated_length(self) -> int | None:
        """Return the number of images if all are readable; None if counting requires reading them all."""

    @property
    def has_masks(self) -> bool:
        """Whether every image has its true mask."""
        return False

    @property
    def ignored_label(self) -> int | None:
        """The label, in masks, of pixels that are not scored; None if all are."""
        return None


class EndlessSource(Source):
    """A source whose images come one after another, until it is told to stop; it ends without an error if none came."""

    may_be_empty = True
    stop: Callable[[], bool] = staticmethod(lambda: False)
    """Asked several times a second; the iteration ends once it says so."""

    @property
    def state(self) -> str:
        """What is to be said of the images that have come or not; empty if nothing."""
        return ""

    def estimated_length(self) -> int | None:
        """Return None: nobody knows."""
        return None


class FileSource(Source):
    """Image and array files in a given order, with their masks.

    Args:
        path: the file or folder that the user named.
        files: the files to read.
        left_out: descriptions of everything there that is not read.
        masks: the mask files of image files, one or one for each object; arrays contain their own.
        ignored: the values in masks of pixels that are not scored; None to detect them.
        groups: the files, in groups whose masks are read alike; by default one group.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[Path],
        left_out: tuple[str, ...] = (),
        masks: Mapping[Path, tuple[Path, ...]] | None = None,
        ignored: frozenset[int] | None = None,
        groups: Sequence[Sequence[Path]] | None = None,
    ) -> None:
        super().__init__(path)
        self.files = tuple(files)
        self.left_out = left_out
        self.masks = masks or {}
        self.ignored = ignored
        self._groups = (self.files,) if groups is None else groups
        self._root = path if path.is_dir() else path.parent

    def part(self, files: Sequence[Path]) -> "FileSource":
        """Return the source with only some of its files."""
        part = FileSource(self.path, files, masks=self.masks, ignored=self.ignored)
        # Decided from the whole set: a part may not suffice.
        part.__dict__ |= {
            "ignored_label": self.ignored_label,
            "_coding_of": {file: self._coding_of[file] for file in files if file in self._coding_of},
            "_names": {file: self._names[file] for file in files},
        }
        return part

    def estimated_length(self) -> int | None:
        """Count the images by the headers of the files; unreadable images count too."""
        return sum(self._counts.values())

    @cached_property
    def codings(self) -> tuple[MaskCoding, ...]:
        """How the masks of each group are read."""
        # By identity: those that differ in nothing but `lossy` are equal, and are described in other words.
        return tuple({id(coding): coding for coding in self._coding_of.values()}.values())

    @cached_property
    def _coding_of(self) -> dict[Path, MaskCoding]:
        """The coding of each file, decided for its group from some of the masks."""
        codings: dict[Path, MaskCoding] = {}
        for group in self._groups:
            masks = (self.masks[file] for file in group if file in self.masks)
            codings |= dict.fromkeys(group, find_coding(masks, filter(is_array_file, group), self.ignored))
        return codings

    @cached_property
    def has_masks(self) -> bool:  # cached, because it reads the headers of all files
        """Whether every file has a mask; unreadable files do not count."""
        return all(self._has_mask(file) for file in self.files)

    @cached_property
    def ignored_label(self) -> int | None:
        """The label, in masks, of pixels that are not scored; None if all are."""
        return IGNORED_LABEL if any(coding.ignored for coding in self.codings) else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the range of values and the axes of arrays."""
        return tuple(note for file in filter(is_array_file, self.files) for note in _notes_if_readable(file))

    @cached_property
    def _names(self) -> dict[Path, str]:
        return unique_names(self.files, self._root)

    @cached_property
    def _counts(self) -> dict[Path, int]:
        return {file: self._count(file) for file in self.files}

    @staticmethod
    def _count(file: Path) -> int:
        if not is_array_file(file):
            return count_images(file)
        arrays = _open_if_readable(file)
        return 0 if arrays is None else arrays.count

    def _samples(self) -> Iterator[Sample]:
        for file, name in self._names.items():
            try:
                yield from self._array_samples(file, name) if is_array_file(file) else self._image_samples(file, name)
            except AstSegError as error:
                self.skipped.append((name, str(error)))

    def _image_samples(self, file: Path, name: str) -> Iterator[Sample]:
        paths = self.masks.get(file, ())
        masks = self._read_masks(file, paths) if paths else iter(())
        turned = read_exif_transpose(file) if paths else None
        alone = self._counts[file] == 1
        file_name = file.relative_to(self._root).as_posix() if alone else None
        for index, image in enumerate(read_images(file)):
            # A file that breaks off can have more frames than could be counted.
            own_name = name if alone and not index else f"{self._prefix(name)}{index:06d}"
            if not paths:
                yield Sample(own_name, image, file_name=file_name)
                continue
            mask, problem = next(masks, (None, f"The mask {paths[0]} has fewer frames than its image."))
            if mask is not None:
                mask = rotate_like_image(mask, image, turned)
                if mask.shape != image.shape[:2]:
                    problem = f"The mask {paths[0]} has {mask.shape} pixels, its image {image.shape[:2]}."
                    mask = None
            yield Sample(own_name, image, mask, problem, file_name=file_name)

    def _read_masks(self, file: Path, paths: Sequence[Path]) -> Iterator[tuple[Bytes | None, str | None]]:
        """Yield the mask of each frame of an image file, or the reason why it cannot be used."""
        try:
            for masks in zip_longest(*map(read_raw_masks, paths)):
                missing = [str(path) for path, mask in zip(paths, masks, strict=True) if mask is None]
                if missing:
                    raise AstSegError(f"{', '.join(missing)} has fewer frames than the other masks of {file}.")
                yield merge_object_masks([self._decode(mask, file) for mask in masks], file), None
        except AstSegError as error:
            named = any(str(path) in str(error) for path in paths)
            yield None, str(error) if named else f"The mask {paths[0]} {error}"

    def _decode(self, mask: RawMask, file: Path) -> Bytes:
        """Decode a mask of a file, in which no object has the label of pixels that another group's masks ignore."""
        coding = self._coding_of[file]
        labels = decode_mask(mask, coding)
        if self.ignored_label is None or coding.ignored:
            return labels
        return share_ignored_label(labels, None, self.ignored_label)

    def _has_mask(self, file: Path) -> bool:
        if not is_array_file(file):
            # Files that will be skipped do not count.
            return file in self.masks or not is_image_file(file, FORMATS)
        arrays = _open_if_readable(file)
        return arrays is None or arrays.mask_key is not None

    def _array_samples(self, file: Path, name: str) -> Iterator[Sample]:
        for index, item in enumerate(open_arrays(file)):
            own_name = f"{self._prefix(name)}{index:06d}"
            if item.image is None:
                self.skipped.append((own_name, str(item.problem)))
            else:
                mask = None if item.mask is None else self._decode(_raw_labels(item.mask), file)
                yield Sample(own_name, item.image, mask, item.problem)

    def _prefix(self, name: str) -> str:
        # The images of a single file need no folder to be unique.
        return f"{name}/" if len(self.files) > 1 or self.path.is_dir() else ""


class VideoSource(Source):
    """The frames of a video.

    Args:
        path: the file.
        every: take only the frames 0, every, 2 * every, ...
        max_frames: take no more frames than these; of a longer video, fewer of each second.
    """

    def __init__(self, path: Path, every: int = 1, max_frames: int | None = None) -> None:
        super().__init__(path)
        if every < 1:
            raise AstSegError(f"The step between frames should be 1 or more, not {every}.")
        if max_frames is not None and max_frames < 1:
            raise AstSegError(f"The largest number of frames should be 1 or more, not {max_frames}.")
        self._facts = read_facts(path)
        self.every = every if max_frames is None else max(every, -(-self._facts.frames // max_frames))
        """The step between the frames that are taken."""
        self.fps = self._facts.fps / self.every
        self.duration = self._facts.duration
        if more := self._facts.more_tracks:
            self.left_out = (f"{more} more video track{'' if more == 1 else 's'}",)
        if self._facts.missing > MAX_MISSING_SHARE * self._facts.frames:
            whole = self._facts.frames + self._facts.missing
            self.left_out += (f"{CUT_OFF}: {self._facts.frames} of {whole} frames are there",)
        elif self._facts.missing_seconds > MAX_MISSING_SHARE * self._facts.duration:
            self.left_out += (f"{CUT_OFF}: {self._facts.missing_seconds:.1f} seconds are missing",)

    def estimated_length(self) -> int | None:
        """Count the frames without decoding them."""
        return -(-self._facts.frames // self.every)

    def _samples(self) -> Iterator[Sample]:
        def note(index: int, reason: str) -> None:
            self.skipped.append((f"{index:06d}", f"Frame {index} of {self.path} {reason}."))

        for frame in read_frames(self.path, self.every, note, self._facts):
            yield Sample(f"{frame.number:06d}", frame.image, time=frame.time)


class StoreSource(Source):
    """One split of a prepared data set.

    Args:
        path: the folder.
        split: which split.
    """

    def __init__(self, path: Path, split: str) -> None:
        super().__init__(path)
        self.split = split
        self._split = Store(path)[split]

    def estimated_length(self) -> int | None:
        """Return the exact number of images."""
        return len(self._split)

    @property
    def has_masks(self) -> bool:
        """Whether the split has masks."""
        return self._split.masks is not None

    @property
    def ignored_label(self) -> int | None:
        """The label of pixels that are not scored, as saved in the split."""
        return self._split.ignored_label

    def _samples(self) -> Iterator[Sample]:
        masks = self._split.masks
        for index in range(len(self._split)):
            mask = None if masks is None else np.array(masks[index])
            yield Sample(f"{index:06d}", np.array(self._split.images[index]), mask)


def open_source(
    path: Path | str,
    split: str = "test",
    every: int = 1,
    masks: Path | None = None,
    ignored: frozenset[int] | None = None,
    max_frames: int | None = None,
) -> Source:
    """Open a folder, an image, an `.npy` or `.npz` file, a video, or a prepared data set.

    A folder is searched with all subfolders for images and arrays, in natural order (`frame2` before `frame10`); see
    `find_files` for what is left out. The kind of a file with an unknown suffix is detected from its content.

    Args:
        path: what to open; `open_sources` takes several.
        split: the split of a prepared data set to read.
        every: take only every n-th frame of a video.
        masks: a file or folder of masks of the images; by default the masks beside them.
        ignored: the values in masks of pixels that are not scored; None to detect them.
        max_frames: take no more frames of a video than these, evenly spread.

    Raises:
        AstSegError: there is nothing, or nothing readable; frames are to be left out of something other than a video;
            or there are no masks where the user named some.
    """
    path = Path(path)
    kind = find_kind(path)
    if masks is not None and kind not in ("folder", "image"):
        raise AstSegError(f"Masks can only be named for image files, and {path} is not one.")
    if ignored is not None and kind in ("video", "store"):
        what = "a video has none" if kind == "video" else "prepared data has its own"
        raise AstSegError(f"The values that are not scored are those of masks beside images: {what}. Omit them.")
    if kind == "video":
        return open_video(path, every, max_frames)
    if every != 1 or max_frames is not None:
        raise AstSegError(f"Only of a video can frames be left out, and {path} is not one.")
    if kind == "store":
        return StoreSource(path, split)
    if kind == "array":
        return FileSource(path, [path], ignored=ignored)
    found = find_files(path, masks) if kind == "folder" else find_masks(path, masks)
    return FileSource(path, found.files, found.left_out, found.masks, ignored)


def find_kind(path: Path) -> Kind:
    """Tell what a path holds, by its suffix or, if that is unknown, its content; what is nothing else may be a video.

    Raises:
        AstSegError: there is nothing, or neither a file nor a folder.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise AstSegError(f"There is no file or folder {path}.")
    if path.is_dir():
        return "store" if Store.is_store(path) else "folder"
    if not path.is_file():
        raise AstSegError(f"{path} is a pipe, a device or the like, not a file.")
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if is_array_file(path):
        return "array"
    return "image" if suffix not in VIDEO_SUFFIXES and is_image_file(path) else "video"


def open_video(path: Path, every: int = 1, max_frames: int | None = None) -> VideoSource:
    """Open a video, which may have any suffix.

    Raises:
        AstSegError: it is none, or a number is out of range.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(path, every, max_frames)
    no_kind = f"{path} cannot be read: it is neither an image, nor a video, nor an .npy or .npz array."
    if _is_archive(path):  # FFmpeg would find uncompressed videos in it
        raise AstSegError(f"{no_kind} Unpack it first.")
    try:
        return VideoSource(path, every, max_frames)
    except AstSegError as error:
        raise AstSegError(f"{no_kind} Give one of these, or a folder.") from error


def _is_archive(path: Path) -> bool:
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def find_coding(
    masks: Iterable[Sequence[Path]], arrays: Iterable[Path] = (), ignored: frozenset[int] | None = None
) -> MaskCoding:
    """Decide from some of the masks of a set how all are read.

    Args:
        masks: the mask files of each image: one, or one for each object.
        arrays: array files that may hold masks.
        ignored: the values of pixels that are not scored; None to detect them.
    """
    files = [path for paths in masks for path in paths]
    cdnet = bool(files) and all(re.fullmatch(r"gt\d+", path.stem) for path in files)
    cityscapes = bool(files) and all(path.stem.endswith("instanceIds") for path in files)
    return choose_coding(_probe_masks(files, arrays), ignored, cdnet=cdnet, cityscapes=cityscapes)


def _probe_masks(files: Sequence[Path], arrays: Iterable[Path]) -> Iterator[RawMask]:
    for index in evenly_spaced(len(files), NUM_PROBED_MASKS).tolist():
        try:
            yield from islice(read_raw_masks(files[index]), 1)
        except AstSegError:
            continue
    for file in arrays:
        try:
            opened = open_arrays(file)
            items = list(islice(opened, NUM_PROBED_MASKS)) if opened.mask_key else []
        except AstSegError:
            continue
        yield from (_raw_labels(item.mask) for item in items if item.mask is not None)


def total_length(sources: Iterable[Source]) -> int | None:
    """Add up how many images there are in several sources; None if counting them means reading them."""
    lengths = [source.estimated_length() for source in sources]
    return None if None in lengths else sum(length or 0 for length in lengths)


def _raw_labels(mask: Bytes) -> RawMask:
    return RawMask(mask.astype(np.int64), "grey")


def merge_object_masks(masks: Sequence[Bytes], file: Path) -> Bytes:
    """Merge one mask for each object into one mask.

    Raises:
        AstSegError: sizes differ, there are more masks than labels, or a mask holds several objects.
    """
    if len(masks) == 1:
        return masks[0]
    if len({mask.shape for mask in masks}) > 1 or len(masks) >= IGNORED_LABEL:
        raise AstSegError(
            f"The {len(masks)} masks of {file} cannot be merged: their sizes differ, or they are too many."
        )
    if any(len(np.unique(mask[mask > 0])) > 1 for mask in masks):
        raise AstSegError(f"The {len(masks)} masks of {file} hold several objects each: name one set of masks.")
    joined = np.zeros_like(masks[0])
    for label, mask in enumerate(masks, 1):
        joined[mask > 0] = label
    return joined


def _open_if_readable(file: Path) -> ArrayFile | None:
    try:
        return open_arrays(file)
    except AstSegError:
        return None


def _notes_if_readable(file: Path) -> tuple[str, ...]:
    try:
        return open_arrays(file).notes  # read to the end, where damage may come to light
    except AstSegError:
        return ()
