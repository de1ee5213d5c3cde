"""Files at ``http`` and ``https`` addresses, kept in a cache.

A file is fetched anew when its server says that it has changed. Interrupted downloads go on where they stopped.
"""

import hashlib
import http.client
import os
import re
import urllib.parse
import urllib.request
from pathlib import Path

from astseg._core.atomic_io import lock_folder
from astseg._core.errors import AstSegError
from astseg._core.progress import NamedProgress
from astseg._core.text import without_password
from astseg.data.benchmarks.downloading import TIMEOUT_SECONDS, download, plan_files
from astseg.data.benchmarks.registry import RemoteFile

MAX_DOWNLOAD_BYTES = 1 << 32
MAX_NAME_LENGTH = 100
PREFIXES = ("http://", "https://")


def is_address(text: str) -> bool:
    """Tell whether a text is an address that `fetch` takes.

    >>> is_address("https://example.org/a.jpg"), is_address("a.jpg")
    (True, False)
    """
    return text.lower().startswith(PREFIXES)


def cache_folder() -> Path:
    """Return the folder for what is fetched: ``$ASTSEG_CACHE``, or ``astseg`` in the user's folder for such files."""
    own = os.environ.get("ASTSEG_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "astseg"


def fetch(address: str, cache: Path, report: NamedProgress | None = None, max_bytes: int = MAX_DOWNLOAD_BYTES) -> Path:
    """Return the file at an address, from the cache if its server still has the same.

    Args:
        address: of one image, video or array.
        cache: the folder for what is fetched.
        report: called with the file's name, the bytes fetched so far and all of them.
        max_bytes: the largest file to fetch.

    Raises:
        AstSegError: the server does not answer, or not with a size; the file is too large; or the disk too small.
    """
    shown = without_password(address)
    try:
        size, version = _ask(address)
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise AstSegError(f"{shown} does not answer: {error}. Is the address correct?") from error
    if size is None:
        raise AstSegError(f"{shown} does not say how large it is. Download it yourself, and name the file.")
    if size > max_bytes:
        raise AstSegError(
            f"{shown} has {size / 1e9:.1f} GB; at most {max_bytes / 1e9:.1f} GB are fetched. "
            "Download it yourself, and name the file."
        )
    file = RemoteFile(address, file_name=_file_name(address))
    folder = cache / hashlib.sha256(repr((address, size, version)).encode()).hexdigest()[:16]
    with lock_folder(folder, folder):
        if version is None:  # another file may have the same size
            (folder / file.name).unlink(missing_ok=True)
        return download(plan_files([file], folder), report)[0]


def _ask(address: str) -> tuple[int | None, str | None]:
    """Return the size of a file, and what changes when the file does, as far as its server tells."""
    request = urllib.request.Request(address, method="HEAD")
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        size = answer.headers.get("Content-Length", "")
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        return int(size) if re.fullmatch("[0-9]{1,15}", size) else None, version


def _file_name(address: str) -> str:
    """Return a name for the file: the last part of the address's path, with nothing that a disk may refuse.

    >>> _file_name("https://example.org/a%20b.jpg?size=3"), _file_name("https://example.org/")
    ('a_b.jpg', 'download')
    """
    path = urllib.parse.unquote(urllib.parse.urlsplit(address).path)
    name = re.sub(r"[^\w.-]+", "_", path.rpartition("/")[2]).lstrip(".")
    return name[-MAX_NAME_LENGTH:] or "download"
