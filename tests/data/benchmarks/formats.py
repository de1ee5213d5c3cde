"""Small benchmarks in the true formats, written byte by byte and independently of the readers."""

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import google_crc32c
import numpy as np

from astseg.data.store import Bytes


def palette() -> list[tuple[int, int, int]]:
    """Sixteen colors of which none is its own index, in any channel or as grey."""
    return [(60 + 7 * i, 255 - i, 40 + 3 * i) for i in range(16)]


def masked(data: bytes) -> bytes:
    value = google_crc32c.value(data)
    return struct.pack("<I", (((value >> 15) | (value << 17) & 0xFFFFFFFF) + 0xA282EAD8) % 2**32)


def varint(value: int) -> bytes:
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(8 * number + 2) + varint(len(content)) + content


def one_byte_strings(values: Bytes) -> bytes:
    return field(1, b"".join(b"\x0a\x01" + bytes([value]) for value in values.reshape(-1).tolist()))


def floats(values: Sequence[float]) -> bytes:
    return field(2, field(1, struct.pack(f"<{len(values)}f", *values)))


def example(features: Mapping[str, bytes]) -> bytes:
    return field(1, b"".join(field(1, field(1, name.encode()) + field(2, data)) for name, data in features.items()))


def record(message: bytes) -> bytes:
    length = struct.pack("<Q", len(message))
    return length + masked(length) + message + masked(message)


def write_records(path: Path, messages: Sequence[bytes], compressed: bool = True) -> Path:
    content = b"".join(map(record, messages))
    path.write_bytes(gzip.compress(content) if compressed else content)
    return path


def room(index: int, entities: int = 7) -> tuple[Bytes, Bytes]:
    """An ObjectsRoom image (64 x 64 x 3) and its masks: sky, floor, two walls, and one object of 8 x 8 pixels."""
    labels = np.zeros((64, 64), np.uint8)
    labels[20:40, :30], labels[20:40, 30:], labels[40:] = 2, 3, 1
    if entities > 4:
        labels[30:38, 4 * (index % 10) : 4 * (index % 10) + 8] = 4 + index % (entities - 4)
    masks = (labels == np.arange(entities, dtype=np.uint8)[:, None, None]) * np.uint8(255)
    image = np.stack([labels * 20, np.full_like(labels, index % 256), 255 - labels], -1)
    return image, masks


def clevr_scene(index: int) -> tuple[Bytes, Bytes]:
    """A CLEVR image (240 x 320 x 3) and its 11 masks: a square of 48 x 48 pixels for each of three objects."""
    labels = np.zeros((240, 320), np.uint8)
    for number in (1, 2, 5):
        labels[30 + 24 * number : 78 + 24 * number, 70 + 20 * number : 118 + 20 * number] = number
    masks = (labels == np.arange(11, dtype=np.uint8)[:, None, None]) * np.uint8(255)
    image = np.stack([labels * 20 + 10, np.full_like(labels, index), 200 - labels], -1)
    return image, masks


def scene_message(image: Bytes, masks: Bytes) -> bytes:
    features = {"image": one_byte_strings(image), "mask": one_byte_strings(masks)}
    return example({"x": floats([1.5, -2.0]), **features, "visibility": floats([1.0])})


def png(rows: Bytes, color_type: int, palette: Sequence[tuple[int, int, int]] = ()) -> bytes:
    """A PNG file of 8 bits: color type 0 grey, 2 RGB, 3 palette, 6 RGBA."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = rows.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    plte = chunk(b"PLTE", b"".join(map(bytes, palette))) if palette else b""
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + plte + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tex_labels(index: int) -> Bytes:
    """The labels (240 x 320) of a CLEVRTEX image: two rectangles within the central crop."""
    labels = np.zeros((240, 320), np.uint8)
    labels[60:108, 100:148], labels[120:168, 160:220] = 1, 2 + index % 9
    return labels


def tex_files(index: int, variant: str = "full") -> dict[str, bytes]:
    labels = tex_labels(index)
    rgba = np.stack([labels * 20, np.full_like(labels, index), 90 - labels, np.full_like(labels, 255)], -1)
    stem = f"clevrtex_{variant}/{index // 1000}/CLEVRTEX_{variant}_{index:06d}"
    return {f"{stem}.png": png(rgba, 6), f"{stem}_flat.png": png(labels, 3, palette()), f"{stem}.json": b"{}"}


def stack_files(scenario: str, camera: int, label: int = 3, loose: bool = False) -> dict[str, bytes]:
    """A ShapeStacks image (224 x 224) and its map: a square of one shape, perhaps some pixels of none."""
    labels = np.zeros((224, 224), np.uint8)
    labels[100:156, 80:136] = label
    if loose:
        labels[30:60, 30:60] = 7
    image = np.stack([labels * 30, np.full_like(labels, camera), labels], -1)
    values = np.stack([labels * 32 + 5, labels * 0 + 99, labels * 0], -1)
    return {
        f"recordings/{scenario}/rgb-w=5-f=2-l=1-c=unique-cam_{camera}-mono-0.png": png(image, 2),
        f"iseg/{scenario}/iseg-w=0-f=0-l=0-c=original-cam_{camera}-mono-0.map": png(values, 2),
    }


def tar(files: Mapping[str, bytes], end: bool = True) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue() if end else target.getvalue().rstrip(b"\0")


def unpack(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
