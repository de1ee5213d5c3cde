"""Writing files so that nobody ever finds half of one."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from astseg.errors import AstSegError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
"""The file that is locked in a folder while a process writes into it."""


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Hand out a temporary place beside `path`, and move what was written there to `path` when the block ends.

    The folder is made where it is missing, and an older file at `path` stays until the new one is whole; a link stays
    one. Leaving the block by an exception (Ctrl-C, a full disk) removes what was written.

    Raises:
        AstSegError: the place cannot be written.
    """
    path = followed(Path(path))
    # The process number keeps two programs that write the same file out of each other's way; the ending stays,
    # because libraries choose the format by it.
    partial = beside(path, f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise AstSegError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        # What cannot be removed was never there: the place cannot be written.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Hand out a folder beside `path`, which becomes `path` when the block ends, and goes if the block fails.

    Args:
        path: the folder to make; of a link, what it points to.
        replace: whether what stands there already goes once the new one is whole.

    Raises:
        AstSegError: `path` is taken already, unless by an empty folder or to be replaced; it cannot be written; another
            process is writing it; or something came there meanwhile (see `put_in_place`).
    """
    path = followed(path)
    if not replace:
        check_free(path)
    partial, former = unfinished(path), beside(path, f".{path.name}.former")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with held(partial, path):
            if not replace:
                check_free(path)  # again: another command may just have ended
            remove_contents(partial)
            _restore(former, path)
            try:
                yield partial
                # Between two renamings there is next to no time in which neither folder stands at the path.
                if replace and path.exists():
                    path.rename(former)
                put_in_place(partial, path)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            finally:
                _restore(former, path)
    except OSError as error:
        raise AstSegError(f"Cannot write {path}: {error.strerror or error}.") from error


def check_free(path: Path) -> None:
    """Refuse a place that is in use.

    Raises:
        AstSegError: something is there, and it is no empty folder.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise AstSegError(f"{path} exists already. Choose another place, or remove it first.")


def put_in_place(folder: Path, path: Path) -> None:
    """Move a whole folder to where nothing stands, or an empty folder.

    An empty folder that can be neither removed nor replaced, such as a mounted disk, is filled.

    Raises:
        AstSegError: something else has come there since that was looked at; the folder then lies beside it by a name
            that is told.
    """
    with suppress(OSError):
        path.rmdir()
    try:
        folder.rename(path)
        (path / LOCK).unlink(missing_ok=True)
    except OSError:
        if not path.exists():
            raise
        if path.is_dir() and not any(path.iterdir()):
            _fill(path, folder)
            return
        other = next(place for number in count(2) if not (place := beside(path, f"{path.name}-{number}")).exists())
        folder.rename(other)
        (other / LOCK).unlink(missing_ok=True)
        raise AstSegError(f"{path} was filled by something else meanwhile. What was made lies in {other}.") from None


@contextmanager
def held(folder: Path, path: Path) -> Iterator[None]:
    """Keep a folder to this process until the block ends, so that no two commands write into it together.

    The lock is the system's and on a file in the folder, which goes when the block ends. It ends with the process,
    however that ends. On Windows, and on disks that know no locks, nothing is kept.

    Args:
        folder: what to keep. It may be moved elsewhere by `put_in_place` meanwhile.
        path: what to call it when it is taken.

    Raises:
        AstSegError: another process keeps it.
    """
    if sys.platform == "win32":
        yield
        return
    file = folder / LOCK
    taken = AstSegError(f"Another command is writing {path}. Wait until it has ended, or choose another place.")
    try:
        # Writable, because network disks lock nothing else.
        number = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError:  # moved to its place by the other command, just now
        raise taken from None
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise taken from None
        # Or moved between the opening and the locking.
        if not _is_same(number, file):
            raise taken
        try:
            yield
        finally:
            if _is_same(number, file):
                file.unlink()
    finally:
        os.close(number)


def _is_same(number: int, file: Path) -> bool:
    """Whether an open file is still the one that lies at a place."""
    try:
        return os.path.samestat(os.fstat(number), file.stat())
    except FileNotFoundError:
        return False


def followed(path: Path) -> Path:
    """The path, or what it points to if it is a link: what is moved to the place of a link would replace the link."""
    return path.resolve() if path.is_symlink() else path


def remove_contents(folder: Path) -> None:
    """Empty a folder that is held of what a process had begun that was killed; what cannot be removed stays."""
    for leftover in _contents(folder):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            with suppress(OSError):
                leftover.unlink()


def _fill(path: Path, folder: Path) -> None:
    """Move what lies in a folder into an empty one, all or nothing."""
    try:
        for entry in sorted(_contents(folder), key=lambda entry: (entry.is_file(), entry.name)):
            shutil.move(entry, path / entry.name)
    except BaseException:
        remove_contents(path)
        raise
    shutil.rmtree(folder)


def _contents(folder: Path) -> list[Path]:
    """What lies in a folder that is held, without the lock."""
    return [entry for entry in folder.iterdir() if entry.name != LOCK]


def _restore(former: Path, path: Path) -> None:
    """Let what stood at the path before stand there again if nothing else does; otherwise it goes."""
    if former.exists() and not path.exists():
        former.rename(path)
    shutil.rmtree(former, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what `atomic_write` had begun when its process was killed, from a folder that only one process writes.

    What cannot be removed stays.
    """
    for leftover in folder.glob(".*.partial*"):
        with suppress(OSError):
            leftover.unlink()


def unfinished(path: Path) -> Path:
    """Where a folder is written until it is whole: beside its place, and hidden.

    Raises:
        AstSegError: see `beside`.
    """
    return beside(path, f".{path.name}.partial")


def beside(path: Path, name: str) -> Path:
    """The place of a name beside a file or folder that is to be made.

    Raises:
        AstSegError: the path ends in no name that anything could be made under, such as the present folder's.

    >>> beside(Path("run/model"), "model-2").as_posix()
    'run/model-2'
    """
    if path.name in ("", ".."):
        raise AstSegError(f"'{path}' is a place and no name: name what is to be made there.")
    return path.with_name(name)
