"""A folder that grows: images are read as they come, once they are whole."""

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from astseg._core.errors import AstSegError
from astseg._core.image_files import IMAGE_SUFFIXES, Bytes, read_images
from astseg._core.text import folded
from astseg.data.folders import RESULT_SUFFIXES, list_readable, natural_key
from astseg.data.sources import EndlessSource, Sample

LOOK_SECONDS = 0.5
"""Between two looks into the folder."""
SETTLED_SECONDS = 1.0
"""For which a file must not have changed before it is read."""
GIVE_UP_SECONDS = 10.0
"""For which a file that cannot be read must not have changed before it counts as damaged; copies may pause."""


class _State(NamedTuple):
    """What changes when a file is written."""

    size: int
    time: int


class WatchedFolder(EndlessSource):
    """The images in a folder and its subfolders, those that are there and those that come.

    A file is read once it has kept its size and time for a while and can be read to its end. Its name is its path
    without the suffix, or with it if that name is taken already; if both are, it is named in `skipped`. So is a file
    that is written anew after it was read, which is not read again: its results are written already. One that counted
    as damaged is.

    Args:
        path: the folder.

    Raises:
        AstSegError: it is not a folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if not path.is_dir():
            raise AstSegError(
                f"Only a folder can be watched, and {path} is {'a file' if path.exists() else 'not there'}."
            )
        self._waiting: dict[Path, tuple[_State, float]] = {}
        """Of files that are not read yet, their state, and since when they have been in it."""
        self._read: dict[Path, _State] = {}
        """Of files that were read, the state that they were read in."""
        self._given_up: dict[Path, _State] = {}
        self._changed: set[Path] = set()
        """Files that were read and have been written anew since."""

    @property
    def state(self) -> str:
        """How many files are not whole yet, how many were written anew, and how many left out; empty if none."""
        counts = {
            "not whole yet": len(self._waiting),
            "written anew, and not read again": len(self._changed),
            "left out": len(self.skipped) - len(self._changed),
        }
        return ", ".join(f"{what}: {count}" for what, count in counts.items() if count > 0)

    def _samples(self) -> Iterator[Sample]:
        for files in (self._waiting, self._read, self._given_up, self._changed):
            files.clear()
        names = _ResultNames()
        while not self.stop():
            for file in self._settled():
                if _find_state(file) != self._waiting[file][0]:
                    continue  # it was written anew while those before it were segmented, and has to settle again
                found = self._read_whole(file)
                if found is None:
                    continue
                frames, images = found
                self._read[file], _ = self._waiting.pop(file)
                name = self._name(file, names, frames)
                if name is None:
                    self._skip(file, "Its results would have the place of another image's. Save it under another name.")
                    continue
                yield from self._file_samples(file, name, frames, images)
                if self.stop():
                    break
            else:
                time.sleep(LOOK_SECONDS)
        self._find_changed()  # since the last look, which may be long ago

    def _read_whole(self, file: Path) -> tuple[int, Iterator[Bytes]] | None:
        """Return how many images a waiting file holds, and these; None if it cannot be read to its end, or not yet."""
        try:
            images = read_images(file)
            first = next(images)
            frames = 1 + sum(1 for _ in images)  # to the end of the file
            if frames > 1:
                images = read_images(file)
                first = next(images)
        except AstSegError as error:
            if self._age(file) > GIVE_UP_SECONDS:
                self._given_up[file], _ = self._waiting.pop(file)
                self._skip(file, str(error))
            return None
        return frames, chain([first], images)

    def _skip(self, file: Path, reason: str) -> None:
        self.skipped.append((self._relative(file), reason))

    def _relative(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()

    def _file_samples(self, file: Path, name: str, frames: int, images: Iterator[Bytes]) -> Iterator[Sample]:
        if frames == 1:
            yield Sample(name, next(images), file_name=self._relative(file))
            return
        try:
            for index, image in enumerate(images):
                yield Sample(f"{name}/{index:06d}", image)
        except AstSegError as error:  # it was written anew meanwhile
            self._changed.add(file)
            self._skip(file, str(error))

    def _settled(self) -> list[Path]:
        """Look into the folder, and return the files to read that have not changed for a while."""
        self._find_changed()
        there = {file for file in list_readable(self.path) if file.suffix.lower() in IMAGE_SUFFIXES}
        seen = {}
        now = time.monotonic()
        for file in sorted(there - self._read.keys(), key=lambda file: natural_key(self._relative(file))):
            state = _find_state(file)
            if state is None or state == self._given_up.get(file):  # it has gone again, or is as damaged as before
                continue
            if self._given_up.pop(file, None) is not None:
                self.skipped[:] = [(name, reason) for name, reason in self.skipped if name != self._relative(file)]
            before = self._waiting.get(file)
            seen[file] = before if before is not None and before[0] == state else (state, now)
        self._waiting = seen
        return [file for file in seen if self._age(file) > SETTLED_SECONDS]

    def _find_changed(self) -> None:
        """Tell, once of each, which files are no longer as they were read."""
        for file, state in self._read.items():
            if file not in self._changed and _find_state(file) not in (state, None):
                self._changed.add(file)
                self._skip(
                    file,
                    "It was written anew after it had been read, so that its results are those of the image before. "
                    "Save further images under new names, or segment this one once more by itself.",
                )

    def _age(self, file: Path) -> float:
        return time.monotonic() - self._waiting[file][1]

    def _name(self, file: Path, names: "_ResultNames", frames: int) -> str | None:
        """Return a name for the images of a file, whose results are in the way of no others; None if there is none."""
        path = file.relative_to(self.path)
        bare = path.with_suffix("").as_posix()
        may_mix = frames > 1 and (self.path / bare).is_dir()  # whose images may be numbered too
        choices = [path.as_posix()] if may_mix else [bare, path.as_posix()]
        return next((name for name in choices if names.take(name, frames)), None)


class _ResultNames:
    """The names of images whose results get a file or a folder, on disks for which ``A`` and ``a`` are one name too."""

    def __init__(self) -> None:
        self._images: set[str] = set()
        self._folders: set[str] = set()
        """Of folders that are called like the results of an image, the name of that."""

    def take(self, name: str, frames: int) -> bool:
        """Take the name of a file with so many images; return whether it is free."""
        name = folded(name)
        images = {name, *(f"{name}/{index:06d}" for index in range(frames if frames > 1 else 0))}
        places = {str(place) for place in (PurePosixPath(name, "0") if frames > 1 else PurePosixPath(name)).parents}
        folders = {place.removesuffix(end) for place in places for end in RESULT_SUFFIXES if place.endswith(end)}
        if images & (self._images | self._folders) or folders & self._images:
            return False
        self._images |= images
        self._folders |= folders
        return True


def _find_state(file: Path) -> _State | None:
    """Return the state of a file; None if it is not there."""
    try:
        facts = file.stat()
    except OSError:
        return None
    return _State(facts.st_size, facts.st_mtime_ns)
