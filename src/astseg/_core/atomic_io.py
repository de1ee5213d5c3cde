"""Writing files and folders that appear only once they are complete, and stay when the power fails.

What is written waits in memory for seconds before the disk has it, and a name may reach the disk before its content.
So a file is synchronized before it gets its name, and the folder with the name after that; this costs milliseconds
(``docs/reliability.md``).
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from filelock import FileLock, Timeout

from astseg._core.errors import AstSegError
from astseg._core.input_files import real_path

LOCK_FILE = ".lock"
"""The file in a folder that a process locks while it writes there."""
LEFTOVERS = ".*.partial*"
"""What killed processes leave, as a pattern of names."""
UNSUPPORTED_LOCK_ERRNOS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
"""Errors of network disks that do not support locks."""
UNSUPPORTED_SYNC_ERRNOS = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
"""Errors of disks that cannot synchronize a folder, or anything; that the content was lost has other numbers."""
SYNCS_AT_ONCE = 16
"""Files whose turns a disk takes together, which is several times faster than one after the other."""
QUEUED_SYNCS = 1000
"""Files that wait for their turn at most."""


def sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk.

    Where the system cannot do this, nothing happens.

    Raises:
        OSError: the content could not be written.
    """
    if os.name == "nt" and path.is_dir():
        return
    opened = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        sync_opened(opened)
    finally:
        os.close(opened)


def sync_opened(file: int) -> None:
    """Wait until the content of an open file is on the disk, as `sync` does.

    Raises:
        OSError: the content could not be written.
    """
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in UNSUPPORTED_SYNC_ERRNOS:
            raise


def sync_tree(folder: Path) -> None:
    """Wait until all in a folder is on the disk: every file, then the folder that names it.

    Raises:
        OSError: something could not be written.
    """
    places = list(os.walk(folder, topdown=False))
    files = (Path(place, name) for place, _, names in places for name in names)
    with ThreadPoolExecutor(SYNCS_AT_ONCE) as pool:
        # `map` queues all that it is given: results of a long film would take hundreds of megabytes.
        while some := list(islice(files, QUEUED_SYNCS)):
            list(pool.map(sync, some))
    for place, _, _ in places:
        sync(Path(place))


def make_folder(path: Path) -> None:
    """Create a folder that stays when the power fails, with its missing parents, unless it is there.

    Raises:
        OSError: it cannot be created.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def cannot_write(path: Path, error: OSError, remark: str = "") -> AstSegError:
    """Return the error for a path that cannot be written, and a remark with a space before it.

    If the system names another file, which was read meanwhile, the error is about that one.

    >>> cannot_write(Path("out"), PermissionError(13, "Permission denied", "out/a.png"))
    AstSegError('Cannot write out: Permission denied.')
    >>> cannot_write(Path("out"), PermissionError(13, "Permission denied", "in/a.png"))
    AstSegError('Cannot read in/a.png: Permission denied.')
    """
    named = error.filename
    if isinstance(named, str | os.PathLike) and not any(
        _belongs_to(Path(named).absolute(), place) for place in (path.absolute(), real_path(path))
    ):
        return AstSegError(f"Cannot read {named}: {error.strerror}.")
    return AstSegError(f"Cannot write {path}: {error.strerror or error}.{remark}")


def _belongs_to(named: Path, path: Path) -> bool:
    """Tell whether a file is at a path or below, leads there, or is one of those beside it that become it."""
    if path.is_relative_to(named):
        return True
    beside = named.relative_to(path.parent).parts[0] if named.is_relative_to(path.parent) else ""
    return beside == path.name or beside.startswith(f".{path.stem}.")


@contextmanager
def atomic_write(path: Path | str, *, former: Path | None = None, follow_link: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and move the file written there to `path` when the block ends.

    A missing folder is created. An older file at `path` stays until the new one is complete. If the block raises
    (Ctrl-C, a full disk), the temporary file is removed.

    Args:
        path: the file to write.
        former: where an older file is kept, on the same disk; by default it is replaced.
        follow_link: whether a link remains a link and its target is written, for a path that the user has named; by
            default the file takes the place of the link, whose target may be anybody's.

    Raises:
        AstSegError: the path cannot be written.
    """
    path = resolve_link(Path(path)) if follow_link else Path(path)
    # The number keeps two programs that write the same file apart; in two containers they may be of one process number.
    # The suffix stays, because libraries choose the format by it.
    partial = sibling_path(path, f".{path.stem}.{secrets.token_hex(6)}.partial{path.suffix}")
    try:
        make_folder(path.parent)
        yield partial
        sync(partial)
        if former is not None and path.exists():
            path.replace(former)
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        # Removal fails only where writing was impossible, so that there is no file.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a folder that becomes `path` when the block ends, and is removed if the block fails.

    Args:
        path: the folder to create; if it is a link, its target is created, unless `replace` is set.
        replace: whether an existing folder is replaced once the new one is complete; of a link, the link itself, so
            that what it leads to stays.

    Raises:
        AstSegError: `path` is in use (see `check_free`) and `replace` is not set; it cannot be written; another process
            is writing it; or something appeared there meanwhile (see `move_into_place`).
    """
    path = path if replace else resolve_link(path)
    around, former = partial_folder(path), _former_folder(path)
    try:
        with lock_folder(around, path):
            if not replace:
                check_free(path)
            remove_contents(around)
            if replace:
                _restore_former(former, path)
            made = unfinished_folder(path)
            made.mkdir()
            try:
                yield made
            except BaseException:
                remove_contents(around)
                raise
            try:
                # Two renames keep the time short in which neither folder is at the path.
                if replace and os.path.lexists(path):
                    path.rename(former)
                move_into_place(made, path)
            finally:
                if replace:
                    _restore_former(former, path)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def growing_folder(path: Path) -> Iterator[Path]:
    """Create a folder to which files are added for as long as the block lasts, and lock it meanwhile.

    Unlike `atomic_folder`, it is there from the beginning, and stays when the block fails.

    Args:
        path: the folder to create; if it is a link, its target is created.

    Raises:
        AstSegError: `path` is in use (see `check_free`), or cannot be written.
    """
    path = resolve_link(path)
    sibling_path(path, path.name)
    check_free(path)
    try:
        with lock_folder(path, path):
            try:
                yield path
            finally:
                sync_tree(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def check_free(path: Path) -> None:
    """Raise if a path is in use.

    Raises:
        AstSegError: something other than an empty folder is there, or a mounted disk, which cannot be replaced.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise AstSegError(f"{path} exists already. Choose another place, or remove it first.")
    if os.path.ismount(path):
        raise AstSegError(f"{path} is a mounted disk. Name a new folder in it.")


def move_into_place(folder: Path, path: Path) -> None:
    """Move a complete folder to a path where there is nothing, or an empty folder, once all of it is on the disk.

    Raises:
        AstSegError: it cannot be moved, for instance because something appeared there meanwhile; the folder then stays
            where it is, and the message says where.
    """
    with suppress(OSError):
        path.rmdir()
    try:
        sync_tree(folder)
        folder.rename(path)
        sync(path.parent)
    except OSError as error:
        kept = f" The result is in {folder}." if folder.exists() else ""
        raise cannot_write(path, error, kept) from error


@contextmanager
def lock_folder(folder: Path, path: Path, patience: float = 0.0) -> Iterator[None]:
    """Lock a folder until the block ends, so that no two commands write into it at once.

    A missing folder is created, and removed with the lock if nothing else is in it. The operating system holds the
    lock, on a file in the folder, and releases it when the process ends, even if it is killed. On disks without
    support for locks nothing is locked.

    Args:
        folder: the folder to lock; the block must neither move nor remove it. It is no link: whoever locks a folder
            that the user has named hands in what a link leads to (`resolve_link`).
        path: the path to name in the error.
        patience: the seconds to wait for another process that holds the lock.

    Raises:
        AstSegError: another process holds the lock, the folder is a link, or it cannot be written.
    """
    refuse_link(
        folder,
        expected="a folder that astseg makes for its own work and empties",
        advice="Remove the link, or choose another place.",
    )
    lock = FileLock(folder / LOCK_FILE, timeout=patience)
    try:
        make_folder(folder)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        lock.acquire()
    except (Timeout, FileNotFoundError):  # not found: the other command has just ended and removed the folder
        raise AstSegError(
            f"Another command is writing {path}. Wait until it has ended, or choose another place."
        ) from None
    except OSError as error:
        if error.errno not in UNSUPPORTED_LOCK_ERRNOS:
            raise cannot_write(path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK_FILE).unlink()  # fails on Windows, where the file is open; the release removes it there
        lock.release()
        with suppress(OSError):
            folder.rmdir()


def resolve_link(path: Path) -> Path:
    """Return the path, or its target if it is a link.

    Moving something to the path of a link would replace the link.

    Raises:
        AstSegError: the link leads back to itself.
    """
    target = real_path(path) if path.is_symlink() else path
    if target.is_symlink():
        raise AstSegError(f"{path} is a link that leads back to itself. Remove it, or choose another place.")
    return target


def refuse_link(folder: Path, expected: str, advice: str) -> None:
    """Raise if a folder that is emptied or replaced is a link, since what it leads to may be anybody's.

    Args:
        folder: the folder, which may be missing.
        expected: what should be there, for the error.
        advice: what to do about the link, for the error.

    Raises:
        AstSegError: it is a link.
    """
    if folder.is_symlink():
        raise AstSegError(f"{folder} should be {expected}, but is a link to {folder.readlink()}. {advice}")


def unlink_link(path: Path) -> None:
    """Remove a link where a file is going to be written in place, so that what it leads to stays as it is.

    Raises:
        OSError: it cannot be removed.
    """
    if path.is_symlink():
        path.unlink()


def remove_contents(folder: Path, *, last: str = "") -> None:
    """Remove what a killed process left in a locked folder; what cannot be removed stays.

    Args:
        folder: the folder.
        last: the name of what is removed after all else.
    """
    for leftover in sorted(folder.iterdir(), key=lambda path: path.name == last):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        elif leftover.name != LOCK_FILE:
            with suppress(OSError):
                leftover.unlink()


def restore_former(path: Path) -> None:
    """Move back to a path the folder that a killed `atomic_folder` was about to replace there.

    Raises:
        AstSegError: another process is writing the path, or it cannot be written.
    """
    if os.path.lexists(former := _former_folder(path)):
        with lock_folder(partial_folder(path), path):
            _restore_former(former, path)


def _former_folder(path: Path) -> Path:
    """Return where a folder is kept while another one gets its path."""
    return sibling_path(path, f".{path.name}.former")


def _restore_former(former: Path, path: Path) -> None:
    """Move the former folder, or link to one, back to its path if nothing is there; otherwise remove it."""
    if os.path.lexists(former) and not os.path.lexists(path):
        former.rename(path)
    unlink_link(former)
    shutil.rmtree(former, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed `atomic_write` calls from a folder that only one process writes.

    What cannot be removed stays.
    """
    for leftover in folder.glob(LEFTOVERS):
        with suppress(OSError):
            leftover.unlink()


def partial_folder(path: Path) -> Path:
    """Return the hidden folder beside `path` that is locked while the new folder is written in it.

    Raises:
        AstSegError: see `sibling_path`.
    """
    return sibling_path(path, f".{path.name}.partial")


def unfinished_folder(path: Path) -> Path:
    """Return where `atomic_folder` writes the folder that becomes `path`.

    Raises:
        AstSegError: see `sibling_path`.
    """
    return partial_folder(path) / path.name


def sibling_path(path: Path, name: str) -> Path:
    """Return the path of a name beside a file or folder that is to be created.

    Raises:
        AstSegError: the path does not end in a name under which something can be created, such as `.` and `..`.

    >>> sibling_path(Path("run/model"), "model-2").as_posix()
    'run/model-2'
    """
    if path.name in ("", ".."):
        raise AstSegError(f"'{path}' does not end in a name: add the name of the file or folder to create.")
    return path.with_name(name)
