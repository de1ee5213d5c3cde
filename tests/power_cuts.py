"""A disk that loses, when the power fails, what was not synchronized.

Two kinds of disks are imitated. A strict one has of a file what it had when the file was last synchronized, and of a
folder the names that it had then. A hasty one has every name at once, but the content of files only when they are
synchronized: before that they have their length, but are zero.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

Image = dict[str, bytes]
"""The files of a disk, by their paths; a folder's own path ends in a slash and has no content."""


class Disk:
    """Watches a folder while something is written there, and remembers what each power cut would leave of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cuts: list[Image] = []
        """What is left after a cut at each moment, of both kinds of disks, without repetitions."""
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        """Of each folder: the numbers of what it names, and whether they are folders."""
        self._kept_open: list[int] = []
        """So that no number of a removed file is given to another."""
        self._lock = Lock()

    def synchronize_all(self) -> None:
        """Take what is there as safe."""
        for place, _, files in os.walk(self.root):
            for path in (Path(place), *(Path(place, name) for name in files)):
                self._keep(path)

    def synchronized(self, opened: int) -> None:
        """Take a file or a folder, which a program has just synchronized, as safe."""
        path = Path(f"/proc/self/fd/{opened}").readlink()
        if path.is_relative_to(self.root):
            with self._lock:
                self._keep(path)
            self.cut()

    def cut(self) -> None:
        """Remember what a cut at this moment would leave."""
        with self._lock:
            for image in (self._strict(), self._hasty()):
                if image not in self.cuts:
                    self.cuts.append(image)

    def _keep(self, path: Path) -> None:
        number = path.stat().st_ino
        if path.is_dir():
            self._names[number] = {entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(path)}
        else:
            self._contents[number] = path.read_bytes()
        self._kept_open.append(os.open(path, os.O_RDONLY))

    def _strict(self) -> Image:
        image: Image = {}

        def add(folder: int, where: str) -> None:
            for name, (number, is_folder) in self._names.get(folder, {}).items():
                if is_folder:
                    image[f"{where}{name}/"] = b""
                    add(number, f"{where}{name}/")
                else:
                    image[where + name] = self._contents.get(number, b"")

        add(self.root.stat().st_ino, "")
        return image

    def _hasty(self) -> Image:
        image: Image = {}
        for path in self.root.rglob("*"):
            found = path.stat()
            name = path.relative_to(self.root).as_posix()
            if stat.S_ISDIR(found.st_mode):
                image[name + "/"] = b""
            else:
                image[name] = self._contents.get(found.st_ino, b"").ljust(found.st_size, b"\0")[: found.st_size]
        return image

    def close(self) -> None:
        """Let the numbers of removed files be used again."""
        for opened in self._kept_open:
            os.close(opened)


@contextmanager
def watched_disk(root: Path) -> Iterator[Disk]:
    """Watch a folder, whose content is taken as safe, until the block ends."""
    disk = Disk(root)
    disk.synchronize_all()
    disk.cut()

    def then(call: Callable[..., Any], what: Callable[..., object]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            result = call(*arguments, **options)
            what(*arguments)
            return result

        return called

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", then(os.fsync, disk.synchronized))
        for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
            patch.setattr(os, name, then(getattr(os, name), lambda *_: disk.cut()))
        try:
            yield disk
            disk.cut()
        finally:
            disk.close()


def restore(image: Image, root: Path) -> None:
    """Write what a power cut left into a new folder."""
    root.mkdir()
    for name, content in sorted(image.items()):
        if name.endswith("/"):
            (root / name).mkdir(parents=True, exist_ok=True)
        else:
            (root / name).write_bytes(content)
