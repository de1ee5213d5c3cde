"""Presentation time stamps: how long the frames of a video are shown, and whether its rate agrees with them."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

MAX_REORDERED = 16
"""How many frames H.264 and H.265 may decode before one that is shown earlier."""

MAX_ROUNDING = Fraction(1, 500)
"""In seconds: the error of a duration whose ends are rounded to milliseconds, as in MKV and FLV."""


class Stamp(NamedTuple):
    """The times at which a packet's frame is shown and decoded, in ticks of the stream; None if unknown."""

    time: int | None
    decoded: int | None
    duration: int

    @classmethod
    def of(cls, packet: Any, in_order: bool) -> "Stamp":
        """Return the stamp of a packet; in files such as AVI, which know the order of decoding alone, by that order."""
        time = packet.dts if packet.pts is None or in_order else packet.pts
        return cls(time, packet.dts, packet.duration or 0)


def longest_gap(stamps: Sequence[Stamp]) -> int:
    """Return the largest number of ticks between two successive frames."""
    times = sorted(stamp.time for stamp in stamps if stamp.time is not None)
    return max((after - before for before, after in pairwise(times)), default=0)


def shown_ticks(stamps: Sequence[Stamp]) -> Fraction:
    """Return the number of ticks for which frames are shown; 0 if unknown.

    If the clock goes back, as in joined recordings, a new stretch begins.
    """
    stretches: list[list[tuple[int, int]]] = [[]]
    latest: int | None = None
    for stamp in stamps:
        if latest is not None and stamp.decoded is not None and stamp.decoded < latest:
            stretches.append([])
        latest = latest if stamp.decoded is None else stamp.decoded
        if stamp.time is not None:
            stretches[-1].append((stamp.time, stamp.duration))
    return sum((_stretch_ticks(sorted(stretch)) for stretch in stretches if stretch), Fraction(0))


def rate_and_duration(
    declared: Fraction, stamps: Sequence[Stamp], shown: Fraction, base: Fraction
) -> tuple[Fraction, Fraction]:
    """Return the frames per second and the seconds of a film, as it declares them or as its time stamps tell.

    Args:
        declared: the frames per second that the file declares.
        stamps: of the frames.
        shown: the seconds for which they are shown by their stamps; 0 if these do not tell.
        base: the seconds of a tick.
    """
    by_rate = len(stamps) / declared
    if not shown or agree(by_rate, shown, base):
        return declared, by_rate
    cut_off = lacks_frames_at_end(declared, stamps, shown, base)
    return declared if cut_off else len(stamps) / shown, shown


def agree(expected: Fraction, shown: Fraction, base: Fraction) -> bool:
    """Tell whether two durations in seconds are the same, but for what rounding to multiples of a base makes."""
    return abs(expected - shown) <= min(2 * base, MAX_ROUNDING)


def lacks_frames_at_end(rate: Fraction, stamps: Sequence[Stamp], shown: Fraction, base: Fraction) -> bool:
    """Tell whether frames agree with a rate but for a few that are missing among the last.

    Where a film is cut off, frames are there that are shown after others that would have been decoded after them.
    """
    decoded = stamps[-1].decoded
    if decoded is None or not 0 < shown - len(stamps) / rate < MAX_REORDERED / rate:
        return False
    # Of a frame to be shown by now, all that are shown before it have been decoded.
    settled = [stamp for stamp in stamps if stamp.time is not None and stamp.time <= decoded]
    if not len(stamps) - MAX_REORDERED <= len(settled) < len(stamps):
        return False
    return agree(len(settled) / rate, shown_ticks(settled) * base, base)


def _stretch_ticks(stamps: Sequence[tuple[int, int]]) -> Fraction:
    (first, _), (last, duration) = stamps[0], stamps[-1]
    return last - first + Fraction(duration or Fraction(last - first, max(1, len(stamps) - 1)))


def increasing_times(stamps: Sequence[Stamp]) -> list[int] | None:
    """Return the times of all packets if each has one and they increase; otherwise None."""
    times = [stamp.time for stamp in stamps if stamp.time is not None]
    whole = len(times) == len(stamps) and all(before < after for before, after in pairwise(times))
    return times if whole else None
