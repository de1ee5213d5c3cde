"""Reading and writing video, a frame at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import av
import numpy as np
import numpy.typing as npt

from astseg.errors import UserError

Bytes: TypeAlias = npt.NDArray[np.uint8]

VIDEO_SUFFIXES = frozenset(
    {".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp"}
)

USUAL_RATE = Fraction(25)
"""Frames a second where a file does not say."""

LARGEST_DENOMINATOR = 1001
"""Of frames a second: encoders know 30000/1001, and refuse the odd fractions of long files, which say the same."""

CONSTANT_QUALITY = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    # Quantiser 4 in units of FFmpeg's lambda, 118 to one.
    "mpeg4": {"flags": "+qscale", "global_quality": str(4 * 118)},
}
"""The encoders' options, such that thin contours stay sharp; with a bit rate they blur where much moves."""


@dataclass(frozen=True)
class VideoFacts:
    """What a video file says of itself."""

    fps: Fraction
    """Frames a second."""
    frames: int
    """Frames in the file; a few of them may turn out to be undecodable."""


def read_facts(path: Path | str) -> VideoFacts:
    """Count a video's frames without decoding them.

    Raises:
        UserError: the file is missing, or holds no video.
    """
    with _opened(Path(path)) as (container, stream):
        # Files written by streaming tell no number, and cut-off files a wrong one: count what is there.
        frames = sum(1 for packet in _packets(container, stream, lambda _: None) if packet.size)
        rate = Fraction(stream.average_rate or stream.guessed_rate or USUAL_RATE)
        return VideoFacts(encodable_rate(rate), frames)


def encodable_rate(rate: Fraction) -> Fraction:
    """The frames a second that encoders take for a file's; of a time lapse, however slow, at least a few an hour.

    >>> encodable_rate(Fraction(29970029, 1000000)), encodable_rate(Fraction(1, 86400))
    (Fraction(30000, 1001), Fraction(1, 1001))
    """
    return rate.limit_denominator(LARGEST_DENOMINATOR) or Fraction(1, LARGEST_DENOMINATOR)


def read_frames(
    path: Path | str, every: int = 1, on_damage: Callable[[int, str], None] | None = None
) -> Iterator[tuple[int, Bytes]]:
    """Decode a video, one frame in memory at a time, turned upright as a player shows it.

    Args:
        path: the file.
        every: yield only the frames 0, every, 2 * every, ...
        on_damage: told (index of the next frame, reason) of each piece that cannot be decoded; decoding goes on.

    Yields:
        The frame's index and its picture, H x W x 3 RGB.

    Raises:
        UserError: the file is missing, or holds no video.
    """
    index = 0

    def note(error: av.error.FFmpegError) -> None:
        if on_damage is not None:
            on_damage(index, f"cannot be decoded: {error.strerror}")

    with _opened(Path(path)) as (container, stream):
        for packet in _packets(container, stream, note):
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                note(error)
                continue
            for frame in frames:
                if index % every == 0:
                    yield index, _upright(frame)
                index += 1


class VideoWriter:
    """Writes pictures of one size as H.264 (MPEG-4 part 2 where the encoder is missing), yuv420p, for any player.

    Odd sides grow by a copy of the last row or column, since 4:2:0 video has even sides. Use it as a context manager.

    Args:
        path: the file, whose suffix names the container, such as `.mp4`.
        fps: frames a second.
    """

    def __init__(self, path: Path, fps: Fraction) -> None:
        self._container = av.open(str(path), "w")
        self._fps = fps
        self._stream: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._stream is not None:
                self._container.mux(self._stream.encode())
        finally:
            self._container.close()

    def append(self, image: Bytes) -> None:
        """Add a frame: H x W x 3 RGB. The first one decides the size; others are resized to it."""
        height, width = image.shape[:2]
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._new_stream(even.shape[0], even.shape[1])
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
        self._container.mux(self._stream.encode(frame))

    def _new_stream(self, height: int, width: int) -> Any:
        codec = "libx264" if has_encoder("libx264") else "mpeg4"
        stream: Any = self._container.add_stream(codec, rate=self._fps, options=CONSTANT_QUALITY[codec])
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        return stream


def has_encoder(name: str) -> bool:
    """Whether the installed FFmpeg can write with an encoder."""
    try:
        av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    if not path.is_file():
        raise UserError(f"There is no video file {path}.")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{path} cannot be read as video: {error.strerror}.") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{path} holds no video, only {', '.join(s.type for s in container.streams) or 'nothing'}.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield container, stream


def _packets(container: Any, stream: Any, on_break: Callable[[av.error.FFmpegError], None]) -> Iterator[Any]:
    """The packets of a stream up to the end of the file, or to where the file breaks off."""
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError as error:
        on_break(error)
        # An empty packet makes the decoder give out the frames that it still holds.
        last = av.Packet()
        last.stream = stream
        yield last


def _upright(frame: Any) -> Bytes:
    image: Bytes = frame.to_ndarray(format="rgb24")
    # The display matrix of a telephone's video: degrees anticlockwise that a player turns the frame by.
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns))
