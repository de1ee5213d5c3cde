"""Reading files that anybody may have made: only regular files, of a bounded size and depth."""

import errno
import gzip
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON_BYTES = 1 << 26
"""A larger JSON file is none of ours: a store of a million images has a manifest of a few kilobytes."""
MAX_JSON_DEPTH = 64
"""Lists and objects within each other; ours have six."""


GZIP_MAGIC = b"\x1f\x8b\x08"
"""How a gzip file begins: what it is, and the only way of compression that there is."""


def real_path(path: Path) -> Path:
    """Return an absolute path without links, as far as they lead anywhere: it never fails, unlike `Path.resolve`."""
    return Path(os.path.realpath(path))


class NotAFileError(OSError):
    """A path leads to a folder, a pipe, a device or the like."""


def regular_size(path: Path) -> int:
    """Return the size of a regular file, or of the one that a link leads to, in bytes.

    Opening a pipe waits for a writer, and a device may have no end, so neither is ever opened.

    Raises:
        OSError: there is nothing, or something other than a regular file (`NotAFileError`).
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        what = "a folder" if stat.S_ISDIR(facts.st_mode) else "a pipe, a device or the like"
        raise NotAFileError(errno.EINVAL, f"it is {what}, not a file", str(path))
    return facts.st_size


def is_gzipped(file: BinaryIO) -> bool:
    """Tell whether a file begins as gzip's do, and leave it at its beginning."""
    begins = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    return begins


def decompressed(file: BinaryIO) -> BinaryIO | gzip.GzipFile:
    """Return what a file holds: its content if it is gzipped, else itself."""
    return gzip.GzipFile(fileobj=file) if is_gzipped(file) else file


def read_json(path: Path, max_bytes: int | None = None) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        max_bytes: a larger one is refused; by default `MAX_JSON_BYTES`.

    Raises:
        OSError: there is no regular file, or it cannot be read.
        ValueError: it is too large, or no JSON; see `parse_json`.
    """
    size = regular_size(path)
    limit = MAX_JSON_BYTES if max_bytes is None else max_bytes
    if size > limit:
        raise ValueError(f"it has {size} bytes; at most {limit} are read")
    return parse_json(path.read_bytes())


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that is nested no deeper than `MAX_JSON_DEPTH`, so that whatever walks through it ends.

    Raises:
        ValueError: it is no JSON, or nested too deeply.

    >>> parse_json('{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    too_deep = f"it is nested deeper than {MAX_JSON_DEPTH} levels"
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = [content]
    for _ in range(MAX_JSON_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [child for children in inner for child in children]
        if not level:
            return content
    raise ValueError(too_deep)
