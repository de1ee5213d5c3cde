"""Several files, folders and videos as one source."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from astseg._core.arguments import as_paths
from astseg._core.errors import AstSegError
from astseg._core.input_files import real_path
from astseg.data.arrays import is_array_file
from astseg.data.file_source import FileSource
from astseg.data.folders import find_among, find_files, is_searched, unique_names
from astseg.data.masks import share_ignored_label
from astseg.data.opening import Kind, StoreSource, find_kind, open_source
from astseg.data.sources import Sample, Source, total_length
from astseg.data.video_source import open_video


class JoinedSource(Source):
    """Sources one after another.

    Args:
        path: the folder that holds them all.
        parts: the sources by a prefix of the names of their images, which makes them unique; it may be empty for one.
    """

    def __init__(self, path: Path, parts: dict[str, Source]) -> None:
        super().__init__(path, f"{len(parts)} sources in {path}")
        self.parts = parts
        self.left_out = tuple(
            f"{prefix}: {text}" if prefix else text for prefix, part in parts.items() for text in part.left_out
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about how images are read."""
        return tuple(note for part in self.parts.values() for note in part.notes)

    def estimated_length(self) -> int | None:
        """Add up the parts, as far as they are known."""
        return total_length(self.parts.values())

    def names(self) -> Iterator[tuple[str, str | None]]:
        """Yield those of the parts, with their prefixes."""
        for prefix, part in self.parts.items():
            yield from ((_join(prefix, name), file_name) for name, file_name in part.names())

    @property
    def has_masks(self) -> bool:
        """Whether every image of every part has its true mask."""
        return all(part.has_masks for part in self.parts.values())

    @property
    def ignored_label(self) -> int | None:
        """The label, in masks, of pixels that are not scored; None if all are."""
        return next((part.ignored_label for part in self.parts.values() if part.ignored_label is not None), None)

    def _samples(self) -> Iterator[Sample]:
        for prefix, part in self.parts.items():
            part.skipped.clear()
            for sample in part._samples():
                mask, common = sample.mask, self.ignored_label
                if mask is not None and common is not None:
                    mask = share_ignored_label(mask, part.ignored_label, common)
                yield replace(sample, name=_join(prefix, sample.name), mask=mask)
            self.skipped += [(_join(prefix, name), reason) for name, reason in part.skipped]


def open_sources(
    places: Sequence[Path | str] | Path | str,
    split: str | None = "test",
    every: int = 1,
    masks: Path | None = None,
    ignored: frozenset[int] | None = None,
    max_frames: int | None = None,
) -> Source:
    """Open one source or several as one; see `open_source`.

    The images and arrays of all files and folders are read as those of one folder would be: their masks are told from
    them, and their names are paths below the folder that holds all. The frames of a video are named
    ``VIDEO/000041``, and come after the images. What is named twice, or lies in a folder that is named, is read once.

    Args:
        places: one or more files and folders.
        split: the split of prepared data to read; None for each one's `Store.default_split`.
        every: take only every n-th frame of videos.
        masks: a file or folder of masks, of a single source.
        ignored: the values in masks of pixels that are not scored; None to detect them.
        max_frames: take no more frames of each video than these, evenly spread.

    Raises:
        TypeError: a place is no path.
        AstSegError: as `open_source`; there is no place, or masks are named for several.
    """
    given = as_paths("places", places)
    if not given:
        raise AstSegError("No source is given. Give a folder of images, a video or prepared data.")
    typed = {_absolute(place): place for place in given}
    kinds = _without_repeated({place: find_kind(as_typed) for place, as_typed in typed.items()})
    if len(kinds) == 1:
        return open_source(typed[next(iter(kinds))], split, every, masks, ignored, max_frames)
    if masks is not None:
        raise AstSegError(f"Masks can be named for one source, and here are {len(kinds)}. Prepare them one by one.")
    root = _common_folder(list(kinds))
    parts: dict[str, Source] = {}
    files: Sequence[Path] = ()
    if any(kind in ("folder", "image", "array") for kind in kinds.values()):
        parts[""] = joined = _join_files(root, kinds, ignored)
        files = joined.files
    prefixes = unique_names([*kinds, *files], root)
    for place, kind in kinds.items():
        if kind == "video":
            parts[prefixes[place]] = open_video(place, every, max_frames)
        elif kind == "store":
            parts[prefixes[place]] = StoreSource(place, split)
    if (every != 1 or max_frames is not None) and "video" not in kinds.values():
        raise AstSegError("Only of videos can frames be left out, and there is none among the sources.")
    source = parts[""] if list(parts) == [""] else JoinedSource(root, parts)
    source.places = tuple(kinds)
    return source


def _common_folder(places: Sequence[Path]) -> Path:
    """Return the folder that holds all of some absolute paths.

    Raises:
        AstSegError: there is none.
    """
    try:
        return Path(os.path.commonpath([place.parent for place in places]))
    except ValueError as error:  # of Windows
        raise AstSegError("The sources lie on several drives. Take one drive at a time.") from error


def _join_files(root: Path, kinds: Mapping[Path, Kind], ignored: frozenset[int] | None) -> FileSource:
    """Open the images and arrays of all files and folders among some places as those of one folder."""
    found = [find_files(place) for place, kind in kinds.items() if kind == "folder"]
    single = [place for place, kind in kinds.items() if kind in ("image", "array")]
    if single:
        found.append(find_among(single, root))
    files = [file for one in found for file in one.files]
    masks = {image: paths for one in found for image, paths in one.masks.items()}
    left_out = tuple(text for one in found for text in one.left_out)
    # Folders come from several origins: white may be an object in one, and pixels not scored in the next.
    groups = [one.files for one in found if one.masks or any(is_array_file(file) for file in one.files)]
    return FileSource(root, files, left_out, masks, ignored, groups)


def _without_repeated(kinds: Mapping[Path, Kind]) -> dict[Path, Kind]:
    """Return the places without those that are read with a folder around them, as ``find`` lists them."""
    folders = {place for place, kind in kinds.items() if kind == "folder"}
    alone = ("video", "store")  # which folders leave out
    return {
        place: kind
        for place, kind in kinds.items()
        if kind in alone or not any(is_searched(place, folder) for folder in folders.intersection(place.parents))
    }


def _absolute(place: Path) -> Path:
    """Return an absolute path in which nothing leads upwards; links stay."""
    if ".." not in place.parts:
        return place.absolute()
    return real_path(place) if place.name == ".." else real_path(place.parent) / place.name


def _join(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name
