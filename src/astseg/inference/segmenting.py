"""From a model and any source of images to label images, overlays, a list of objects and a film.

The folder that comes out holds::

    labels/NAME.png      a palette image whose index is the label: 0 background, k what slot k found
    overlays/NAME.jpg    the image with its objects colored and outlined
    objects.json         what was found, image by image; see `describe_objects`
    overlay.mp4          the overlays as a film, where the source is a video: each frame at its own time

all as large as the images that went in.

objects.json has the keys ``source``, ``slots``, ``fps`` (of a video: frames a second in the mean), ``images`` and
``skipped``; each image its ``name``, ``time`` (of a video: seconds from the first frame, by the file's time stamps),
``width``, ``height`` and ``objects``.
"""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO, TypeAlias

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
from astseg.data.store import MAX_LABELS
from astseg.data.video import VideoWriter
from astseg.inference.foreground_share import foreground_note
from astseg.model.segmentation import Segmentation
from astseg.visualization.colors import label_colors, overlay

Bytes: TypeAlias = npt.NDArray[np.uint8]

MAX_PIXELS_AT_ONCE = 4_000_000
"""In a batch: large images go through one by one, since a mask for every slot has to fit the memory too."""

NO_TEXT = "backslashreplace"
"""How the bytes of file names that are no UTF-8 are written: a name is whatever the disk says."""
DIGITS = 5
"""Decimals of the numbers in objects.json."""
IF_EMPTY = "If there are more objects: was the model trained on images like these, and to its end?"
IF_FULL = "If that is not so: was the model trained on images like these, and its background long enough?"


class Segmenter(Protocol):
    """What is needed of a model; `AstSeg` has it."""

    @property
    def num_slots(self) -> int:
        """The largest number of objects in an image."""
        ...

    def segment(self, images: Float[Tensor, "batch 3 height width"]) -> Segmentation:
        """Find the objects in images in [0, 1]."""
        ...


@dataclass(frozen=True)
class SegmentationResult:
    """What was done."""

    out: Path
    """The folder that was written."""
    images: int
    """How many images were segmented."""
    objects: int
    """How many objects were found in all of them together."""
    skipped: tuple[tuple[str, str], ...]
    """(name, reason) of what could not be read."""
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
    """Segment every image of a source, and write what the module's head describes.

    The memory needed does not depend on the number of images. The folder appears once all is written.

    Args:
        model: on `device` already.
        source: what to segment; see `open_source`.
        out: the folder to make; it may exist if it is empty.
        batch_size: images of one size that go through the model together.
        device: where the model is.
        progress: told how many images are done, and of how many.

    Raises:
        AstSegError: the place is taken or cannot be written, nothing can be read, the model has too many slots for
            8-bit labels, or the batch size is none.
    """
    out = Path(out)
    if model.num_slots > MAX_LABELS:
        raise AstSegError(f"Label images tell {MAX_LABELS} objects apart; this model has {model.num_slots} slots.")
    if batch_size < 1:
        raise AstSegError(f"The batch size should be 1 or more, not {batch_size}.")
    total = source.estimated_length()
    objects = 0
    shares: list[float] = []
    with atomic_folder(out) as folder, _Results(folder, source, model.num_slots) as results:
        for batch in same_sized_batches(source, batch_size):
            segmentation = model.segment(from_uint8_images(np.stack([sample.image for sample in batch]), device))
            for index, sample in enumerate(batch):
                objects += results.append(sample, _item(segmentation, index))
                shares.append(float((segmentation.labels[index] > 0).float().mean()))
                if progress is not None:
                    progress(len(shares), total)
    note = foreground_note(shares, if_empty=IF_EMPTY, if_full=IF_FULL)
    return SegmentationResult(out, len(shares), objects, tuple(source.skipped), note)


def same_sized_batches(source: Source, batch_size: int) -> Iterator[list[Sample]]:
    """Group neighboring images of one size: up to `batch_size` of them, fewer if they are large."""
    batch: list[Sample] = []
    for sample in source:
        pixels = sample.image.shape[0] * sample.image.shape[1]
        full = len(batch) == min(batch_size, max(1, MAX_PIXELS_AT_ONCE // pixels))
        if batch and (full or sample.image.shape != batch[0].image.shape):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def describe_objects(labels: Bytes, segmentation: Segmentation) -> list[dict[str, Any]]:
    """Say in plain numbers what was found in one image.

    Args:
        labels: H x W, 0 is the background.
        segmentation: of this single image, without a leading batch dimension.

    Returns:
        For each label that owns a pixel: `label`; `box` (left, top, width and height of its pixels); `area` in pixels;
        `centroid` (x and y of the mean of its pixels, in pixels from the image's left top corner); `position` (the
        same of the glimpse's centre; it may lie beside the box, since glimpses have transparent parts); `scale` (width
        and height of the glimpse as a share of the image's); `activation`; `appearance` (the vector).
    """
    height, width = labels.shape
    areas = np.bincount(labels.reshape(-1))
    positions = (_numbers(segmentation.positions) + 1) / 2 * (width, height)
    scales, activations = _numbers(segmentation.scales), _numbers(segmentation.activations)
    appearances = _numbers(segmentation.appearances)
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
                "centroid": centroid.round(DIGITS).tolist(),
                "position": positions[slot].round(DIGITS).tolist(),
                "scale": scales[slot].round(DIGITS).tolist(),
                "activation": round(float(activations[slot]), DIGITS),
                "appearance": appearances[slot].round(DIGITS).tolist(),
            }
        )
    return described


class _Results:
    """Writes the results into a folder, an image at a time."""

    def __init__(self, folder: Path, source: Source, num_slots: int) -> None:
        self._folder, self._source, self._slots = folder, source, num_slots
        self._palette = label_colors(num_slots).reshape(-1).tolist()
        film = folder / "overlay.mp4"
        self._film = nullcontext() if source.fps is None else VideoWriter(film, source.fps, source.duration)
        self._objects: TextIO = (folder / OBJECTS_FILE).open("w", encoding="utf-8", errors=NO_TEXT)
        self._first = True

    def __enter__(self) -> Self:
        self._film.__enter__()
        # The list is written by hand, because with a long video it is too long to be held.
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
        """Write all there is for an image, and return how many objects it has."""
        labels = segmentation.labels.cpu().numpy().astype(np.uint8)
        overlaid = overlay(sample.image, labels)
        indexed = Image.fromarray(labels)
        indexed.putpalette(self._palette)
        indexed.save(self._place(LABELS_FOLDER, f"{sample.name}.png"))
        # Without chroma subsampling, which would blur the contours.
        Image.fromarray(overlaid).save(self._place("overlays", f"{sample.name}.jpg"), quality=90, subsampling=0)
        if isinstance(self._film, VideoWriter):
            self._film.append(overlaid, sample.time)
        objects = describe_objects(labels, segmentation)
        height, width = labels.shape
        time = {} if sample.time is None else {"time": round(sample.time, DIGITS)}
        entry = {"name": sample.name, **time, "width": width, "height": height, "objects": objects}
        self._objects.write(("\n" if self._first else ",\n") + json.dumps(entry, ensure_ascii=False))
        self._first = False
        return len(objects)

    def _place(self, kind: str, name: str) -> Path:
        path = self._folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _item(segmentation: Segmentation, index: int) -> Segmentation:
    return Segmentation(
        segmentation.labels[index],
        segmentation.masks[index],
        segmentation.positions[index],
        segmentation.scales[index],
        segmentation.activations[index],
        segmentation.appearances[index],
    )


def _numbers(values: Float[Tensor, "..."]) -> npt.NDArray[np.float64]:
    return values.detach().cpu().double().numpy()
