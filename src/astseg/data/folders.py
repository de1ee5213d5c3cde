"""Finding the pictures in a folder, their true masks, and what to call them."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from astseg.data.arrays import ARRAY_SUFFIXES
from astseg.data.pictures import PICTURE_SUFFIXES
from astseg.data.store import Store
from astseg.data.video import VIDEO_SUFFIXES
from astseg.errors import UserError

NAMED = 3
"""So many names stand in a sentence; of the others the number."""


@dataclass(frozen=True)
class Found:
    """What is in a folder."""

    files: tuple[Path, ...]
    """Its pictures and arrays, in the order in which people count."""
    left_out: tuple[str, ...]
    """What is there beside them, in words, each kind once."""


def find_files(folder: Path) -> Found:
    """Find all pictures and arrays in a folder and its subfolders.

    Hidden files and folders, the folders of masks, linked folders, and the runs, masks and prepared data that astseg
    itself made there hold no pictures to learn from.

    Raises:
        UserError: there are no pictures and no arrays.
    """
    search = _Search(folder)
    search.look_into(folder)
    left_out = search.left_out()
    if not search.wanted:
        videos = sum(file.suffix.lower() in VIDEO_SUFFIXES for file in search.others)
        hint = f" It holds {videos} videos: name one of them instead." if videos else ""
        beside = f" Left out: {'; '.join(left_out)}." if left_out and not videos else ""
        raise UserError(f"{folder} holds no pictures and no arrays of pictures.{hint}{beside}")
    files = sorted(search.wanted, key=lambda file: natural_key(file.relative_to(folder).as_posix()))
    return Found(tuple(files), left_out)


class _Search:
    """A walk through a folder, which sorts what lies there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wanted: list[Path] = []
        self.others: list[Path] = []
        self.own: list[Path] = []
        self.links: list[Path] = []
        self.closed: list[Path] = []

    def look_into(self, folder: Path) -> None:
        """Sort what lies in a folder and in its subfolders."""
        try:
            with os.scandir(folder) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError:
            self.closed.append(folder)
            return
        folders = [entry for entry in entries if _holds(entry.is_dir)]
        for file in (folder / entry.name for entry in entries if _holds(entry.is_file)):
            (self.wanted if file.suffix.lower() in PICTURE_SUFFIXES | ARRAY_SUFFIXES else self.others).append(file)
        names = {entry.name for entry in folders}
        for entry in folders:
            inner = folder / entry.name
            if entry.is_symlink():
                self.links.append(inner)
            elif _is_made_by_astseg(inner):
                self.own.append(inner)
            elif not (entry.name == "masks" and "images" in names):
                self.look_into(inner)

    def left_out(self) -> tuple[str, ...]:
        """What is no picture to be read, in words, each kind once."""
        kinds = {file.suffix.lower() or "no ending" for file in self.others}
        what = (
            ("files of other kinds", kinds),
            ("what astseg made itself", self._names(self.own)),
            ("linked folders", self._names(self.links)),
            ("folders that may not be opened", self._names(self.closed)),
        )
        return tuple(f"{words} ({_first(sorted(names))})" for words, names in what if names)

    def _names(self, folders: Iterable[Path]) -> set[str]:
        return {folder.relative_to(self.root).as_posix() for folder in folders}


def natural_key(text: str) -> tuple[list[tuple[str, int]], str]:
    """What to sort names by so that numbers in them count as numbers: `a2` comes before `a10`."""
    pieces = re.findall(r"(\D*)(\d*)", text.casefold())
    return [(letters, int(digits or -1)) for letters, digits in pieces], text


def unlike_names(files: Sequence[Path], root: Path) -> dict[Path, str]:
    """Each file's path from a folder on, without suffix but where two files or a file and a folder would share one.

    Names stay apart with .png or .jpg appended, too, because results are called so.
    """
    relative = {file: file.relative_to(root) for file in files}
    folders = {folder for name in relative.values() for folder in name.parents}
    uses = Counter(name.with_suffix("") for name in relative.values())
    uses.update([*relative.values(), *folders])
    arrays = {name.with_suffix("") for name in relative.values() if name.suffix.lower() in ARRAY_SUFFIXES}
    uses.update(place.with_suffix("") for place in folders | arrays if place.suffix in (".png", ".jpg"))
    return {
        file: (name if uses[name.with_suffix("")] > 1 else name.with_suffix("")).as_posix()
        for file, name in relative.items()
    }


def mask_file(file: Path, root: Path) -> Path | None:
    """The mask of a picture: the PNG of the same name under `masks` instead of `images`; None if there is none.

    Args:
        file: the picture.
        root: the folder that the user named; it may be called `images` itself, but its parents mean nothing.
    """
    root, below = root.absolute(), file.relative_to(root)  # absolute, because `.` has no name
    folders = (root.name, *below.parts[:-1])
    if "images" not in folders:
        return None
    last = len(folders) - 1 - folders[::-1].index("images")
    mask = root.parent.joinpath(*folders[:last], "masks", *folders[last + 1 :], file.name).with_suffix(".png")
    return mask if mask.is_file() else None


def _holds(question: Callable[[], bool]) -> bool:
    """The answer to a question about a folder's entry; a link that leads nowhere, or in a circle, is neither."""
    try:
        return question()
    except OSError:
        return False


def _is_made_by_astseg(folder: Path) -> bool:
    """Whether a folder holds prepared data, a run, segmented pictures or painted backgrounds."""
    try:
        return (
            Store.is_store(folder)
            or _is_run(folder / "run.json")
            or ((folder / "objects.json").is_file() and (folder / "labels").is_dir())
            or {path.name for path in folder.iterdir()} - {"summary.json"} == {"backgrounds", "masks"}
        )
    except OSError:  # the search will find that out too
        return False


def _is_run(file: Path) -> bool:
    """Whether a file tells what a training run was asked to do; other programs call their files run.json too."""
    try:
        content = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(content, dict) and {"recipe", "data", "seed"} <= content.keys()


def _first(names: Sequence[str]) -> str:
    """The first few names, and how many more there are.

    >>> _first(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
