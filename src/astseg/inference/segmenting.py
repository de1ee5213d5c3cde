"""Segment any source of images into label images, overlays, a list of objects and a film.

The output folder holds::

    labels/NAME.png      a palette image whose index is the label: 0 background, k the object of slot k
    overlays/NAME.jpg    the image with its objects colored and outlined
    objects.json         the objects of each image; see `describe_objects`
    overlay.mp4          the overlays as a film, if the source is a video: each frame at its own time

all of the size of the source's images.

objects.json has the keys ``source``, ``slots``, ``fps`` (of a video: the mean number of frames per second), ``images``
and ``skipped``; each image has ``name``, ``time`` (of a video: seconds since the first frame, by the file's time
stamps), ``width``, ``height`` and ``objects``.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from PIL import Image
from scipy.ndimage import find_objects
from torch import Tensor

from astseg._core.atomic_io import atomic_folder
from astseg._core.errors import AstSegError
from astseg._core.file_names import LABELS_FOLDER, OBJECTS_FILE
from astseg._core.image_conversion import from_uint8_images
from astseg._core.progress import Progress
from astseg.data.sources import Sample, Source
from astseg.data.store import MAX_LABELS, Bytes
from astseg.data.video import VideoWriter
from astseg.inference.foreground_share import foreground_note
from astseg.model.segmentation import Segmentation
from astseg.visualization.colors import label_colors, overlay

MAX_BATCH_PIXELS = 4_000_000
"""Large images go through the model one by one, since a mask for every slot has to fit into memory too."""
ENCODING_ERRORS = "backslashreplace"
"""How objects.json writes file names that are not valid UTF-8."""
DECIMALS = 5
"""Of the numbers in objects.json."""
EMPTY_ADVICE = "If there are more objects: was the model trained on images like these, and to its end?"
FULL_ADVICE = "If that is not so: was the model trained on images like these, and its background long enough?"


class Segmenter(Protocol):
    """What `segment_source` needs of a model, such as `AstSeg`."""

    @property
    def num_slots(self) -> int:
        """The largest number of objects in an image."""
        ...

    def segment(self, images: Float[Tensor, "batch 3 height width"]) -> Segmentation:
        """Find the objects in images in [0, 1]."""
        ...


@dataclass(frozen=True)
class SegmentationResult:
    """What `segment_source` wrote."""

    out: Path
    """The output folder."""
    images: int
    """The number of images that were segmented."""
    objects: int
    """The number of objects found in all images together."""
    skipped: tuple[tuple[str, str], ...]
    """(name, reason) for each image that could not be read."""
    note: str | None = None
    """What looks wrong with the labels, if anything, and what to try."""


def segment_source(
    model: Segmenter,
    source: Source,
    out: Path | str,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> SegmentationResult:
    """Segment every image of a source, and write the files listed at the top of this module.

    Memory use does not depend on the number of images. The folder appears once everything is written.

    Args:
        model: the model, on `device`.
        source: what to segment; see `open_source`.
        out: the folder to make; it may exist if it is empty.
        batch_size: images of one size that go through the model together.
        device: where the model is.
        progress: called with the number of images done, and of all.

    Raises:
        AstSegError: the folder is not empty or cannot be written, no image can be read, the model has too many slots
            for 8-bit labels, or the batch size is below 1.
    """
    out = Path(out)
    if model.num_slots > MAX_LABELS:
        raise AstSegError(f"Label images hold up to {MAX_LABELS} objects; this model has {model.num_slots} slots.")
    if batch_size < 1:
        raise AstSegError(f"The batch size should be 1 or more, not {batch_size}.")
    total = source.estimated_length()
    objects = 0
    shares: list[float] = []
    with atomic_folder(out) as folder, _Results(folder, source, model.num_slots) as results:
        for batch in same_sized_batches(source, batch_size):
            segmentation = model.segment(from_uint8_images(np.stack([sample.image for sample in batch]), device))
            for index, sample in enumerate(batch):
                single = Segmentation(*(values[index] for values in vars(segmentation).values()))
                objects += results.append(sample, single)
                shares.append(float((segmentation.labels[index] > 0).float().mean()))
                if progress is not None:
                    progress(len(shares), total)
    note = foreground_note(shares, if_empty=EMPTY_ADVICE, if_full=FULL_ADVICE)
    return SegmentationResult(out, len(shares), objects, tuple(source.skipped), note)


def same_sized_batches(
    source: Iterable[Sample], batch_size: int, max_pixels: int = MAX_BATCH_PIXELS
) -> Iterator[list[Sample]]:
    """Group successive images of the same size, up to ``batch_size`` of them and ``max_pixels`` together."""
    batch: list[Sample] = []
    for sample in source:
        pixels = sample.image.shape[0] * sample.image.shape[1]
        full = len(batch) == min(batch_size, max(1, max_pixels // pixels))
        if batch and (full or sample.image.shape != batch[0].image.shape):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def describe_objects(labels: Bytes, segmentation: Segmentation) -> list[dict[str, Any]]:
    """Describe the objects of one image by plain numbers.

    Args:
        labels: H x W, 0 is the background.
        segmentation: of this image alone, without a batch dimension.

    Returns:
        For each label that owns a pixel: `label`; `box` (left, top, width and height of its pixels); `area` in pixels;
        `centroid` (x and y of the mean of its pixels, in pixels from the image's top left corner); `position` (x and y
        of the glimpse's centre, which may lie outside the box because glimpses have transparent parts); `scale` (width
        and height of the glimpse as a share of the image's); `activation`; `appearance` (the vector).
    """
    height, width = labels.shape
    areas = np.bincount(labels.reshape(-1))
    positions = (_to_numpy(segmentation.positions) + 1) / 2 * (width, height)
    scales, activations = _to_numpy(segmentation.scales), _to_numpy(segmentation.activations)
    appearances = _to_numpy(segmentation.appearances)
    described = []
    for slot, box in enumerate(find_objects(labels)):
        if box is None:
            continue
        rows, columns = box
        down, across = np.nonzero(labels[box] == slot + 1)
        centroid = np.array([columns.start + across.mean(), rows.start + down.mean()]) + 0.5
        described.append(
            {
                "label": slot + 1,
                "box": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
                "area": int(areas[slot + 1]),
                "centroid": centroid.round(DECIMALS).tolist(),
                "position": positions[slot].round(DECIMALS).tolist(),
                "scale": scales[slot].round(DECIMALS).tolist(),
                "activation": round(float(activations[slot]), DECIMALS),
                "appearance": appearances[slot].round(DECIMALS).tolist(),
            }
        )
    return described


class _Results:
    """Writes the results into a folder, one image at a time."""

    def __init__(self, folder: Path, source: Source, num_slots: int) -> None:
        self._folder, self._source, self._slots = folder, source, num_slots
        self._palette = label_colors(num_slots).reshape(-1).tolist()
        film = folder / "overlay.mp4"
        self._film = nullcontext() if source.fps is None else VideoWriter(film, source.fps, source.duration)
        self._objects: TextIO = (folder / OBJECTS_FILE).open("w", encoding="utf-8", errors=ENCODING_ERRORS)
        self._first = True

    def __enter__(self) -> Self:
        self._film.__enter__()
        # The list is written piece by piece, because that of a long video does not fit into memory.
        head = {"source": str(self._source.path), "slots": self._slots}
        if self._source.fps is not None:
            head["fps"] = float(self._source.fps)
        self._objects.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "images": [')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._film.__exit__(kind, error, trace)
            skipped = [{"name": name, "reason": reason} for name, reason in self._source.skipped]
            self._objects.write(f'\n], "skipped": {json.dumps(skipped, ensure_ascii=False)}}}\n')
        finally:
            self._objects.close()

    def append(self, sample: Sample, segmentation: Segmentation) -> int:
        """Write the results of an image, and return its number of objects."""
        labels = segmentation.labels.cpu().numpy().astype(np.uint8)
        overlaid = overlay(sample.image, labels)
        indexed = Image.fromarray(labels)
        indexed.putpalette(self._palette)
        indexed.save(self._path(LABELS_FOLDER, f"{sample.name}.png"))
        # Without chroma subsampling, which would blur the contours.
        Image.fromarray(overlaid).save(self._path("overlays", f"{sample.name}.jpg"), quality=90, subsampling=0)
        if isinstance(self._film, VideoWriter):
            self._film.append(overlaid, sample.time)
        objects = describe_objects(labels, segmentation)
        height, width = labels.shape
        time = {} if sample.time is None else {"time": round(sample.time, DECIMALS)}
        entry = {"name": sample.name, **time, "width": width, "height": height, "objects": objects}
        self._objects.write(("\n" if self._first else ",\n") + json.dumps(entry, ensure_ascii=False))
        self._first = False
        return len(objects)

    def _path(self, kind: str, name: str) -> Path:
        path = self._folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _to_numpy(values: Float[Tensor, "..."]) -> npt.NDArray[np.float64]:
    return values.detach().cpu().double().numpy()
