"""Read a benchmark's files from folders or tar archives as one stream of names and contents.

Nothing is unpacked to disk and names are only matched against patterns, so an archive cannot write anywhere. A large
archive may be split into several files: a file that does not start like an archive continues the one before it.
"""

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Self, cast

from astseg._core.errors import AstSegError
from astseg._core.input_files import decompressed, is_gzipped, regular_size

TAR_BLOCK_SIZE = 512  # bytes of a tar header
MAX_MEMBER_SIZE = 1 << 25  # bytes; benchmark images and lists have at most a megabyte
MAX_NAME_HEADER_SIZE = 1 << 16  # bytes of a long name or of other headers in front of a member
NAME_HEADERS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)


@dataclass(frozen=True)
class ArchiveMember:
    """A file: its path with forward slashes, and a function that reads it."""

    name: str
    read: Callable[[], bytes]
    """Raises a ValueError if the file is too large."""


@dataclass(frozen=True)
class ArchiveSource:
    """A folder, or an archive in one or more parts."""

    paths: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Size of the archive in bytes; 0 for a folder."""
        return sum(path.stat().st_size for path in self.paths if path.is_file())

    @property
    def identity(self) -> str | None:
        """What tells the archive from others of its names, as far as the disk knows; None for a folder, which grows."""
        if self.paths[0].is_dir():
            return None
        facts = ((path.resolve(), path.stat()) for path in self.paths)
        return "|".join(f"{path}:{fact.st_size}:{fact.st_mtime_ns}" for path, fact in facts)

    def members(
        self, advance: Callable[[int], None] | None = None, left_out: Callable[[str], None] | None = None
    ) -> Iterator[ArchiveMember]:
        """Iterate over the files: sorted for a folder, in stored order for an archive.

        Args:
            advance: called with the number of bytes read from the archive since the last call.
            left_out: called with the name of each link and of each sparse file in the archive, which are not read.

        Raises:
            AstSegError: the archive is damaged or truncated.
        """
        if self.paths[0].is_dir():
            return _folder_members(self.paths[0])
        return _archive_members(self.paths, advance or (lambda _: None), left_out or (lambda _: None))


def open_sources(paths: Sequence[Path | str]) -> list[ArchiveSource]:
    """Group files and folders into sources, with the parts of a split archive together.

    Raises:
        AstSegError: a path does not exist, or the first part of an archive is missing.
    """
    groups: list[list[Path]] = []
    for path in map(Path, paths):
        if not path.exists():
            raise AstSegError(f"{path} does not exist.")
        if not (path.is_dir() or path.is_file()):
            raise AstSegError(f"{path} is a pipe, a device or the like, not a file.")
        if path.is_dir() or _is_archive_start(path):
            groups.append([path])
        elif groups and groups[-1][0].is_file():
            groups[-1].append(path)
        else:
            raise AstSegError(
                f"{path} does not start like a tar archive, gzipped or not. If it is a part of one, give all parts in "
                "order; if it is compressed in another way, unpack it and name the folder."
            )
    return [ArchiveSource(tuple(group)) for group in groups]


def _is_archive_start(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = decompressed(file).read(TAR_BLOCK_SIZE)
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (OSError, EOFError, zlib.error, tarfile.HeaderError):
        return False
    return True


def _folder_members(folder: Path) -> Iterator[ArchiveMember]:
    walked = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        walked.add(os.path.realpath(place))
        # Links are followed, as data sets often lie on another disk, but not in a loop.
        folders[:] = [name for name in sorted(folders) if os.path.realpath(f"{place}/{name}") not in walked]
        for name in sorted(files):
            path = Path(place, name)
            if path.is_file():  # reading a pipe or a device need not end
                yield ArchiveMember(path.relative_to(folder).as_posix(), partial(_read_file, path))


def _read_file(path: Path) -> bytes:
    _check_member_size(regular_size(path))
    return path.read_bytes()


def _check_member_size(size: int) -> None:
    if size > MAX_MEMBER_SIZE:
        raise ValueError(f"it has {size} bytes; at most {MAX_MEMBER_SIZE} are read")


def _archive_members(
    paths: tuple[Path, ...], advance: Callable[[int], None], left_out: Callable[[str], None]
) -> Iterator[ArchiveMember]:
    name = ", ".join(path.name for path in paths)
    with _report_damage(name), _ConcatenatedFiles(paths, advance) as pieces:
        buffered = io.BufferedReader(pieces, 1 << 20)
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=buffered) if pieces.compressed else buffered)
        ending = cast(IO[bytes], _EndingStream(stream))
        with tarfile.open(fileobj=ending, mode="r|", tarinfo=_StrictTarInfo) as archive:
            for member in archive:
                if member.isreg() and not member.issparse():
                    yield ArchiveMember(member.name, partial(_read_member, archive, member, name))
                elif member.isreg() or member.islnk() or member.issym():
                    left_out(member.name)
        # gzip verifies its checksum at the very end.
        while stream.read(1 << 20):
            pass


class _EndingStream:
    """A stream that may be read beyond its end only once: tarfile would do so for all that a header claims, for days.

    Args:
        stream: what is read.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._ended = False

    def read(self, size: int) -> bytes:
        """Read up to so many bytes; nothing, once, at the end.

        Raises:
            EOFError: the end was met before.
        """
        content = self._stream.read(size)
        if not content and self._ended:
            raise EOFError("unexpected end of data")
        self._ended = not content
        return content


class _StrictTarInfo(tarfile.TarInfo):
    """A strictly checked header: tarfile takes a damaged or missing one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Parse a header; only a block of zeros ends an archive: without it nobody knows whether more should follow."""
        if not buf:
            raise tarfile.ReadError(
                "it has no mark of its end, where another file could begin: join it with the part that continues it, "
                "or, if it is whole, unpack it and name the folder"
            )
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == TAR_BLOCK_SIZE and not any(buf):
                raise
            raise tarfile.ReadError(str(error)) from error
        if member.type in NAME_HEADERS and member.size > MAX_NAME_HEADER_SIZE:  # tarfile would read it at once
            raise tarfile.ReadError(f"a name of {member.size} bytes")
        if member.size < 0:
            raise tarfile.ReadError("a negative size")
        return member


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> bytes:
    _check_member_size(member.size)
    with _report_damage(name):
        file = archive.extractfile(member)
        return file.read() if file is not None else b""


@contextmanager
def _report_damage(name: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as error:
        raise AstSegError(
            f"The archive {name} is damaged or truncated ({error}). A part is missing, or the download is incomplete. "
            f"Download it again, then run the import again; it resumes where it stopped."
        ) from error


class _ConcatenatedFiles(io.RawIOBase):
    """Several files read as one stream."""

    def __init__(self, paths: tuple[Path, ...], advance: Callable[[int], None]) -> None:
        super().__init__()
        self._paths = list(paths)
        self._advance = advance
        self._file = self._paths.pop(0).open("rb")
        self.compressed = is_gzipped(self._file)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not (count := self._file.readinto(buffer)) and self._paths:
            self._file.close()
            self._file = self._paths.pop(0).open("rb")
        self._advance(count)
        return int(count)

    def close(self) -> None:
        self._file.close()
        super().close()
