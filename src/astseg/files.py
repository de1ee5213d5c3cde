"""Writing files so that nobody ever finds half of one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from astseg.errors import UserError

UNFINISHED = ".partial"
"""How the name of a folder ends that is being written, or was when its process was killed."""


@contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """Hand out a temporary place beside `path`, and move what was written there to `path` when the block ends.

    The folder is made where it is missing, and an older file at `path` stays until the new one is whole.
    Leaving the block by an exception (Ctrl-C, a full disk) removes what was written.

    Raises:
        UserError: the place cannot be written.
    """
    path = Path(path)
    # The process number keeps two programs that write the same file out of each other's way; the ending stays,
    # because libraries choose the format by it.
    partial = beside(path, f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        # What cannot be removed was never there: the place cannot be written.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Hand out a folder beside `path`, which becomes `path` when the block ends, and goes if the block fails.

    Args:
        path: the folder to make.
        replace: whether what stands there already goes once the new one is whole.

    Raises:
        UserError: `path` is taken already, unless by an empty folder or to be replaced, or cannot be written.
    """
    if path.exists() and not replace and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} exists already. Choose another place, or remove it first.")
    partial, former = unfinished(path), beside(path, f".{path.name}.{os.getpid()}.former")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        # Between two renamings there is next to no time in which neither folder stands at the path.
        if path.exists():
            path.rename(former)
        partial.rename(path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        if former.exists() and not path.exists():
            former.rename(path)
        for leftover in (partial, former):
            shutil.rmtree(leftover, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what `written_whole` had begun when its process was killed, from a folder that only one process writes.

    What cannot be removed stays.
    """
    for leftover in folder.glob(".*.partial*"):
        with suppress(OSError):
            leftover.unlink()


def unfinished(path: Path) -> Path:
    """Where a folder is written until it is whole.

    Raises:
        UserError: see `beside`.
    """
    return beside(path, path.name + UNFINISHED)


def beside(path: Path, name: str) -> Path:
    """The place of a name beside a file or folder that is to be made.

    Raises:
        UserError: the path ends in no name that anything could be made under, such as the present folder's.

    >>> beside(Path("run/model"), "model.partial").as_posix()
    'run/model.partial'
    """
    if path.name in ("", ".."):
        raise UserError(f"'{path}' is a place and no name: name what is to be made there.")
    return path.with_name(name)
