"""The files that a user's words name: patterns such as ``images/*.jpg``, and lists of paths in a file or a pipe."""

import glob
import os
import re
from pathlib import Path

from astseg._core.errors import AstSegError
from astseg._core.input_files import regular_size
from astseg._core.text import printable
from astseg.data.folders import is_readable, natural_key
from astseg.data.video import VIDEO_SUFFIXES

_SEPARATOR = f"[{re.escape(os.sep + (os.altsep or ''))}]"
RECURSIVE = re.compile(rf"(?:(?<={_SEPARATOR})|^)\*\*(?:{_SEPARATOR}+|$)")
"""The part of a pattern that stands for any folders."""
LIST_SUFFIX = ".txt"
MAX_LIST_BYTES = 1 << 26
"""A million long paths."""


def find_places(word: str) -> list[Path]:
    """Return what a word names: the files of a list, those that match a pattern, or the one path that it is.

    A file that ends in .txt is a list. A path that exists is no pattern, whatever characters are in it.

    Raises:
        AstSegError: it is empty, the list cannot be read, or nothing that can be read matches the pattern.
    """
    if not word:  # a variable of the shell without a value; a Path would take it for the working folder
        raise AstSegError("A source is an empty text. Name a folder, a file or a pattern; the working folder is '.'.")
    if word.lower().endswith(LIST_SUFFIX):
        return read_list(Path(word))
    if glob.has_magic(word) and not os.path.lexists(word):
        return _match(word)
    return [Path(word)]


def read_list(path: Path) -> list[Path]:
    """Read the paths in a list, one on each line; see `parse_list`.

    Raises:
        AstSegError: there is no such file, or it is not a list of paths.
    """
    try:
        size = regular_size(path)
        if size > MAX_LIST_BYTES:
            raise AstSegError(f"{path} has {size} bytes; a list of files has at most {MAX_LIST_BYTES}.")
        return parse_list(path.read_bytes(), str(path))
    except OSError as error:
        raise AstSegError(f"The list {path} cannot be read: {error.strerror}.") from error


def parse_list(content: bytes, name: str) -> list[Path]:
    """Parse a list of paths: one on each line, or between zero bytes; empty lines are passed over.

    Paths are taken from the working folder, as ``find`` and ``ls`` write them. They name files and folders alone:
    neither patterns nor addresses, since a list may come from elsewhere.

    Raises:
        AstSegError: it names nothing, or something that is not there.
    """
    lines = content.split(b"\0") if b"\0" in content else content.removeprefix(b"\xef\xbb\xbf").splitlines()
    paths = []
    for number, line in enumerate(lines, 1):
        text = os.fsdecode(line).rstrip("\r")
        if not text.strip():
            continue
        if not os.path.exists(text):  # noqa: PTH110  (a Path would change the text)
            text = text.strip()
        if not os.path.exists(text):  # noqa: PTH110  (a Path would change the text)
            raise AstSegError(
                f"Line {number} of {name} names '{printable(text[:200])}', which is not there. "
                "A list holds a path on each line, seen from the working folder."
            )
        paths.append(Path(text))
    if not paths:
        raise AstSegError(f"{name} names no files. It should hold a path on each line.")
    return paths


def _match(pattern: str) -> list[Path]:
    """Return the folders, images, arrays and videos that match a pattern, in natural order."""
    found = sorted(_glob(pattern), key=lambda path: natural_key(str(path)))
    kept = [path for path in found if path.is_dir() or (path.is_file() and _may_be_source(path))]
    if RECURSIVE.search(pattern):  # which matches the folders on the way too
        kept = [path for path in kept if path.is_file()]
    if not kept:
        what = f"only files of other kinds, such as {found[0]}" if found else "nothing"
        raise AstSegError(f"There is no file or folder {pattern}, and as a pattern it matches {what}.")
    return kept


def _glob(pattern: str) -> set[Path]:
    """Return what matches a pattern.

    Unlike Python's, ``**`` stays out of linked folders, as the search of a folder does: through one that leads to a
    folder above it, everything would be found dozens of times.
    """
    parts = RECURSIVE.split(pattern, maxsplit=1)
    places = [Path(text) for text in glob.glob(parts[0])] if parts[0] else [Path()]  # noqa: PTH207  (may be absolute)
    if len(parts) == 1:
        return set(places)
    rest, found = parts[1] or "*", set()
    for place in places:
        for folder, subfolders, _ in os.walk(place):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            found |= _glob(os.path.join(glob.escape(folder), rest))  # noqa: PTH118  (a Path would change the pattern)
    return found


def _may_be_source(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES or is_readable(path)
