"""Slow readers of the formats, each by its specification, that share nothing with the writers."""

import struct
import zlib

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def decode_coco_counts(text: str, height: int, width: int) -> Mask:
    """COCO's compressed RLE: numbers of 5 bits a character, the lowest first, from the third on as differences."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(text[position]) - 48
            value |= (bits & 31) << shift
            shift += 5
            more = bool(bits & 32)
            position += 1
            if not more and bits & 16:
                value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def decode_brush(rle: list[int], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return Label Studio's brush as an image, by the rules of ``rle-pack``: H x W x 4."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated = read(1)
        count = read(sizes[read(2)]) + 1
        values += [read(word)] * count if repeated else [read(word) for _ in range(count)]
    assert len(bits) - place < 8
    return np.array(values, np.uint8).reshape(height, width, 4)


def cover_centers(polygon: npt.NDArray[np.float64], height: int, width: int) -> Mask:
    """Return the pixels whose centers a polygon contains, by the rule of even and odd crossings."""
    mask = np.zeros((height, width), bool)
    begins, ends = polygon, np.roll(polygon, -1, axis=0)
    for row in range(height):
        y = row + 0.5
        crossing = (begins[:, 1] <= y) != (ends[:, 1] <= y)
        (x0, y0), (x1, y1) = begins[crossing].T, ends[crossing].T
        places = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        mask[row] = (places[:, None] < np.arange(width) + 0.5).sum(0) % 2 == 1
    return mask


def decode_grey_png(content: bytes) -> npt.NDArray[np.int64]:
    """Return a grey PNG of 8 or 16 bits as numbers, by the PNG specification: H x W."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    parts: dict[bytes, bytes] = {}
    place = 8
    while place < len(content):
        size, kind = struct.unpack(">I4s", content[place : place + 8])
        parts[kind] = parts.get(kind, b"") + content[place + 8 : place + 8 + size]
        place += size + 12
    width, height, depth, color, compression, method, interlace = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert (color, compression, method, interlace) == (0, 0, 0, 0)
    step = depth // 8
    data = zlib.decompress(parts[b"IDAT"])
    rows, above = [], bytes(width * step)
    for start in range(0, len(data), 1 + width * step):
        row = bytearray(data[start + 1 : start + 1 + width * step])
        for index in range(len(row)):
            left, corner = (row[index - step], above[index - step]) if index >= step else (0, 0)
            up = above[index]
            nearest = min((left, up, corner), key=lambda one: abs(left + up - corner - one))
            predicted = (0, left, up, (left + up) // 2, nearest)[data[start]]
            row[index] = (row[index] + predicted) % 256
        rows.append(row)
        above = bytes(row)
    assert len(rows) == height
    return np.frombuffer(b"".join(rows), f">u{step}").reshape(height, width).astype(np.int64)
