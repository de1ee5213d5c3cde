"""Live video: cameras of this machine and streams from the network.

A thread reads frames into a short queue, and whoever is slower than the camera gets the latest ones: the others are
dropped and counted. A stream that breaks off is opened again after waits that grow.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import av

from astseg._core.errors import AstSegError
from astseg._core.text import without_password
from astseg.data.sources import EndlessSource, Sample
from astseg.data.video import READ_FORMATS, choose_stream, declared_rate, rotate_upright
from astseg.data.video_writer import encodable_rate

CAMERA_PREFIX, STREAM_PREFIX = "camera:", "live:"
CAMERA_FORMATS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "video={}")}
"""By system, FFmpeg's name of the driver, and how the driver calls a camera."""
RTSP_FORMATS = "rtsp,sdp,rtp,mpegts"
PROTOCOLS = {
    "rtsp": (RTSP_FORMATS, "rtsp,rtp,udp,tcp"),
    "rtsps": (RTSP_FORMATS, "rtsps,rtsp,rtp,srtp,udp,tcp,tls,crypto"),
    "live:http": (f"{READ_FORMATS},mjpeg,mpjpeg", "http,tcp"),
    "live:https": (f"{READ_FORMATS},mjpeg,mpjpeg", "https,http,tcp,tls,crypto"),
}
"""By the beginning of an address, the formats that are read and the protocols that they may use: none reads files."""
QUEUE_SIZE = 4
"""Frames that wait; a longer queue would only make results later."""
TIMEOUT_SECONDS = 10.0
"""After which a silent server counts as gone."""
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 1.0, 30.0
"""Before a stream is opened again; each wait is twice as long as the one before."""
MAX_SILENCE_SECONDS = 300.0
"""After which a stream has ended."""
POLL_SECONDS = 0.1


def is_live(word: str) -> bool:
    """Tell whether a word names live video.

    >>> is_live("camera:0"), is_live("RTSP://host/1"), is_live("live:http://host/stream"), is_live("http://host/a.mp4")
    (True, True, True, False)
    """
    return word.startswith(CAMERA_PREFIX) or _scheme(word) in PROTOCOLS


class LiveSource(EndlessSource):
    """The frames of live video, of which some are dropped if they are not taken fast enough.

    A frame's name is its number among all that came, and its time when it came, in seconds from the first.

    Args:
        word: ``camera:0``, an ``rtsp://`` or ``rtsps://`` address, or ``live:`` before an ``http`` or ``https`` one.
        every: take only every n-th frame; the others do not count as dropped.

    Raises:
        AstSegError: it is not there, or sends no video.
    """

    def __init__(self, word: str, every: int = 1) -> None:
        name = without_password(word)
        super().__init__(Path(name), name)
        self._every = every
        self._input = _parse(word)
        with self._input.open() as (_, stream):
            self.fps = encodable_rate(declared_rate(stream) / every)
        self._reader = _Reader(self._input, every)

    @property
    def state(self) -> str:
        """How many frames were dropped, and how often the stream broke off; empty if none did."""
        reader = self._reader
        counts = ((reader.dropped, "dropped: {}"), (reader.reopened, "opened again: {}"))
        return ", ".join(
            [text.format(count) for count, text in counts if count] + [reader.problem] * bool(reader.problem)
        )

    def _samples(self) -> Iterator[Sample]:
        with _Reader(self._input, self._every) as self._reader:
            while not self.stop():
                frame = self._reader.take(POLL_SECONDS)
                if frame is not None:
                    yield Sample(f"{frame.number:06d}", rotate_upright(frame.content), time=frame.time)
                elif self._reader.has_ended:
                    break


@dataclass(frozen=True)
class _Frame:
    number: int
    time: float
    content: Any
    """PyAV's frame, which is converted only if it is taken."""


@dataclass(frozen=True)
class _Input:
    """What FFmpeg opens."""

    name: str
    """For messages."""
    file: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def open(self) -> Iterator[tuple[Any, Any]]:
        """Yield the open container and its video stream.

        Raises:
            AstSegError: it cannot be opened.
        """
        try:
            # Titles need not be UTF-8.
            container = av.open(
                self.file, format=self.format, options=self.options, timeout=TIMEOUT_SECONDS, metadata_errors="replace"
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AstSegError(f"{self.name} cannot be opened: {reason}. Is it there, and not in use?") from error
        with container:
            yield container, choose_stream(container, self.name)


class _Reader:
    """Reads an input in a thread of its own, and keeps the latest frames."""

    def __init__(self, source: _Input, every: int) -> None:
        self.dropped = 0
        """Frames that nobody took in time."""
        self.reopened = 0
        self.problem = ""
        """Why the stream is away now; empty while it is there."""
        self.has_ended = False
        """Whether it has been away for so long that it will not be opened again."""
        self._source, self._every = source, every
        self._frames: deque[_Frame] = deque()
        self._change = threading.Condition()
        self._closed = threading.Event()
        self._count = 0
        self._start: float | None = None
        self._latest = 0.0
        # A daemon: a driver that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join(TIMEOUT_SECONDS)

    def take(self, seconds: float) -> _Frame | None:
        """Return the oldest frame that waits, or None if none comes in this time."""
        with self._change:
            self._change.wait_for(lambda: self._frames, seconds)
            return self._frames.popleft() if self._frames else None

    def _run(self) -> None:
        try:
            self._read_until_closed()
        except Exception as error:  # whatever it is, somebody waits for the next frame
            self.problem = f"reading failed: {error}"
            self.has_ended = True

    def _read_until_closed(self) -> None:
        self._latest = time.monotonic()
        wait = FIRST_WAIT_SECONDS
        while not self._closed.is_set():
            before = self._count
            problem = self._read() or "the stream ended"
            if self._closed.is_set():
                return
            self.problem = problem
            if self._count > before:
                wait = FIRST_WAIT_SECONDS
            if time.monotonic() - self._latest > MAX_SILENCE_SECONDS:
                self.has_ended = True
                return
            if self._closed.wait(wait):
                return
            wait = min(2 * wait, MAX_WAIT_SECONDS)
            self.reopened += 1

    def _read(self) -> str | None:
        """Read until the stream breaks off, and return the reason."""
        try:
            with self._source.open() as (container, stream):
                for packet in container.demux(stream):
                    if self._closed.is_set():
                        return None
                    for frame in _decode(packet):
                        self._put(frame)
        except AstSegError as error:
            return str(error)
        except (av.error.FFmpegError, OSError) as error:
            return f"the stream broke off: {error.strerror}"
        return None

    def _put(self, content: Any) -> None:
        self._latest = time.monotonic()
        self._start = self._latest if self._start is None else self._start
        self.problem = ""
        number, self._count = self._count, self._count + 1
        if number % self._every:
            return
        with self._change:
            if len(self._frames) == QUEUE_SIZE:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append(_Frame(number, self._latest - self._start, content))
            self._change.notify()


def _decode(packet: Any) -> list[Any]:
    """Return the frames of a packet; none if it is damaged, as the first ones of a stream often are."""
    try:
        return list(packet.decode())
    except av.error.FFmpegError:
        return []


def _parse(word: str) -> _Input:
    name = without_password(word)
    if word.startswith(CAMERA_PREFIX):
        return _camera(name, word.removeprefix(CAMERA_PREFIX))
    formats, protocols = PROTOCOLS[_scheme(word)]
    options = {"protocol_whitelist": protocols, "format_whitelist": formats}
    if formats == RTSP_FORMATS:
        options["rtsp_flags"] = "prefer_tcp"  # by UDP, packets get lost
    return _Input(name, word.removeprefix(STREAM_PREFIX), options=options)


def _camera(name: str, camera: str) -> _Input:
    if sys.platform not in CAMERA_FORMATS or not camera.strip():
        raise AstSegError(f"'{name}' names no camera: it should look like camera:0.")
    driver, pattern = CAMERA_FORMATS[sys.platform]
    if sys.platform != "win32" and not camera.isdecimal():
        raise AstSegError(f"Cameras have numbers here: camera:0 is the first one, and '{name}' is none.")
    return _Input(name, pattern.format(camera), driver)


def _scheme(word: str) -> str:
    return word.partition("://")[0].lower()
