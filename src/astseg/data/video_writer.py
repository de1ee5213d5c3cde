"""Writing video frame by frame, with the time of each frame."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np

from astseg._core.image_files import Bytes

MAX_DENOMINATOR = 1001
"""For frame rates: encoders accept 30000/1001, and refuse the nearly equal fractions computed from long files."""

TICKS_PER_SECOND, COARSE_TICKS_PER_SECOND = 60_000, 1_000
"""The time units in which uneven frames are written; MPEG-4 part 2 allows at most 65535."""
MIN_FINE_TICKS_RATE = Fraction(1, 1000)
"""In frames per second; at lower rates, MP4 cannot count the fine ticks between frames, and coarse ones are used."""

CONSTANT_QUALITY = {
    # Macroblock trees make files a third smaller, but not always the same ones of the same frames.
    "libx264": {"crf": "20", "preset": "veryfast", "x264-params": "mbtree=0"},
    # Quantizer 4 in units of FFmpeg's lambda, of which it has 118 per step.
    "mpeg4": {"flags": "+qscale", "global_quality": str(4 * 118)},
}
"""Options of the encoders that keep thin contours sharp; with a fixed bit rate, motion would blur them."""


class VideoWriter:
    """Writes images of one size as H.264 (MPEG-4 part 2 if that encoder is missing), yuv420p, for any player.

    Odd sides are padded with a copy of the last row or column, since 4:2:0 video has even sides. Use it as a context
    manager.

    Args:
        path: the file, whose suffix decides the container, such as `.mp4`.
        fps: frames per second; the mean if frames have times.
        duration: if frames have times, seconds from the first frame to the end of the last; by default the last frame
            is shown for 1 / fps.
    """

    def __init__(self, path: Path, fps: Fraction, duration: float | None = None) -> None:
        self._container = av.open(str(path), "w")
        self._fps, self._duration = fps, duration
        self._ticks = TICKS_PER_SECOND if fps >= MIN_FINE_TICKS_RATE else COARSE_TICKS_PER_SECOND
        self._stream: Any = None
        self._timed = False
        self._latest = -1
        """The time of the latest frame with a time, in ticks."""
        self._held: Any = None
        """The latest packet, held back because the very last packet gets a duration."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._stream is not None:
                self._mux(self._stream.encode())
                self._mux_last()
        finally:
            self._container.close()

    def append(self, image: Bytes, time: float | None = None) -> None:
        """Add a frame.

        Args:
            image: H x W x 3 RGB. The first image decides the size; later ones are resized to it.
            time: seconds from the first frame, increasing; given for all frames, or for none at an even rate.
        """
        height, width = image.shape[:2]
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._timed = time is not None
            self._stream = self._new_stream(even.shape[0], even.shape[1])
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
        if time is not None:
            self._latest = max(round(time * self._ticks), self._latest + 1)
            frame.pts, frame.time_base = self._latest, Fraction(1, self._ticks)
        self._mux(self._stream.encode(frame))

    def _new_stream(self, height: int, width: int) -> Any:
        codec = "libx264" if has_encoder("libx264") else "mpeg4"
        # Without frames that refer to later ones, every player shows the first frame at time 0.
        order = {"bf": "0"} if self._timed else {}
        stream: Any = self._container.add_stream(codec, rate=self._fps, options={**CONSTANT_QUALITY[codec], **order})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if self._timed:
            stream.codec_context.time_base = Fraction(1, self._ticks)
        return stream

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if self._held is not None:
                self._container.mux(self._held)
            self._held = packet

    def _mux_last(self) -> None:
        if self._timed:
            shown = 1 / self._fps if self._duration is None else self._duration - self._latest / self._ticks
            self._held.duration = max(1, round(shown * self._ticks))
        self._container.mux(self._held)


def has_encoder(name: str) -> bool:
    """Tell whether the installed FFmpeg has an encoder."""
    try:
        av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def encodable_rate(rate: Fraction) -> Fraction:
    """Return the nearest frame rate that encoders accept, however slow a time lapse is.

    >>> encodable_rate(Fraction(29970029, 1000000)), encodable_rate(Fraction(1, 86400))
    (Fraction(30000, 1001), Fraction(1, 1001))
    """
    return rate.limit_denominator(MAX_DENOMINATOR) or Fraction(1, MAX_DENOMINATOR)
