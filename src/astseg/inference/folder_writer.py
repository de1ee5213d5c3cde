"""What all writers of results have in common: a folder, and files that are completed at the end."""

from abc import ABC
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self


class FolderWriter(ABC):  # noqa: B024  (what is appended differs)
    """Writes files into a folder, image by image: a long video does not fit into memory.

    Args:
        folder: where to write; it exists, and appears to others once all is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(  # noqa: B027  (a writer of one file for each image has nothing to complete)
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the files."""

    def path(self, *parts: str) -> Path:
        """Return a path in the folder, and make its parents: names may have several parts."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def whole_file(self, *parts: str) -> Iterator[Path]:
        """Yield a hidden path beside a path in the folder, to which the file moves once it is whole.

        Others may read the folder while it grows. Nothing is synchronized: that is done for all files together.
        """
        path = self.path(*parts)
        partial = path.with_name(f".partial{path.suffix}")  # a name that cannot become too long
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
