"""Writing files so that nobody ever finds half of one."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from astseg._core.errors import AstSegError

LOCK_FILE = ".lock"
"""The file that is locked in a folder while a process writes into it."""
NO_LOCK_SUPPORT_ERRNOS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
"""What network disks answer that know no locks."""


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Hand out a temporary place beside `path`, and move what was written there to `path` when the block ends.

    The folder is made where it is missing, and an older file at `path` stays until the new one is whole; a link stays
    one. Leaving the block by an exception (Ctrl-C, a full disk) removes what was written.

    Raises:
        AstSegError: the place cannot be written.
    """
    path = resolve_link(Path(path))
    # The process number keeps two programs that write the same file out of each other's way; the ending stays,
    # because libraries choose the format by it.
    partial = sibling_path(path, f".{path.stem}.{os.getpid()}.partial{path.suffix}")
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
    """Hand out a folder that becomes `path` when the block ends, and goes if the block fails.

    Args:
        path: the folder to make; of a link, what it points to.
        replace: whether what stands there already goes once the new one is whole.

    Raises:
        AstSegError: `path` is taken already (see `check_free`), unless it is to be replaced; it cannot be written;
            another process is writing it; or something came there meanwhile (see `move_into_place`).
    """
    path = resolve_link(path)
    around, former = partial_folder(path), sibling_path(path, f".{path.name}.former")
    try:
        with lock_folder(around, path):
            if not replace:
                check_free(path)
            remove_contents(around)
            _restore_former(former, path)
            made = around / path.name
            made.mkdir()
            try:
                yield made
            except BaseException:
                remove_contents(around)
                raise
            try:
                # Between two renamings there is next to no time in which neither folder stands at the path.
                if replace and path.exists():
                    path.rename(former)
                move_into_place(made, path)
            finally:
                _restore_former(former, path)
    except OSError as error:
        raise AstSegError(f"Cannot write {path}: {error.strerror or error}.") from error


def check_free(path: Path) -> None:
    """Refuse a place that is in use.

    Raises:
        AstSegError: something is there, and it is no empty folder, or one that cannot be replaced: a mounted disk.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise AstSegError(f"{path} exists already. Choose another place, or remove it first.")
    if os.path.ismount(path):
        raise AstSegError(f"{path} is a mounted disk. Choose a folder in it that is still to be made.")


def move_into_place(folder: Path, path: Path) -> None:
    """Move a whole folder to where nothing stands, or an empty folder.

    Raises:
        AstSegError: it cannot be moved, for instance because something came there meanwhile; it then stays, and the
            message tells where.
    """
    with suppress(OSError):
        path.rmdir()
    try:
        folder.rename(path)
    except OSError as error:
        place = f" What was made lies in {folder}." if folder.exists() else ""
        raise AstSegError(f"Cannot write {path}: {error.strerror or error}.{place}") from error


@contextmanager
def lock_folder(folder: Path, path: Path) -> Iterator[None]:
    """Keep a folder to this process until the block ends, so that no two commands write into it together.

    It is made where it is missing, and goes with the lock if nothing else is in it. The lock is the system's and on a
    file in the folder; it ends with the process, however that ends. On disks that know no locks nothing is kept.

    Args:
        folder: what to keep; the block neither moves nor removes it.
        path: what to call it when it is taken.

    Raises:
        AstSegError: another process keeps it.
        OSError: it cannot be written.
    """
    lock = FileLock(folder / LOCK_FILE, timeout=0)
    try:
        lock.acquire()  # makes the folder too
    except (Timeout, FileNotFoundError):  # without a folder: the other command has just ended, and removed it
        raise AstSegError(
            f"Another command is writing {path}. Wait until it has ended, or choose another place."
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCK_SUPPORT_ERRNOS:
            raise
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK_FILE).unlink()  # on Windows, which removes no open file, the release does it
        lock.release()
        with suppress(OSError):
            folder.rmdir()


def resolve_link(path: Path) -> Path:
    """Return the path, or what it points to if it is a link.

    What is moved to the place of a link would replace the link.
    """
    return path.resolve() if path.is_symlink() else path


def remove_contents(folder: Path) -> None:
    """Empty a folder that is held of what a process had begun that was killed; what cannot be removed stays."""
    for leftover in folder.iterdir():
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        elif leftover.name != LOCK_FILE:
            with suppress(OSError):
                leftover.unlink()


def _restore_former(former: Path, path: Path) -> None:
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


def partial_folder(path: Path) -> Path:
    """Return the folder that is held while another is made in it, until that is whole: beside its place, and hidden.

    Raises:
        AstSegError: see `sibling_path`.
    """
    return sibling_path(path, f".{path.name}.partial")


def sibling_path(path: Path, name: str) -> Path:
    """Return the place of a name beside a file or folder that is to be made.

    Raises:
        AstSegError: the path ends in no name that anything could be made under, such as the present folder's.

    >>> sibling_path(Path("run/model"), "model-2").as_posix()
    'run/model-2'
    """
    if path.name in ("", ".."):
        raise AstSegError(f"'{path}' is a place and no name: name what is to be made there.")
    return path.with_name(name)
