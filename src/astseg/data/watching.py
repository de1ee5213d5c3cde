"""A folder that grows: images are read as they come, once they are whole."""

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from astseg._core.errors import AstSegError
from astseg._core.image_files import IMAGE_SUFFIXES, Bytes, read_images
from astseg.data.folders import list_readable, natural_key
from astseg.data.sources import EndlessSource, Sample

LOOK_SECONDS = 0.5
"""Between two looks into the folder."""
SETTLED_SECONDS = 1.0
"""For which a file must not have changed before it is read."""
GIVE_UP_SECONDS = 10.0
"""For which a file that cannot be read must not have changed before it counts as damaged; copies may pause."""


class WatchedFolder(EndlessSource):
    """The images in a folder and its subfolders, those that are there and those that come.

    A file is read once it has kept its size and time for a while and can be read to its end. Its name is its path
    without the suffix, or with it if that name is taken already. A file that is written anew is not read again.

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
        self._waiting: dict[Path, tuple[tuple[int, int], float]] = {}
        """Of files that are not read yet, size and time, and since when they have been so."""

    @property
    def state(self) -> str:
        """How many files are not whole yet; empty if all are."""
        return f"not whole yet: {len(self._waiting)}" if self._waiting else ""

    def _samples(self) -> Iterator[Sample]:
        done: set[Path] = set()
        names: set[str] = set()
        while not self.stop():
            for file in self._settled(done):
                try:
                    images = read_images(file)
                    first = next(images)
                    frames = 1 + sum(1 for _ in images)  # to the end of the file
                    if frames > 1:
                        images = read_images(file)
                        first = next(images)
                except AstSegError as error:
                    if self._age(file) > GIVE_UP_SECONDS:
                        self._finish(file, done)
                        self.skipped.append((file.relative_to(self.path).as_posix(), str(error)))
                    continue
                self._finish(file, done)
                yield from self._file_samples(file, self._name(file, names, frames), frames, chain([first], images))
                if self.stop():
                    return
            time.sleep(LOOK_SECONDS)

    def _finish(self, file: Path, done: set[Path]) -> None:
        done.add(file)
        del self._waiting[file]

    def _file_samples(self, file: Path, name: str, frames: int, images: Iterator[Bytes]) -> Iterator[Sample]:
        if frames == 1:
            yield Sample(name, next(images), file_name=file.relative_to(self.path).as_posix())
            return
        try:
            for index, image in enumerate(images):
                yield Sample(f"{name}/{index:06d}", image)
        except AstSegError as error:  # it was written anew meanwhile
            self.skipped.append((file.relative_to(self.path).as_posix(), str(error)))

    def _settled(self, done: set[Path]) -> list[Path]:
        """Look into the folder, and return the files that have not changed for a while."""
        there = [file for file in list_readable(self.path) if file.suffix.lower() in IMAGE_SUFFIXES]
        files = sorted(set(there) - done, key=lambda file: natural_key(file.relative_to(self.path).as_posix()))
        seen = {}
        now = time.monotonic()
        for file in files:
            try:
                facts = file.stat()
            except OSError:  # it has gone again
                continue
            state = (facts.st_size, facts.st_mtime_ns)
            before = self._waiting.get(file)
            seen[file] = before if before is not None and before[0] == state else (state, now)
        self._waiting = seen
        return [file for file in seen if self._age(file) > SETTLED_SECONDS]

    def _age(self, file: Path) -> float:
        return time.monotonic() - self._waiting[file][1]

    def _name(self, file: Path, names: set[str], frames: int) -> str:
        path = file.relative_to(self.path)
        name = path.with_suffix("").as_posix()
        if name in names or (frames > 1 and (self.path / name).is_dir()):  # whose images may be numbered too
            name = path.as_posix()
        names.add(name)
        if frames > 1:
            names.update(f"{name}/{index:06d}" for index in range(frames))
        return name
