"""The files that a segmentation is written to, each form by a writer of its own.

The output folder holds::

    labels/NAME.png      a palette image whose index is the label: 0 background, k the object of slot k, or of track k
    overlays/NAME.jpg    the image with its objects colored and outlined
    overlay.mp4          the overlays as a video, if the source is one: each frame at its own time
    objects.json         the objects of each image; see `describe_objects`

all of the size of the source's images.

objects.json has the keys ``source``, ``sources`` (of several: all of them; ``source`` is then the folder that holds
them), ``slots`` (unless objects were joined from tiles), ``model`` and ``commit`` (where they are known), ``astseg``
(the program's version), ``split`` (of prepared data), ``digests`` (of the files of a shard), ``fps`` (of a video: the
mean number of frames per second; of live video what it claims), ``images`` and ``skipped``; each image, on a line of
its own, has ``name``, ``file_name`` (if it is a file of its own: its path below the source's folder), ``crc32``
(likewise: of its pixels, by which it is known later whether it was overwritten), ``time`` (of a video: seconds since
the first frame, by the file's time stamps; of live video by the clock), ``width``, ``height`` and ``objects``.
"""

import json
from abc import abstractmethod
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from PIL import Image

from astseg import __version__
from astseg._core.checksums import pixels_crc32
from astseg._core.file_names import LABELS_FOLDER, OBJECTS_FILE
from astseg._core.provenance import commit
from astseg._core.text import ENCODING_ERRORS
from astseg.data.sources import Sample, Source
from astseg.data.store import MAX_LABELS, Bytes
from astseg.data.video_writer import VideoWriter
from astseg.inference.folder_writer import FolderWriter
from astseg.inference.objects import DECIMALS
from astseg.inference.tails import Tails
from astseg.visualization.colors import label_colors, overlay

OVERLAYS_FOLDER = "overlays"
OVERLAY_VIDEO = "overlay.mp4"


class ResultWriter(FolderWriter):
    """Writes one form of the results, image by image: a long video does not fit into memory.

    Args:
        folder: the folder of all results.
        source: what is segmented.
        num_slots: K of the model; None if labels are no slots.
        model_name: what to call the model, if anything.
    """

    def __init__(self, folder: Path, source: Source, num_slots: int | None, model_name: str | None = None) -> None:
        super().__init__(folder)
        self.source = source
        self.num_slots = num_slots
        self.model_name = model_name

    @abstractmethod
    def append(self, sample: Sample, labels: Bytes, objects: list[dict[str, Any]]) -> None:
        """Write the results of an image.

        Args:
            sample: the image.
            labels: H x W, 0 is the background, k slot k, or a track.
            objects: what `describe_objects` says of them.
        """


class LabelWriter(ResultWriter):
    """Writes labels/NAME.png."""

    def append(self, sample: Sample, labels: Bytes, objects: list[dict[str, Any]]) -> None:
        """Write the label image."""
        image = Image.fromarray(labels)
        image.putpalette(label_colors(max(self.num_slots or MAX_LABELS, int(labels.max()))).reshape(-1).tolist())
        with self.whole_file(LABELS_FOLDER, f"{sample.name}.png") as path:
            image.save(path)


class OverlayWriter(ResultWriter):
    """Writes overlays/NAME.jpg, and overlay.mp4 for a video."""

    def __enter__(self) -> Self:
        fps, file = self.source.fps, self.folder / OVERLAY_VIDEO
        self._video = nullcontext() if fps is None else VideoWriter(file, fps, self.source.duration)
        self._video.__enter__()
        self._tails = Tails()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._video.__exit__(kind, error, trace)

    def append(self, sample: Sample, labels: Bytes, objects: list[dict[str, Any]]) -> None:
        """Write the overlay and the video's frame."""
        overlaid = self._tails.draw(overlay(sample.image, labels), objects)
        # Without chroma subsampling, which would blur the contours.
        with self.whole_file(OVERLAYS_FOLDER, f"{sample.name}.jpg") as path:
            Image.fromarray(overlaid).save(path, quality=90, subsampling=0)
        if isinstance(self._video, VideoWriter):
            self._video.append(overlaid, sample.time)


class ObjectsWriter(ResultWriter):
    """Writes objects.json, piece by piece."""

    def __enter__(self) -> Self:
        self._file: TextIO = (self.folder / OBJECTS_FILE).open("w", encoding="utf-8", errors=ENCODING_ERRORS)
        self._separator = "\n"
        fps = None if self.source.fps is None else float(self.source.fps)
        facts = {
            "source": str(self.source.path) if self.source.places else self.source.name,
            "sources": list(map(str, self.source.places)) or None,
            "slots": self.num_slots,
            "model": self.model_name,
            "astseg": __version__,
            "commit": commit() or None,
            "split": self.source.split,
            "digests": self.source.digests,
            "fps": fps,
        }
        head = {key: value for key, value in facts.items() if value is not None}
        self._file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "images": [')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            skipped = [{"name": name, "reason": reason} for name, reason in self.source.skipped]
            self._file.write(f'\n], "skipped": {json.dumps(skipped, ensure_ascii=False)}}}\n')

    def append(self, sample: Sample, labels: Bytes, objects: list[dict[str, Any]]) -> None:
        """Write the image's entry."""
        height, width = labels.shape
        time = {} if sample.time is None else {"time": round(sample.time, DECIMALS)}
        file: dict[str, str | int] = {}
        if sample.file_name is not None:
            file = {"file_name": sample.file_name, "crc32": pixels_crc32(sample.image)}
        entry = {"name": sample.name, **file, **time, "width": width, "height": height, "objects": objects}
        self._file.write(self._separator + json.dumps(entry, ensure_ascii=False))
        self._separator = ",\n"


WRITERS: tuple[type[ResultWriter], ...] = (LabelWriter, OverlayWriter, ObjectsWriter)
"""What `segment_source` writes."""
