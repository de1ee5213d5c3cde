"""Slow readers of the formats, each by its specification, that share nothing with the writers."""

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


def cover_centres(polygon: npt.NDArray[np.float64], height: int, width: int) -> Mask:
    """Return the pixels whose centres a polygon contains, by the rule of even and odd crossings."""
    mask = np.zeros((height, width), bool)
    begins, ends = polygon, np.roll(polygon, -1, axis=0)
    for row in range(height):
        y = row + 0.5
        crossing = (begins[:, 1] <= y) != (ends[:, 1] <= y)
        (x0, y0), (x1, y1) = begins[crossing].T, ends[crossing].T
        places = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        mask[row] = (places[:, None] < np.arange(width) + 0.5).sum(0) % 2 == 1
    return mask
