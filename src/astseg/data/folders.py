"""Finding the pictures in a folder, their true masks, and what to call them."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from astseg.data.arrays import ARRAY_SUFFIXES
from astseg.data.pictures import PICTURE_SUFFIXES
from astseg.data.store import Store
from astseg.data.video import VIDEO_SUFFIXES
from astseg.errors import UserError

OWN_FOLDERS = (("run.json",), ("objects.json", "labels"), ("backgrounds", "masks"))
"""What the folders of runs, of segmented pictures and of painted backgrounds hold."""
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
    wanted: list[Path] = []
    others: list[Path] = []
    own: list[Path] = []
    links: list[Path] = []
    closed: list[str] = []
    for name, folders, files in os.walk(folder, onerror=lambda error: closed.append(error.filename)):
        place = Path(name)
        inner = [place / name for name in folders if not name.startswith(".")]
        own += [path for path in inner if _is_made_by_astseg(path)]
        links += [path for path in inner if path.is_symlink()]
        leave = {*own, *links, *([place / "masks"] if "images" in folders else [])}
        folders[:] = [path.name for path in inner if path not in leave]
        for file in (place / name for name in files if not name.startswith(".") and (place / name).is_file()):
            (wanted if file.suffix.lower() in PICTURE_SUFFIXES | ARRAY_SUFFIXES else others).append(file)
    if not wanted:
        videos = sum(file.suffix.lower() in VIDEO_SUFFIXES for file in others)
        hint = f" It holds {videos} videos: name one of them instead." if videos else ""
        raise UserError(f"{folder} holds no pictures and no arrays of pictures.{hint}")
    kinds = {file.suffix.lower() or "no ending" for file in others}
    left_out = (
        ("files of other kinds", kinds),
        ("what astseg made itself", _below(folder, own)),
        ("linked folders", _below(folder, links)),
        ("folders that may not be opened", _below(folder, map(Path, closed))),
    )
    return Found(
        tuple(sorted(wanted, key=lambda file: natural_key(file.relative_to(folder).as_posix()))),
        tuple(f"{what} ({_first(sorted(which))})" for what, which in left_out if which),
    )


def natural_key(text: str) -> tuple[list[tuple[str, int]], str]:
    """What to sort names by so that numbers in them count as numbers: `a2` comes before `a10`."""
    pieces = re.findall(r"(\D*)(\d*)", text.casefold())
    return [(letters, int(digits or -1)) for letters, digits in pieces], text


def unlike_names(files: Sequence[Path], root: Path) -> dict[Path, str]:
    """Each file's path from a folder on, without suffix but where two files or a file and a folder would share one."""
    relative = {file: file.relative_to(root) for file in files}
    uses = Counter(name.with_suffix("") for name in relative.values())
    uses.update({folder for name in relative.values() for folder in name.parents})
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
    folders = (root.name, *file.relative_to(root).parts[:-1])
    if "images" not in folders:
        return None
    last = len(folders) - 1 - folders[::-1].index("images")
    mask = root.parent.joinpath(*folders[:last], "masks", *folders[last + 1 :], file.name).with_suffix(".png")
    return mask if mask.is_file() else None


def _is_made_by_astseg(folder: Path) -> bool:
    try:
        return Store.is_store(folder) or any(all((folder / name).exists() for name in names) for names in OWN_FOLDERS)
    except PermissionError:  # the walk will find that out too
        return False


def _below(folder: Path, paths: Iterable[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def _first(names: Sequence[str]) -> str:
    """The first few names, and how many more there are.

    >>> _first(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
