"""Download the published files: check sizes and disk space first, resume, and verify checksums.

A file is written as `NAME.part` and renamed when it is complete. An interrupted download resumes where it stopped if
the server still has the same file: its ETag or date is kept beside the part, and how much of it is on the disk, so that
nothing is believed that a power cut may have lost. Archives are not unpacked: the import reads them directly.

A server is not trusted with sizes: what it announces must be near the published size, no more than that is written, and
the rest of a file must begin where it was asked to. If it announces nothing, what comes must be near the published
size, and an interrupted download begins anew. `PlannedFile.verification` says what vouches for the content.
"""

import hashlib
import http
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from astseg._core.atomic_io import lock_folder, make_folder, resolve_link, sync, unlink_link
from astseg._core.disk import free_bytes
from astseg._core.errors import AstSegError
from astseg._core.progress import ByteProgress
from astseg._core.text import format_bytes, without_password
from astseg.data.benchmarks.download_part import DownloadPart, PartNote, file_length, is_validator
from astseg.data.benchmarks.registry import RemoteFile, get_benchmark
from astseg.data.benchmarks.servers import CHUNK_SIZE, ask_headers, fetch_unsized, open_answer, read_answer, request_for

BYTES_BETWEEN_SYNCS = 1 << 26
"""How much is downloaded again after a kill or a power cut."""
MAX_ATTEMPTS = 5  # consecutive attempts without progress before giving up
RETRY_DELAY = 2.0  # seconds, times the number of such attempts
MIN_FREE_BYTES = 64 << 20  # disk space to leave free
SIZE_TOLERANCE = 0.25  # published sizes are rounded, in units of 1000 or 1024
MAX_UNKNOWN_BYTES = 1 << 35
"""The largest file to take of which neither server nor page says the size: a little more than any published one."""


@dataclass(frozen=True)
class PlannedFile:
    """A file to download."""

    remote: RemoteFile
    size: int | None
    """Size in bytes, as reported by the server; None if it reports none."""
    present: int
    """Bytes already downloaded."""

    @property
    def expected(self) -> int:
        """Size in bytes, of the server or about, as published; 0 if nobody says it."""
        return (self.remote.size or 0) if self.size is None else self.size

    @property
    def verification(self) -> str:
        """What is checked of the file, and what is not, in words."""
        if self.present and self.present == self.size:
            return "its size alone, as it was there already; its content is NOT verified"
        if self.remote.md5_address is not None:
            checked = "its MD5 sum, which comes from the same server: this shows damage, not an exchange"
            return checked + (", as both come unencrypted" if self.remote.address.startswith("http:") else "")
        if self.remote.size is not None:
            size = "its size (about the published one)"
        else:
            size = "only that it came to an end" if self.size is None else "the size that the server says"
        return f"{size}; its content is NOT verified, since no checksum is published"


@dataclass(frozen=True)
class DownloadPlan:
    """The files to download, and where to."""

    folder: Path
    files: tuple[PlannedFile, ...]

    @property
    def size(self) -> int:
        """Total size in bytes, as far as it is known."""
        return sum(file.expected for file in self.files)

    @property
    def remaining(self) -> int:
        """Bytes still to download, as far as they are known."""
        return sum(file.expected - file.present for file in self.files)


def plan_download(name: str, folder: Path | str, *, mirror: str | None = None) -> DownloadPlan:
    """Query the sizes of a benchmark's files and check the free disk space.

    Args:
        name: a name or an alias of a data set.
        folder: the folder for the files.
        mirror: address of another server with files of the same names; None takes the documented addresses.

    Raises:
        AstSegError: the name is unknown, no address is documented, a server does not answer, or space is short.
    """
    chosen = get_benchmark(name)
    if not chosen.files:
        raise AstSegError(f"No address is documented for '{name}'. Download its files by hand, then import them.")
    return plan_files(chosen.files if mirror is None else _mirror_files(chosen.files, mirror), folder)


def plan_files(files: Sequence[RemoteFile], folder: Path | str) -> DownloadPlan:
    """Query the sizes of files and check the free disk space.

    Raises:
        AstSegError: a server does not answer, space is short, an existing file has another size, or a size is far from
            the published one.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise AstSegError(f"{folder} is a file. Give a folder.")
    plan = DownloadPlan(folder, tuple(_plan_file(remote, folder) for remote in files))
    free = free_bytes(folder)
    if free is not None and plan.remaining and plan.remaining + MIN_FREE_BYTES > free:
        raise AstSegError(
            f"{format_bytes(plan.remaining)} remain to be downloaded to {folder}, "
            f"but only {format_bytes(free)} are free there. Free some space or choose another folder."
        )
    return plan


def download(plan: DownloadPlan, report: ByteProgress | None = None) -> list[Path]:
    """Download the files of a plan, except those already present.

    Args:
        plan: from `plan_download`.
        report: called with a file's name, the bytes downloaded so far and the file's size in bytes, if it is known.

    Returns:
        The files' paths.

    Raises:
        AstSegError: a server does not answer, or not with what was asked for; a file has changed, or a size far from
            the published one; a checksum does not match; or another process downloads into the folder.
    """
    with lock_folder(resolve_link(plan.folder), plan.folder):
        return download_into_locked(plan, report)


def download_into_locked(plan: DownloadPlan, report: ByteProgress | None = None) -> list[Path]:
    """Download as `download` does, into a folder that is locked already."""
    report = report or (lambda *_: None)
    try:
        make_folder(plan.folder)
        return [_fetch_whole(file, plan.folder, report) for file in plan.files]
    except OSError as error:
        raise AstSegError(
            f"Cannot write to {plan.folder}: {error.strerror or error}. Run the download again to resume it."
        ) from error


def _fetch_whole(file: PlannedFile, folder: Path, report: ByteProgress) -> Path:
    path = folder / file.remote.name
    part = DownloadPart(path)
    unlink_link(part.path)
    if file_length(path) == file.size:
        part.remove_note()
        report(path.name, file.size, file.size)
        return path
    checksum = _published_md5(file.remote)
    if file.size is None:
        _fetch_unsized(file.remote, part, report)
    else:
        _fetch_with_retries(file, file.size, part, report)
    if checksum is not None and _md5(part.path) != checksum:
        part.path.unlink()
        part.remove_note()
        raise AstSegError(f"{path.name} was damaged: its MD5 is not {checksum}. It was removed; download it again.")
    sync(part.path)
    part.path.rename(path)
    sync(folder)
    part.remove_note()
    return path


def _fetch_unsized(remote: RemoteFile, part: DownloadPart, report: ByteProgress) -> None:
    """Download a file whose server does not say how large it is; if that fails, nothing of it stays."""
    part.remove_note()  # of a file whose length was told
    limit = MAX_UNKNOWN_BYTES if remote.size is None else int((1 + SIZE_TOLERANCE) * remote.size)
    try:
        size = fetch_unsized(remote.address, part.path, limit, lambda done: report(remote.name, done, None))
        _check_size(remote, size, "what came has")
    except BaseException:
        part.path.unlink(missing_ok=True)
        raise


def _fetch_with_retries(file: PlannedFile, size: int, part: DownloadPart, report: ByteProgress) -> None:
    failures, most = 0, part.kept
    while part.kept != size:
        try:
            _fetch(file.remote, size, part, report)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            failures = 0 if part.kept > most else failures + 1
            most = max(most, part.kept)
            refused = isinstance(error, urllib.error.HTTPError) and error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR
            if refused or failures == MAX_ATTEMPTS:
                raise AstSegError(
                    f"Cannot download {file.remote.shown}: {error}. Run the download again to resume it."
                ) from error
            time.sleep(RETRY_DELAY * failures)


def _fetch(remote: RemoteFile, size: int, part: DownloadPart, report: ByteProgress) -> None:
    """Download the rest of a file, or all of it if the server's file has changed."""
    start = part.kept
    request = _request_rest(remote, start, size, part.read_note())
    with open_answer(request) as answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        done = start if resumed else 0
        if resumed:
            _check_range(answer.headers.get("Content-Range"), start, size, remote)
        length = _content_length(answer.headers, remote.shown)
        if length is not None and done + length != size:
            raise AstSegError(
                f"{remote.shown} now has {done + length} bytes instead of {size}. Run the download again."
            )
        note = PartNote(_validator(answer.headers), done)
        part.write_note(note)
        with part.path.open("r+b" if done else "wb") as target:
            done = _receive(answer, remote, size, part, target, note, report)
    if done != size:
        raise ConnectionError(f"the connection ended after {done} of {size} bytes")
    if part.kept != size:
        raise ConnectionError(f"of the {size} bytes that came, {part.kept} are there")


def _request_rest(remote: RemoteFile, start: int, size: int, note: PartNote | None) -> urllib.request.Request:
    """Return the request for a file of a size from a byte on, or for all of it if nothing of it is known."""
    request = request_for(remote.address)
    if note is not None and 0 < start < size:
        request.add_header("Range", f"bytes={start}-")
        if note.validator:  # without one, only the size shows that the file has changed
            request.add_header("If-Range", note.validator)
    return request


def _receive(
    answer: http.client.HTTPResponse,
    remote: RemoteFile,
    size: int,
    part: DownloadPart,
    target: BinaryIO,
    note: PartNote,
    report: ByteProgress,
) -> int:
    """Write what a server sends into a part, and note from time to time how much of it is on the disk.

    Args:
        answer: what the server sends.
        remote: the file.
        size: of the whole file, in bytes.
        part: the part.
        target: the same, open.
        note: what is known of the part; what is behind its size is overwritten.
        report: see `download`.

    Returns:
        How many bytes the part has then, which are fewer than the file's if the connection has ended.

    Raises:
        AstSegError: more comes than the file should have.
    """
    done = noted = note.size
    target.truncate(done)
    target.seek(done)
    try:
        while chunk := read_answer(answer, min(CHUNK_SIZE, size - done + 1)):
            if done + len(chunk) > size:  # without a length, an answer need not end
                raise AstSegError(
                    f"{remote.shown} sends more than the {size} bytes that were announced. "
                    "Try again later, or another server."
                )
            target.write(chunk)
            done += len(chunk)
            report(remote.name, done, size)
            if done - noted >= BYTES_BETWEEN_SYNCS:
                noted = done
                part.sync(target, note._replace(size=done))
    finally:  # also after Ctrl-C and when the connection breaks
        part.sync(target, note._replace(size=done))
    return done


def _plan_file(remote: RemoteFile, folder: Path) -> PlannedFile:
    path = folder / remote.name
    present = file_length(path)
    try:
        length = _content_length(ask_headers(remote.address, may_ask_for_file=not present), remote.shown)
    except (http.client.HTTPException, OSError, ValueError) as error:
        if not present:
            raise AstSegError(f"{remote.shown} does not answer: {error}. Is the address still correct?") from error
        length = None
    if length is None and not present:
        return PlannedFile(remote, None, 0)
    size = present if length is None else length
    _check_size(remote, size, "its server says" if length is not None else f"{path} has")
    if present and present != size:
        raise AstSegError(
            f"{path} has {present} bytes, but the server's file has {size}. Remove it to download it again."
        )
    return PlannedFile(remote, size, present or min(DownloadPart(path).kept, size))


def _check_size(remote: RemoteFile, size: int, whose: str) -> None:
    """Raise unless a size is near the published one.

    Args:
        remote: the file.
        size: in bytes.
        whose: who says so, as the beginning of a sentence that ends with the size.

    Raises:
        AstSegError: it is not, or is 0.
    """
    if not size:
        raise AstSegError(f"{remote.shown} is empty: {whose} 0 bytes.")
    if remote.size is not None and abs(size - remote.size) > SIZE_TOLERANCE * remote.size:
        raise AstSegError(
            f"{remote.shown} should have about {remote.size} bytes, but {whose} {size}. "
            "This is another file than the published one: look at its page before you download it by hand."
        )


def _content_length(headers: http.client.HTTPMessage, address: str) -> int | None:
    """Return the length that a server announces; None if it announces none.

    Raises:
        AstSegError: it is no number.
    """
    text = headers.get("Content-Length")
    if text is None or re.fullmatch("[0-9]{1,15}", text):
        return None if text is None else int(text)
    raise AstSegError(f"{address} has a length of '{text[:40]}', says its server. Try again later, or another server.")


def _check_range(text: str | None, start: int, size: int, remote: RemoteFile) -> None:
    """Raise unless a partial answer is the requested rest of the file.

    Raises:
        AstSegError: it is another part, or does not say which.
    """
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", text or "")
    wanted = (str(start), str(size - 1))
    if not match or match.groups()[:2] != wanted or match[3] not in (str(size), "*"):
        raise AstSegError(
            f"{remote.shown} was asked for its bytes from {start} to {size - 1}, but answers with "
            f"'{(text or 'no range')[:80]}'. Remove {remote.name}.part to begin anew, or try another server."
        )


def _published_md5(remote: RemoteFile) -> str | None:
    """Return the published checksum: the one word of 32 hexadecimal digits in its file."""
    if remote.md5_address is None:
        return None
    shown = without_password(remote.md5_address)
    try:
        with open_answer(request_for(remote.md5_address)) as answer:
            words = read_answer(answer, 4096).decode("ascii", "replace").lower().split()
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise AstSegError(f"Cannot download the checksum {shown}: {error}. Try again.") from error
    digests: list[str] = [word for word in words if re.fullmatch("[0-9a-f]{32}", word)]
    if len(digests) != 1:
        raise AstSegError(f"{shown} should hold one MD5 checksum, but holds {len(digests)}.")
    return digests[0]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _mirror_files(files: Sequence[RemoteFile], mirror: str) -> tuple[RemoteFile, ...]:
    def moved(address: str) -> str:
        return f"{mirror.rstrip('/')}/{address.rpartition('/')[2]}"

    return tuple(
        replace(file, address=moved(file.address), md5_address=file.md5_address and moved(file.md5_address))
        for file in files
    )


def forget_download(path: Path) -> None:
    """Remove a file that was downloaded, or the part of it that was."""
    part = DownloadPart(path)
    part.remove_note()
    for file in (path, part.path):
        file.unlink(missing_ok=True)


def _validator(headers: http.client.HTTPMessage) -> str:
    tag = headers.get("ETag", "")
    # A weak ETag promises equivalent content, not the same bytes.
    found = (headers.get("Last-Modified") if not tag or tag.startswith("W/") else tag) or ""
    return found if is_validator(found) else ""
