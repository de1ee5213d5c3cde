"""Segment any source of images into files.

What is written, and where, is said in `astseg.inference.writers`.
"""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from astseg._core.arguments import as_path
from astseg._core.atomic_io import atomic_folder, growing_folder
from astseg._core.devices import find_device
from astseg._core.errors import AstSegError, wrong_argument
from astseg._core.image_conversion import from_uint8_images
from astseg._core.input_files import real_path
from astseg._core.progress import Progress
from astseg._core.running_behind import run_behind
from astseg._core.settings_io import Range, check_whole_number
from astseg.data.sources import EndlessSource, Sample, Source
from astseg.data.store import MAX_LABELS, Bytes
from astseg.data.watching import WatchedFolder
from astseg.inference.foreground_share import ForegroundShares
from astseg.inference.objects import describe_objects
from astseg.inference.tracked_objects import ObjectTracker
from astseg.inference.writers import WRITERS, ResultWriter
from astseg.model.segmentation import Segmentation

MAX_BATCH_PIXELS = 4_000_000
"""Large images go through the model one by one, since a mask for every slot has to fit into memory too."""
MAX_WAITING = 2
"""The images that may wait to be written while the next ones are segmented."""
NAME_ERRNOS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
"""Errors of disks that do not allow a name, such as one with a colon."""
EMPTY_ADVICE = "If there are more objects: was the model trained on images like these, and to its end?"
FULL_ADVICE = "If that is not so: was the model trained on images like these, and its background long enough?"


Objects: TypeAlias = list[dict[str, Any]]
"""What `describe_objects` says."""


@runtime_checkable
class Segmenter(Protocol):
    """What `segment_source` needs of a model, such as `AstSeg`."""

    @property
    def num_slots(self) -> int | None:
        """The largest number of objects in an image, of which label k is slot k's; None if labels are no slots."""
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
    tracks: int | None = None
    """The number of tracks; None if objects were not tracked."""
    note: str | None = None
    """What looks wrong with the labels, if anything, and what to try."""


def segment_source(
    model: Segmenter,
    source: Source,
    out: Path | str,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    model_name: str | None = None,
    *,
    track: bool = False,
    writers: Sequence[type[ResultWriter]] = WRITERS,
    found_in: Callable[[int], None] | None = None,
) -> SegmentationResult:
    """Segment every image of a source, and write the files of all writers.

    Memory use does not depend on the number of images. A second thread writes them while the next ones are segmented;
    of an `EndlessSource`, each is written before the next one is awaited. The folder appears once everything is
    written; that of an `EndlessSource` is there at once, grows image by image, and is whole when the source has been
    stopped.

    Args:
        model: the model, on `device`.
        source: what to segment; see `open_source`.
        out: the folder to make; it may exist if it is empty.
        batch_size: images of one size that go through the model together.
        device: where the model is.
        progress: called with the number of images done, and of all.
        model_name: what objects.json calls the model, if anything.
        track: take the images for successive frames, and label objects by tracks in place of slots; see
            `ObjectTracker`.
        writers: which forms are written; `ObjectsWriter` and `LabelWriter` make what other formats are made from.
        found_in: called with the number of objects in each image, before `progress`.

    Raises:
        TypeError: the model, the source or the folder is something else.
        ValueError: the batch size is no whole number.
        AstSegError: the folder is not empty or cannot be written, there is no such device, no image can be read, the
            model has too many slots or the image too many tracks for 8-bit labels, or the batch size is below 1.
    """
    if not isinstance(model, Segmenter):
        raise wrong_argument("segment_source takes a model, such as load_model('rooms')", model)
    if not isinstance(source, Source):
        raise wrong_argument("segment_source takes what open_source returns", source)
    out, device = as_path("out", out), find_device(device)
    _check_request(model, source, out, batch_size)
    endless = isinstance(source, EndlessSource)
    if endless:
        batch_size = 1  # whoever waits for an image does not wait for the next ones too
    tracker = ObjectTracker(by_slot=model.num_slots is not None) if track else None
    shares = ForegroundShares()
    images = objects = 0
    total = source.estimated_length()
    with (growing_folder if endless else atomic_folder)(out) as folder, ExitStack() as stack:
        opened = [stack.enter_context(make(folder, source, model.num_slots, model_name)) for make in writers]

        def writes() -> Iterator[Callable[[], Objects | None]]:
            for sample, labels, found in _results(model, source, batch_size, device, tracker):
                shares.add(np.count_nonzero(labels) / labels.size)
                yield partial(_write_or_skip if endless else _write, opened, sample, labels, found)

        # Closed before the writers, so that none of them is still at work.
        for found in stack.enter_context(closing(run_behind(writes(), 0 if endless else MAX_WAITING))):
            if found is None:
                continue
            images, objects = images + 1, objects + len(found)
            if found_in is not None:
                found_in(len(found))
            if progress is not None:
                progress(images, total)
    note = shares.note(if_empty=EMPTY_ADVICE, if_full=FULL_ADVICE)
    tracks = None if tracker is None else tracker.tracks
    return SegmentationResult(out, images, objects, tuple(source.skipped), tracks, note)


def _check_request(model: Segmenter, source: Source, out: Path, batch_size: int) -> None:
    """Raise unless the results of a model can be written as asked, before any image is segmented.

    Raises:
        ValueError: the batch size is no whole number.
        AstSegError: the model has too many slots, the batch size is below 1, or the folder is the one that is watched.
    """
    check_whole_number("batch_size", batch_size, Range())
    if model.num_slots is not None and model.num_slots > MAX_LABELS:
        raise AstSegError(f"Label images hold up to {MAX_LABELS} objects; this model has {model.num_slots} slots.")
    if batch_size < 1:
        raise AstSegError(f"The batch size should be 1 or more, not {batch_size}.")
    if isinstance(source, WatchedFolder) and real_path(out) == real_path(source.path):
        raise AstSegError(f"{out} is the folder that is watched, so that results would be segmented in turn.")


def _results(
    model: Segmenter, source: Source, batch_size: int, device: torch.device | str, tracker: ObjectTracker | None
) -> Iterator[tuple[Sample, Bytes, Objects]]:
    """Yield each image, its labels, and what is said of its objects."""
    for batch in same_sized_batches(source, batch_size):
        segmentation = model.segment(from_uint8_images(np.stack([sample.image for sample in batch]), device))
        for index, sample in enumerate(batch):
            labels = segmentation.labels[index].cpu().numpy().astype(np.uint8)
            if tracker is None:
                yield sample, labels, describe_objects(labels, segmentation[index])
            else:
                yield sample, *tracker.update(sample.image, labels, segmentation[index])


def _write(writers: Sequence[ResultWriter], sample: Sample, labels: Bytes, found: Objects) -> Objects:
    """Write the results of an image in all forms, and return its objects."""
    for writer in writers:
        writer.append(sample, labels, found)
    return found


def _write_or_skip(writers: Sequence[ResultWriter], sample: Sample, labels: Bytes, found: Objects) -> Objects | None:
    """Write as `_write` does; return None for an image whose name the disk does not allow."""
    try:
        return _write(writers, sample, labels, found)
    except OSError as error:
        if error.errno not in NAME_ERRNOS:
            raise
        reason = f"Its results cannot have its name: {error.strerror}. Save it under another name."
        writers[0].source.skipped.append((sample.file_name or sample.name, reason))
        return None


def same_sized_batches(
    source: Iterable[Sample], batch_size: int, max_pixels: int = MAX_BATCH_PIXELS
) -> Iterator[list[Sample]]:
    """Group successive images of the same size, up to ``batch_size`` of them and ``max_pixels`` together."""
    batch: list[Sample] = []
    for sample in source:
        if batch and sample.image.shape != batch[0].image.shape:
            yield batch
            batch = []
        batch.append(sample)
        pixels = sample.image.shape[0] * sample.image.shape[1]
        if len(batch) >= min(batch_size, max(1, max_pixels // pixels)):  # at once: the next image may be long in coming
            yield batch
            batch = []
    if batch:
        yield batch
