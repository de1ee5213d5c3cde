"""Videos for tests."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from astseg._core.image_files import Bytes

VIDEO_PLANE, USER_DATA = b"\x00\x00\x01\xb6", b"\x00\x00\x01\xb2"  # start codes of MPEG-4


def write_film(
    path: Path,
    images: Sequence[Bytes],
    codec: str = "mpeg4",
    rate: int = 25,
    form: str | None = None,
    turned: float = 0,
    matrix: Sequence[int] = (),
) -> None:
    """Write images of one size at an even rate, to be shown turned by an angle in degrees, or by a display matrix."""
    with av.open(str(path), "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=rate, options={"x265-params": "log-level=none"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        if matrix:
            stream.set_display_matrix(matrix)
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_packed_film(path: Path, images: Sequence[Bytes], rate: int) -> None:
    """Write an AVI as DivX and Xvid do: a frame shares its packet with the first of the two that are shown before it.

    An empty packet follows the second of the two.
    """
    encoded: list[bytes] = []
    with av.open(str(path.with_suffix(".mkv")), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=rate, options={"bf": "2"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in (*images, None):
            frame = None if image is None else av.VideoFrame.from_ndarray(image, format="rgb24")
            encoded += [bytes(packet) for packet in stream.encode(frame)]
    shown_before = [data[data.index(VIDEO_PLANE) + len(VIDEO_PLANE)] >> 6 == 2 for data in encoded]
    packets = [USER_DATA + b"DivX503b1393p" + USER_DATA + b"XviD0064" + encoded[0]]
    index = 1
    while index < len(encoded):
        if shown_before[index : index + 3] == [False, True, True]:
            packets += [encoded[index] + encoded[index + 1], encoded[index + 2], VIDEO_PLANE + b"\x57\x00\x00"]
            index += 3
        else:
            packets.append(encoded[index])
            index += 1
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.codec_context.codec_tag = "yuv420p", "XVID"
        for time, data in enumerate(packets):
            packet: Any = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, time, time, Fraction(1, rate)
            container.mux(packet)


def write_tracks(path: Path, defaults: Sequence[bool], cover: bool = False) -> None:
    """Write a track of five frames for each flag, 48 pixels wide and 32, 34, ... high; the flag makes it a default."""
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for index, default in enumerate(defaults):
            stream: Any = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 48, 32 + 2 * index, "yuv420p"
            stream.disposition = Disposition.default if default else Disposition(0)
            streams.append(stream)
        if cover:
            stream = container.add_stream("mjpeg", rate=10)
            stream.width, stream.height, stream.pix_fmt = 48, 48, "yuvj420p"
            stream.disposition = Disposition.attached_pic
            streams.insert(0, stream)
        for stream in streams:
            image = av.VideoFrame.from_ndarray(np.zeros((stream.height, 48, 3), np.uint8), format="rgb24")
            for _ in range(1 if stream.disposition & Disposition.attached_pic else 5):
                container.mux(stream.encode(image))
            container.mux(stream.encode())


def damage(path: Path) -> None:
    """Overwrite some of the frames of an AVI."""
    content = bytearray(path.read_bytes())
    start = content.index(b"movi")
    content[start + 400 : start + 900] = b"\xff" * 500
    path.write_bytes(content)


def cut_off(path: Path, share: float, after: bytes = b"") -> None:
    """Cut a file off, so that only a share of what comes after some bytes is there."""
    content = path.read_bytes()
    start = content.index(after)
    path.write_bytes(content[: start + round(share * (len(content) - start))])


def plain_images(greys: Iterable[int]) -> list[Bytes]:
    """Return images 48 pixels high and 64 wide, each of one grey value."""
    return [np.full((48, 64, 3), grey, np.uint8) for grey in greys]
