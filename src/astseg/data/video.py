"""Reading video frame by frame, with the time of each frame.

The time of a frame is its presentation time stamp, in seconds from the first frame: phones and screen recorders write
frames at uneven times, and the frame rate that such a file declares is wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.stream import Disposition as _Disposition

from astseg._core.errors import AstSegError
from astseg._core.image_files import Bytes
from astseg.data.video_stamps import (
    MAX_ROUNDING,
    Stamp,
    increasing_times,
    longest_gap,
    rate_and_duration,
    shown_ticks,
)
from astseg.data.video_writer import encodable_rate

VIDEO_SUFFIXES = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h261", ".h263", ".h264", ".264", ".h265"),
        *(".265", ".hevc", ".ivf", ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg"),
        *(".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogg", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm"),
        *(".wmv", ".wtv", ".y4m"),
    }
)

READ_FORMATS = (
    "asf,asf_o,av1,avi,cavsvideo,dirac,dv,flv,gxf,h261,h263,h264,hevc,ivf,live_flv,m4v,matroska,mov,mpeg,mpegts,"
    "mpegvideo,mxf,nsv,nut,obu,ogg,pva,rm,swf,ty,vc1,vvc,wtv,yuv4mpegpipe"
)
"""FFmpeg's names of the formats that are read, whatever the name of a file: none opens other files, as playlists do,
and none takes text for a video."""
FORMATS_BY_SUFFIX = {".mjpeg": ",mjpeg", ".mjpg": ",mjpeg"}
"""Formats read only with these suffixes, as they have no signature: FFmpeg also finds JPEG images in a PDF."""

PROMISING_FORMATS = frozenset({"matroska,webm", "flv"})
"""FFmpeg's names of the formats whose beginning tells how long the whole file is, but no number of frames."""

MAX_FRAME_PIXELS = 1 << 26
"""8K video has half as many."""

DEFAULT_RATE = Fraction(25)
"""In frames per second, for files that declare no rate."""


@dataclass(frozen=True)
class VideoFacts:
    """Facts about a video file, read from its packets."""

    fps: Fraction
    """Mean frames per second."""
    frames: int
    """The number of frames in the file; a few may turn out to be undecodable."""
    duration: float
    """Seconds from the start of the first frame to the end of the last."""
    more_tracks: int = 0
    """The number of video tracks that are not read."""
    missing: int = 0
    """How many frames more the file's beginning promises than there are."""
    missing_seconds: float = 0.0
    """How much longer the file should be by its beginning, if that tells no number of frames."""
    times: Sequence[float] | None = field(default=None, repr=False)
    """The time of each frame in seconds from the first, if the frames' own time stamps are unreliable."""


class Frame(NamedTuple):
    """One frame of a video."""

    number: int
    """The index in the video, from 0."""
    time: float
    """Seconds from the first frame."""
    image: Bytes
    """H x W x 3 RGB, upright."""


def read_facts(path: Path | str) -> VideoFacts:
    """Count a video's frames and measure its duration without decoding it.

    The mean rate is the number of frames divided by the duration, from the earliest presentation time to the end of the
    latest frame. The declared rate is used if the time stamps agree with it, but for frames that are missing where a
    film is cut off, or if there are none.

    Raises:
        AstSegError: the file is missing, or holds no video.
    """
    with _open_video(Path(path)) as (container, stream):
        promised = _promised_seconds(container, stream)
        found = _read_packets(container, stream, of_all_tracks=promised is not None)
        stamps, base = found.stamps, Fraction(stream.time_base)
        has_stamps = not container.format.flags & av.format.Flags.no_timestamps.value
        shown = shown_ticks(stamps) * base if has_stamps else Fraction(0)
        rate, duration = rate_and_duration(declared_rate(stream), stamps, shown, base)
        times = None
        if not has_stamps:
            times = [float(index / rate) for index in range(len(stamps))]
        elif stream.codec_context.has_b_frames and (rising := increasing_times(stamps)):
            # Decoded frames would have the stamps of others that are shown in their place.
            times = [float((time - rising[0]) * base) for time in rising]
        return VideoFacts(
            fps=encodable_rate(rate),
            frames=len(stamps),
            duration=float(duration),
            more_tracks=len(_tracks(container)) - 1,
            missing=_missing_frames(container, stream, found, shown),
            missing_seconds=0.0 if promised is None else _missing_seconds(promised, found, base),
            times=times,
        )


class _Packets(NamedTuple):
    """What the packets of a file tell."""

    stamps: list[Stamp]
    """Of those that hold a frame to show, in the order of the file."""
    discarded: int
    """How many hold a frame that is not to be shown."""
    end: float
    """The time in seconds at which the last of them ends; 0 if unknown."""


def _read_packets(container: Any, stream: Any, *, of_all_tracks: bool) -> _Packets:
    """Count the packets of a stream, and find where the file ends: all its tracks, or this one.

    Streamed files declare no number of frames, and cut-off files a wrong one, so that packets are counted.
    """
    knows_order_alone = _knows_order_alone(container)
    others = [other for other in container.streams if other is not stream] if of_all_tracks else []
    stamps, discarded, end = [], 0, 0.0
    for packet in _packets(container, stream, lambda _: None, others):
        end = max(end, _end_seconds(packet))
        if packet.stream_index != stream.index or not packet.size:
            continue
        if packet.is_discard:
            discarded += 1
        else:
            stamps.append(Stamp.of(packet, knows_order_alone))
    return _Packets(stamps, discarded, end)


def _knows_order_alone(container: Any) -> bool:
    """Tell whether a file knows in which order frames are decoded, but not when they are shown."""
    return bool(container.format.name == "avi")


def _missing_frames(container: Any, stream: Any, found: _Packets, shown: Fraction) -> int:
    """Return how many frames a file lacks of those that it declares.

    Args:
        container: the file.
        stream: its track.
        found: what the packets tell.
        shown: the seconds for which frames are shown; 0 if unknown.
    """
    if _knows_order_alone(container) and shown > (stream.frames - 1) / declared_rate(stream):
        return 0  # frames that are left out on the way count as empty ones
    missing: int = stream.frames - len(found.stamps) - found.discarded
    return max(0, missing)


def _missing_seconds(promised: float, found: _Packets, base: Fraction) -> float:
    """Return by how many seconds a file is shorter than promised, or 0 where its last frame may account for them.

    Args:
        promised: the seconds that its beginning promises.
        found: what the packets of all tracks tell.
        base: the seconds of a tick.
    """
    missing = promised - found.end
    # The last frame may be shown for as long as any other.
    return missing if missing > longest_gap(found.stamps) * base + MAX_ROUNDING else 0.0


def _promised_seconds(container: Any, stream: Any) -> float | None:
    """Return how long a film is by its beginning; None if that does not tell, or tells the number of frames.

    This is the time at which the longest track ends, which need not be the video.
    """
    if container.format.name not in PROMISING_FORMATS or container.duration is None:
        return None
    # FFmpeg gives every stream a duration where it has guessed that of the file.
    return None if stream.duration is not None else float(Fraction(container.duration, av.time_base))


def _end_seconds(packet: Any) -> float:
    """Return the time at which a packet's content ends; 0 if unknown."""
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def declared_rate(stream: Any) -> Fraction:
    """Return the frames per second that a stream claims to have, or a usual number."""
    return Fraction(stream.guessed_rate or stream.average_rate or DEFAULT_RATE)


def read_frames(
    path: Path | str,
    every: int = 1,
    on_damage: Callable[[int, str], None] | None = None,
    facts: VideoFacts | None = None,
) -> Iterator[Frame]:
    """Decode a video, with one frame in memory at a time, turned and mirrored as players show it.

    Args:
        path: the file.
        every: yield only the frames 0, every, 2 * every, ...
        on_damage: called with (index of the next frame, reason) for each part that cannot be decoded, and each frame
            that is yielded though it has damaged parts.
        facts: the facts of the file, if they have been read already.

    Raises:
        AstSegError: the file is missing, or holds no video.
    """
    facts = facts or read_facts(path)
    index = 0

    def note(error: av.error.FFmpegError) -> None:
        if on_damage is not None:
            on_damage(index, f"cannot be decoded: {error.strerror}")

    with _open_video(Path(path)) as (container, stream):
        clock = _Clock(float(1 / declared_rate(stream)), facts.times)
        for packet in _packets(container, stream, note):
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                note(error)
                continue
            for frame in frames:
                time = clock.time(index, frame)
                if index % every == 0:
                    if frame.is_corrupt and on_damage is not None:
                        on_damage(index, "cannot be decoded as a whole: some of its data are missing or damaged")
                    yield Frame(index, time, rotate_upright(frame))
                index += 1


class _Clock:
    """Computes the times of decoded frames in seconds from the first; they always increase."""

    def __init__(self, step: float, times: Sequence[float] | None) -> None:
        self._step = step
        """The seconds from the previous frame to a frame without a time stamp."""
        self._times = times
        self._start: float | None = None
        """The time stamp of time 0; it moves when stamps go back."""
        self._latest = -step

    def time(self, index: int, frame: Any) -> float:
        time: float | None = frame.time
        if self._times is not None:
            time = self._times[index] if index < len(self._times) else None
        next_one = self._latest + self._step
        if time is None:
            self._latest = max(0.0, next_one)
        else:
            if self._start is None:
                self._start = time - max(0.0, next_one)
            if time - self._start <= self._latest:
                self._start = time - next_one
            self._latest = time - self._start
        return self._latest


@contextmanager
def _open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    if not path.is_file():
        raise AstSegError(f"There is no video file {path}.")
    try:
        formats = READ_FORMATS + FORMATS_BY_SUFFIX.get(path.suffix.lower(), "")
        only_this = {"protocol_whitelist": "file", "format_whitelist": formats}
        # Titles need not be UTF-8: AVI's are often Latin-1.
        container = av.open(f"file:{path}", options=only_this, metadata_errors="replace")
    except av.error.ArgumentError as error:
        raise AstSegError(f"{path} cannot be read as video: its format is not supported.") from error
    except (av.error.FFmpegError, OSError) as error:
        raise AstSegError(f"{path} cannot be read as video: {error.strerror}.") from error
    with container:
        stream = choose_stream(container, str(path))
        stream.thread_type = "SLICE"  # by frames, what damage loses depends on the number of cores
        yield container, stream


def choose_stream(container: Any, name: str) -> Any:
    """Return the track of an open video that players show, ready to be decoded.

    Args:
        container: what PyAV opened.
        name: what to call it in errors.

    Raises:
        AstSegError: there is none, its form is unknown, or its frames are too large.
    """
    tracks = _tracks(container)
    if not tracks:
        kinds = ["a cover image" if s.type == "video" else s.type for s in container.streams]
        raise AstSegError(f"{name} holds no video, only {', '.join(kinds) or 'nothing'}.")
    stream = _default_track(container, tracks)
    if stream.codec_context is None:
        raise AstSegError(f"{name} cannot be read as video: the form of its frames is unknown.")
    if stream.width * stream.height > MAX_FRAME_PIXELS:
        raise AstSegError(
            f"{name} has frames of {stream.height} x {stream.width} pixels; at most {MAX_FRAME_PIXELS} are read."
        )
    stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}  # the size may change on the way
    return stream


def _tracks(container: Any) -> list[Any]:
    """Return the video streams without cover images and thumbnails, which FFmpeg counts as streams too."""
    images = _Disposition.attached_pic | _Disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & images]


def _default_track(container: Any, tracks: list[Any]) -> Any:
    """Return the track that players show: the default track or, if there are several or none, FFmpeg's choice."""
    default = [stream for stream in tracks if stream.disposition & _Disposition.default] or tracks
    best = container.streams.best("video")
    return best if best in default else default[0]


def _packets(
    container: Any, stream: Any, on_break: Callable[[av.error.FFmpegError], None], others: Sequence[Any] = ()
) -> Iterator[Any]:
    """Yield the packets of a stream, and of others, up to the end of the file, or to where it is cut off."""
    try:
        yield from container.demux([stream, *others])
    except av.error.FFmpegError as error:
        on_break(error)
        # An empty packet makes the decoder return its remaining frames.
        last = av.Packet()
        last.stream = stream
        yield last


def rotate_upright(frame: Any) -> Bytes:
    """Return a decoded frame as H x W x 3 RGB, turned and mirrored as players show it."""
    image: Bytes = frame.to_ndarray(format="rgb24")
    # Of a phone's video: a pixel at (x, y) is shown at (a x + c y, b x + d y). Values that are none of -1, 0 and 1 are
    # angles between, to which the nearest of these is taken, or scales.
    matrix = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is not None:
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            image, a, d = image.transpose(1, 0, 2), c, b
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)
