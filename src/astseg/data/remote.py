"""Files at ``http`` and ``https`` addresses, kept in a cache.

A file is fetched anew when its server says that it has changed. Interrupted downloads go on where they stopped, unless
the server does not say how large the file is, or cannot send the rest of one.
"""

import hashlib
import os
import re
import urllib.parse
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from astseg._core.atomic_io import atomic_write, lock_folder
from astseg._core.errors import AstSegError
from astseg._core.progress import ByteProgress
from astseg._core.text import without_password
from astseg.data.benchmarks.downloading import download_into_locked, forget_download, plan_files
from astseg.data.benchmarks.registry import RemoteFile
from astseg.data.benchmarks.servers import ask_headers, fetch_unsized, too_large, unanswered_told
from astseg.data.cache_trimming import trim, used

MAX_DOWNLOAD_BYTES = 1 << 32
MAX_NAME_BYTES = 100
"""File systems take 255, and a letter may have four."""
PATIENCE = 600.0
"""In seconds, for another command that fetches the same."""
DEFAULT_CACHE_GB = "20"
PREFIXES = ("http://", "https://")


def is_address(text: str) -> bool:
    """Tell whether a text is an address that `DownloadCache.fetch` takes.

    >>> is_address("https://example.org/a.jpg"), is_address("a.jpg")
    (True, False)
    """
    return text.lower().startswith(PREFIXES)


def cache_folder() -> Path:
    """Return the folder for what is fetched: ``$ASTSEG_CACHE``, or ``astseg`` in the user's folder for such files."""
    own = os.environ.get("ASTSEG_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "astseg"


def cache_limit() -> int:
    """Return how many bytes the cache may have: ``$ASTSEG_CACHE_GB``, in units of 10^9, or 20 of them.

    Raises:
        AstSegError: it is no number, or below 0.
    """
    text = os.environ.get("ASTSEG_CACHE_GB") or DEFAULT_CACHE_GB
    try:
        return int(float(text) * 1e9) if float(text) >= 0 else _refuse(text)
    except (ValueError, OverflowError):
        return _refuse(text)


class DownloadCache:
    """Files of addresses, kept for the next time.

    As a context manager, it lets no other process remove what it has fetched until the block ends. Then it removes what
    was not used for longest until it has no more than its limit.

    Args:
        folder: the folder for what is fetched.
        limit: in bytes; what is in use may exceed it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._used = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._used.close()
        with suppress(OSError):  # what cannot be removed stays
            trim(self._folder, self._limit)

    def fetch(self, address: str, report: ByteProgress | None = None, max_bytes: int = MAX_DOWNLOAD_BYTES) -> Path:
        """Return the file at an address, from the cache if its server still has the same.

        Args:
            address: of one image, video or array.
            report: called with the file's name, the bytes fetched so far and all of them.
            max_bytes: the largest file to fetch.

        Raises:
            AstSegError: the server does not answer, or breaks off; the file is too large; or the disk too small.
        """
        with unanswered_told(address):
            size, version = _ask(address)
        if size is not None and size > max_bytes:
            raise too_large(without_password(address), f"has {size / 1e9:.1f} GB", max_bytes)
        file = RemoteFile(address, file_name=_file_name(address))
        folder = self._folder / hashlib.sha256(repr((address, size, version)).encode()).hexdigest()[:16]
        with lock_folder(folder, folder, PATIENCE), ExitStack() as marked:
            marked.enter_context(used(folder))
            if version is None:  # another file may have the same size
                forget_download(folder / file.name)
            if size is None:
                path = _fetch_unsized(file, folder / file.name, report or (lambda *_: None), max_bytes)
            else:
                path = download_into_locked(plan_files([file], folder), report)[0]
            self._used.push(marked.pop_all())
        return path


def _refuse(text: str) -> NoReturn:
    raise AstSegError(f"The environment variable ASTSEG_CACHE_GB should be a number of gigabytes, not '{text}'.")


def _ask(address: str) -> tuple[int | None, str | None]:
    """Return the size of a file, and what changes when the file does, as far as its server tells."""
    headers = ask_headers(address)
    size = headers.get("Content-Length", "")
    version = headers.get("ETag") or headers.get("Last-Modified")
    return int(size) if re.fullmatch("[0-9]{1,15}", size) else None, version


def _fetch_unsized(file: RemoteFile, path: Path, report: ByteProgress, max_bytes: int) -> Path:
    """Download a file whose server does not say how large it is, unless it is there."""
    if not path.is_file():
        with atomic_write(path) as partial:
            fetch_unsized(file.address, partial, max_bytes, lambda done: report(path.name, done, None))
    return path


def _file_name(address: str) -> str:
    """Return a name for the file: the last part of the address's path, with nothing that a disk may refuse.

    >>> _file_name("https://example.org/a%20b.jpg?size=3"), _file_name("https://example.org/")
    ('a_b.jpg', 'download')
    """
    path = urllib.parse.unquote(urllib.parse.urlsplit(address).path)
    name = re.sub(r"[^\w.-]+", "_", path.rpartition("/")[2]).lstrip(".")
    return name.encode()[-MAX_NAME_BYTES:].decode(errors="ignore") or "download"
