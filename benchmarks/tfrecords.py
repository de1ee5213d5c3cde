"""Measure how many CLEVR records one core reads per second, and how long each step takes.

Run: python benchmarks/tfrecords.py [FILE]. Without a file it makes records of its own: images of the true size with
noise that compresses about like CLEVR's, so the result is only a guide.
"""

import gzip
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from astseg.data.benchmarks.multi_object import CLEVR, read_records, sample_from_features
from astseg.data.benchmarks.tfrecord import TFRecordFile, masked_crc32c, parse_example

NUM_RECORDS = 60
NUM_ENTITIES = 11


def varint(value: int) -> bytes:
    """Encode a number in the variable-length form of protocol buffers."""
    low = bytearray()
    while value > 0x7F:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])


def delimited(field: int, content: bytes) -> bytes:
    """Encode a field that holds bytes or another message."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def single_bytes(values: np.ndarray) -> bytes:
    """Encode a bytes_list with one string for each value."""
    content = np.full((values.size, 3), (0x0A, 0x01, 0), np.uint8)
    content[:, 2] = values.reshape(-1)
    return delimited(1, content.tobytes())


def example(rng: np.random.Generator) -> bytes:
    """Return a record: a smooth image with a little noise, and discs as objects."""
    y, x = np.mgrid[:240, :320]
    masks = np.zeros((NUM_ENTITIES, 240, 320), np.uint8)
    for mask in masks[1:8]:
        mask[(x - rng.integers(40, 280)) ** 2 + (y - rng.integers(60, 200)) ** 2 < rng.integers(100, 900)] = 255
    masks[0] = 255 - masks[1:].max(axis=0)
    shade = 120 + x // 8 - y // 10 + 40 * masks[1:8].argmax(axis=0)
    image = (shade[..., None] + rng.integers(-1, 2, (240, 320, 3))).clip(0, 255).astype(np.uint8)
    entries = b"".join(
        delimited(1, delimited(1, name.encode()) + delimited(2, single_bytes(values)))
        for name, values in (("image", image), ("mask", masks))
    )
    return delimited(1, entries)


def make_file(path: Path) -> None:
    """Write a gzipped TFRecord file of `NUM_RECORDS` records."""
    rng = np.random.default_rng(0)
    with gzip.open(path, "wb", compresslevel=6) as file:
        for _ in range(NUM_RECORDS):
            message = example(rng)
            length = struct.pack("<Q", len(message))
            file.write(length + struct.pack("<I", masked_crc32c(length)))
            file.write(message + struct.pack("<I", masked_crc32c(message)))


def milliseconds(work: Callable[[], object], times: int = 10) -> float:
    """Return the mean time of a call."""
    work()
    start = time.perf_counter()
    for _ in range(times):
        work()
    return 1000 * (time.perf_counter() - start) / times


def first(records: Iterator[object], count: int) -> int:
    """Read at most ``count`` records and return how many there were."""
    return sum(1 for _ in zip(range(count), records, strict=False))


def main() -> None:
    """Print the time of each step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder, "clevr.tfrecords")
        if len(sys.argv) < 2:
            make_file(path)
            print(f"made {NUM_RECORDS} records, {path.stat().st_size / NUM_RECORDS / 1000:.0f} kB each when compressed")
        with TFRecordFile(path) as records:
            message = next(iter(records))
        features = parse_example(message, ("image", "mask"))
        print(f"checksum     {milliseconds(lambda: masked_crc32c(message)):6.2f} ms of {len(message) / 1e6:.1f} MB")
        print(f"parse        {milliseconds(lambda: parse_example(message, ('image', 'mask'))):6.2f} ms")
        print(f"prepare      {milliseconds(lambda: sample_from_features(features, CLEVR, 128)):6.2f} ms")
        start = time.perf_counter()
        count = first(read_records(path, CLEVR, 128), NUM_RECORDS)
        seconds = time.perf_counter() - start
        print(f"all steps    {1000 * seconds / count:6.2f} ms, {count / seconds:.0f} records per second")
        start = time.perf_counter()
        with TFRecordFile(path) as records:
            records.skip(count)
        print(f"skipping     {1000 * (time.perf_counter() - start) / count:6.2f} ms (when an import is resumed)")


if __name__ == "__main__":
    main()
