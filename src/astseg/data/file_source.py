"""Images and arrays in files, with their masks."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np

from astseg._core.errors import AstSegError
from astseg._core.image_files import (
    FORMATS,
    Bytes,
    count_images,
    is_image_file,
    read_exif_transpose,
    read_images,
)
from astseg._core.sampling import evenly_spaced_first
from astseg.data.arrays import ArrayFile, is_array_file, open_arrays
from astseg.data.folders import unique_names
from astseg.data.mask_edges import RawMask
from astseg.data.masks import (
    IGNORED_LABEL,
    MaskCoding,
    choose_coding,
    decode_mask,
    read_raw_masks,
    rotate_like_image,
    share_ignored_label,
    telling_masks,
)
from astseg.data.sources import Sample, Source

NUM_PROBED_MASKS = 16
"""The number of masks with objects that decide how all masks are read."""


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
        """Return the source with only some of its files, which are named and read as in the whole."""
        return _FilePart(self, files)

    def estimated_length(self) -> int | None:
        """Count the images by the headers of the files; unreadable images count too."""
        return sum(self._counts.values())

    def names(self) -> Iterator[tuple[str, str | None]]:
        """Yield those of all images that the headers of the files tell of."""
        for file, name in self._names.items():
            if self._is_alone(file):
                yield name, self._file_name(file)
            else:
                yield from ((f"{self._prefix(name)}{index:06d}", None) for index in range(self._counts[file]))

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
        alone = self._is_alone(file)
        file_name = self._file_name(file) if alone else None
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

    def _is_alone(self, file: Path) -> bool:
        """Tell whether a file holds one image, which has its name."""
        return self._counts[file] == 1 and not is_array_file(file)

    def _file_name(self, file: Path) -> str:
        return file.relative_to(self._root).as_posix()

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


class _FilePart(FileSource):
    """Some files of a source. How they are named and their masks are read, only the whole may tell.

    Args:
        whole: the source.
        files: some of its files.
    """

    def __init__(self, whole: FileSource, files: Sequence[Path]) -> None:
        super().__init__(whole.path, files, masks=whole.masks, ignored=whole.ignored)
        self._whole = whole

    @cached_property
    def ignored_label(self) -> int | None:
        """The label, in masks, of pixels that are not scored; None if all of the whole are."""
        return self._whole.ignored_label

    @cached_property
    def _coding_of(self) -> dict[Path, MaskCoding]:
        coding_of = self._whole._coding_of
        return {file: coding_of[file] for file in self.files if file in coding_of}

    @cached_property
    def _names(self) -> dict[Path, str]:
        return {file: self._whole._names[file] for file in self.files}


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
    yield from telling_masks(_readable_masks(files), NUM_PROBED_MASKS)
    for file in arrays:
        try:
            yield from telling_masks(_masks_of_array(open_arrays(file)), NUM_PROBED_MASKS)
        except AstSegError:
            continue


def _readable_masks(files: Sequence[Path]) -> Iterator[RawMask]:
    for index in evenly_spaced_first(len(files), NUM_PROBED_MASKS):
        try:
            yield from islice(read_raw_masks(files[index]), 1)
        except AstSegError:
            continue


def _masks_of_array(opened: ArrayFile) -> Iterator[RawMask]:
    return (_raw_labels(item.mask) for item in opened if item.mask is not None) if opened.mask_key else iter(())


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
