import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
from tests.data.benchmarks import formats

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.tfrecord import TFRecordFile, parse_example

MESSAGES = [b"first", b"", b"x" * 100_000, np.random.default_rng(0).bytes(70_000)]


@pytest.mark.parametrize("compressed", [True, False])
def test_records_come_in_order(tmp_path: Path, compressed: bool) -> None:
    path = formats.write_records(tmp_path / "a.tfrecords", MESSAGES, compressed)
    with TFRecordFile(path) as records:
        assert list(records) == MESSAGES
        assert records.position == len(MESSAGES)


def test_records_that_tensorboard_writes(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        writer = RecordWriter(file)
        for message in MESSAGES:
            writer.write(message)
        writer.flush()
    with TFRecordFile(tmp_path / "a") as records:
        assert list(records) == MESSAGES


def test_a_gzip_file_of_several_members(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecords"
    content = b"".join(map(formats.record, MESSAGES))
    path.write_bytes(gzip.compress(content[:50_000]) + gzip.compress(content[50_000:]))
    with TFRecordFile(path) as records:
        assert list(records) == MESSAGES


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with TFRecordFile(tmp_path / "a") as records:
        assert list(records) == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_skip(tmp_path: Path, count: int) -> None:
    with TFRecordFile(formats.write_records(tmp_path / "a", MESSAGES)) as records:
        records.skip(count)
        assert records.position == count
        assert list(records) == MESSAGES[count:]


def test_skip_beyond_the_end(tmp_path: Path) -> None:
    with TFRecordFile(formats.write_records(tmp_path / "a", MESSAGES)) as records:
        records.skip(10)
        assert records.position == len(MESSAGES)


@pytest.mark.parametrize("cut", [3, 10, 20, 40_000])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_truncated_file_names_the_record(tmp_path: Path, cut: int, compressed: bool) -> None:
    path = formats.write_records(tmp_path / "a.tfrecords", MESSAGES, compressed)
    path.write_bytes(path.read_bytes()[:-cut])
    with TFRecordFile(path) as records, pytest.raises(AstSegError, match=r"record [34] is damaged"):
        list(records)


@pytest.mark.parametrize(("place", "what"), [(2, "length"), (9, "length"), (14, "its checksum")])
def test_a_changed_byte_is_noticed(tmp_path: Path, place: int, what: str) -> None:
    content = bytearray(formats.record(b"a message"))
    content[place] ^= 4
    (tmp_path / "a").write_bytes(content)
    with TFRecordFile(tmp_path / "a") as records, pytest.raises(AstSegError, match=what):
        list(records)


def test_a_damaged_gzip_stream(tmp_path: Path) -> None:
    path = formats.write_records(tmp_path / "a", MESSAGES)
    content = bytearray(path.read_bytes())
    content[40:60] = bytes(20)
    path.write_bytes(content)
    with TFRecordFile(path) as records, pytest.raises(AstSegError, match="is damaged"):
        list(records)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="Cannot open"):
        TFRecordFile(tmp_path / "none")


def test_wanted_features() -> None:
    pixels = (np.arange(300) % 256).astype(np.uint8)
    message = formats.example(
        {
            "x": formats.floats([0.5, -3.25]),
            "image": formats.one_byte_strings(pixels),
            "string": formats.field(1, formats.field(1, b"hello") + formats.field(1, b"!")),
            "empty": b"",
        }
    )
    parsed = parse_example(message, ("image", "string", "empty", "absent"))
    assert set(parsed) == {"image", "string", "empty"}
    np.testing.assert_array_equal(parsed["image"], pixels)
    assert parsed["string"].tobytes() == b"hello!"
    assert parsed["empty"].size == 0


@pytest.mark.parametrize("kind", [2, 3])
def test_a_feature_of_numbers_is_refused(kind: int) -> None:
    with pytest.raises(ValueError, match="list of numbers"):
        parse_example(formats.example({"image": formats.field(kind, b"")}), ("image",))


def test_strings_that_only_look_like_single_bytes() -> None:
    # Six bytes whose first triple is one single-byte string; the rest is a string of one byte with a long length.
    content = b"\x0a\x01A" + b"\x0a\x81\x00B" + b"\x0a\x00"
    parsed = parse_example(formats.example({"s": formats.field(1, content)}), ("s",))
    assert parsed["s"].tobytes() == b"AB"


@pytest.mark.parametrize(
    "message",
    [b"\xff" * 12, b"\x0a\x05ab", b"\x0a", b"\x0a\x02\x08\x01", b"\x0b\x00", b"\x0a\x04\x0a\x02\x0a\x00\xff"],
)
def test_a_message_that_is_no_example_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match="not a tf"):
        parse_example(message, ("image",))


def test_a_length_that_is_not_believed(tmp_path: Path) -> None:
    length = struct.pack("<Q", 1 << 30)
    (tmp_path / "a").write_bytes(length + formats.masked(length) + b"short")
    tracemalloc.start()
    with TFRecordFile(tmp_path / "a") as records, pytest.raises(AstSegError, match="has 1073741824 bytes"):
        list(records)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(AstSegError, match="a pipe"):
        TFRecordFile(tmp_path / "a")
