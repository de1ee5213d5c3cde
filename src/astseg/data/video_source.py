"""The frames of a video file."""

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from astseg._core.errors import AstSegError
from astseg.data.sources import Sample, Source
from astseg.data.video import VIDEO_SUFFIXES, read_facts, read_frames

MAX_MISSING_SHARE = 0.02
"""Of a film's frames, or of its time. Some films promise a few frames more than they have."""
CUT_OFF = "the end of the film, which is cut off"


class VideoSource(Source):
    """The frames of a video.

    Args:
        path: the file.
        every: take only the frames 0, every, 2 * every, ...
        max_frames: take no more frames than these; of a longer video, fewer of each second.
    """

    def __init__(self, path: Path, every: int = 1, max_frames: int | None = None) -> None:
        super().__init__(path)
        if every < 1:
            raise AstSegError(f"The step between frames should be 1 or more, not {every}.")
        if max_frames is not None and max_frames < 1:
            raise AstSegError(f"The largest number of frames should be 1 or more, not {max_frames}.")
        self._facts = read_facts(path)
        self.every = every if max_frames is None else max(every, -(-self._facts.frames // max_frames))
        """The step between the frames that are taken."""
        self.fps = self._facts.fps / self.every
        self.duration = self._facts.duration
        if more := self._facts.more_tracks:
            self.left_out = (f"{more} more video track{'' if more == 1 else 's'}",)
        if self._facts.missing > MAX_MISSING_SHARE * self._facts.frames:
            whole = self._facts.frames + self._facts.missing
            self.left_out += (f"{CUT_OFF}: {self._facts.frames} of {whole} frames are there",)
        elif self._facts.missing_seconds > MAX_MISSING_SHARE * self._facts.duration:
            self.left_out += (f"{CUT_OFF}: {self._facts.missing_seconds:.1f} seconds are missing",)

    def estimated_length(self) -> int | None:
        """Count the frames without decoding them."""
        return -(-self._facts.frames // self.every)

    def names(self) -> Iterator[tuple[str, str | None]]:
        """Yield the numbers of the frames."""
        return ((f"{index:06d}", None) for index in range(0, self._facts.frames, self.every))

    def _samples(self) -> Iterator[Sample]:
        def note(index: int, reason: str) -> None:
            self.skipped.append((f"{index:06d}", f"Frame {index} of {self.path} {reason}."))

        for frame in read_frames(self.path, self.every, note, self._facts):
            yield Sample(f"{frame.number:06d}", frame.image, time=frame.time)


def open_video(path: Path, every: int = 1, max_frames: int | None = None) -> VideoSource:
    """Open a video, which may have any suffix.

    Raises:
        AstSegError: it is none, or a number is out of range.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(path, every, max_frames)
    no_kind = f"{path} cannot be read: it is neither an image, nor a video, nor an .npy or .npz array."
    if _is_archive(path):  # FFmpeg would find uncompressed videos in it
        raise AstSegError(f"{no_kind} Unpack it first.")
    try:
        return VideoSource(path, every, max_frames)
    except AstSegError as error:
        raise AstSegError(f"{no_kind} Give one of these, or a folder.") from error


def _is_archive(path: Path) -> bool:
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))
