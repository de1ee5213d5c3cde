"""Read TFRecord files and their `tf.train.Example` messages as a stream, without TensorFlow.

A record is its length (8 bytes, little-endian), the masked CRC-32C of these 8 bytes, the message, and the masked
CRC-32C of the message. The benchmarks compress all records as one gzip stream. A message is a protocol buffer. It is
parsed by hand because the published ones store each pixel as a byte string of its own: `0a 01 XX`, a million times,
which can be read as a strided view once the pattern has been checked.

Sources: TensorFlow's TFRecord guide and `example.proto`, `feature.proto`; the protocol buffer encoding guide.
"""

import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias

import google_crc32c
import numpy as np
import numpy.typing as npt

from astseg._core.errors import AstSegError
from astseg._core.input_files import decompressed, regular_size

Values: TypeAlias = npt.NDArray[np.uint8]
"""A feature's list of byte strings, concatenated."""

MAX_RECORD_SIZE = 1 << 26  # bytes; the published ones have at most 3.3 MB

CHUNK_SIZE = 1 << 20  # bytes per read; reading a whole CLEVR record at once takes 20 % longer
MASK_DELTA = 0xA282EAD8

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
BYTES_LIST = 1


class TFRecordFile:
    """The messages of a TFRecord file, gzipped or not, read in constant memory.

    Args:
        path: the file.

    Raises:
        AstSegError: the file is missing, truncated or damaged; the message names the record.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.position = 0
        """The number of records read or skipped so far."""
        try:
            regular_size(self.path)
            self._file: BinaryIO = self.path.open("rb")
        except OSError as error:
            raise AstSegError(f"Cannot open {self.path}: {error.strerror}.") from error
        self._stream = decompressed(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        while (length := self._read_length()) is not None:
            message = self._read(length)
            if masked_crc32c(message) != self._read_checksum():
                raise self._damage("its checksum does not match")
            self.position += 1
            yield message

    def skip(self, count: int) -> None:
        """Skip `count` records, or all that are left, without checking their messages."""
        for _ in range(count):
            length = self._read_length()
            if length is None:
                return
            left = length + 4
            while left:
                left -= len(self._read(min(left, CHUNK_SIZE)))
            self.position += 1

    def _read_length(self) -> int | None:
        header = self._read_some(8)
        if not header:
            return None
        if len(header) < 8:
            raise self._damage("it is truncated")
        length: int = struct.unpack("<Q", header)[0]
        if self._read_checksum() != masked_crc32c(header):
            raise self._damage("the checksum of its length does not match")
        if length > MAX_RECORD_SIZE:
            raise self._damage(f"it has {length} bytes, but at most {MAX_RECORD_SIZE} are read")
        return length

    def _read_checksum(self) -> int:
        value: int = struct.unpack("<I", self._read(4))[0]
        return value

    def _read(self, size: int) -> bytes:
        data = self._read_some(size)
        if len(data) < size:
            raise self._damage("it is truncated")
        return data

    def _read_some(self, size: int) -> bytes:
        parts = []
        try:
            while size and (part := self._stream.read(min(size, CHUNK_SIZE))):
                parts.append(part)
                size -= len(part)
        except (zlib.error, EOFError, OSError) as error:
            raise self._damage(f"it cannot be read ({error})") from error
        return b"".join(parts)

    def _damage(self, what: str) -> AstSegError:
        return AstSegError(
            f"{self.path}: record {self.position} is damaged: {what}. "
            f"The file is not a TFRecord file, or its download is incomplete. Download it again."
        )


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C as a TFRecord stores it: rotated right by 15 bits, plus a constant, modulo 2^32."""
    value: int = google_crc32c.value(data)
    return ((value >> 15 | value << 17) + MASK_DELTA) & 0xFFFFFFFF


def parse_example(message: bytes, wanted: Collection[str]) -> dict[str, Values]:
    """Parse features of a `tf.train.Example` that are lists of byte strings.

    Args:
        message: the serialized message.
        wanted: the names of the features to read.

    Returns:
        The wanted features that the message has, by name: their strings concatenated, one-dimensional.

    Raises:
        ValueError: the message is not an Example, or a feature is a list of numbers.
    """
    try:
        return _parse_example(message, wanted)
    except (IndexError, ValueError) as error:
        raise ValueError(f"not a tf.train.Example of byte strings: {error}") from error


def _parse_example(message: bytes, wanted: Collection[str]) -> dict[str, Values]:
    parsed: dict[str, Values] = {}
    for number, features in _fields(message, 0, len(message)):
        if number != 1:
            continue
        for _, entry in _fields(message, *_require_span(features)):
            fields = dict(_fields(message, *_require_span(entry)))
            first, last = _require_span(fields.get(1, (0, 0)))
            name = message[first:last].decode()
            if name in wanted:
                parsed[name] = _feature(message, *_require_span(fields.get(2, (0, 0))))
    return parsed


def _feature(message: bytes, start: int, end: int) -> Values:
    for kind, content in _fields(message, start, end):
        if kind != BYTES_LIST:
            raise ValueError("a feature is a list of numbers")
        return _bytes_list(message, *_require_span(content))
    return np.zeros(0, np.uint8)


def _bytes_list(message: bytes, start: int, end: int) -> Values:
    content = np.frombuffer(message, np.uint8, end - start, start)
    if content.size and content.size % 3 == 0:
        triples = content.view([("head", "<u2"), ("value", "u1")])
        if (triples["head"] == 0x010A).all():  # field 1, delimited; length 1
            values: Values = triples["value"]
            return values
    strings = [message[slice(*_require_span(value))] for _, value in _fields(message, start, end)]
    return np.frombuffer(b"".join(strings), np.uint8)


def _fields(message: bytes, start: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Yield the number of each field of message[start:end], with a varint's value or another type's span."""
    position = start
    while position < end:
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == DELIMITED:
            size, position = _varint(message, position)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {position}")
        if position + size > end:
            raise ValueError(f"the field at byte {position} is longer than its message")
        yield number, (position, position + size)
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift > 63:
            raise ValueError(f"unterminated varint at byte {position}")


def _require_span(value: int | tuple[int, int]) -> tuple[int, int]:
    if isinstance(value, tuple):
        return value
    raise ValueError("a varint where a message was expected")
