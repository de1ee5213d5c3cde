"""Importing images and masks that lie in folders and archives in any order: staged first, then written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from astseg._core.atomic_io import held
from astseg._core.errors import AstSegError
from astseg.data.benchmarks.archives import ArchiveMember, ArchiveSource
from astseg.data.benchmarks.import_settings import ImportProgress, ImportSettings, ProgressReport, file_names
from astseg.data.benchmarks.preprocessing import Bytes
from astseg.data.benchmarks.staging import Staging
from astseg.data.store_writer import StoreWriter

PROGRESS_INTERVAL = 1 << 22  # report the reading of an archive every 4 MiB


@dataclass(frozen=True)
class ImageReader:
    """What the import needs to know of a set of separate image files."""

    index: Callable[[str], tuple[int, int] | None]
    """A file's index and kind by its name; None for files of no interest."""
    decode: Callable[[bytes, int, int], Bytes]
    """Contents, kind and size to a prepared image or label map."""
    numbering: str
    """What gives the images their indices, in a word."""
    whole: bool
    """Whether every index up to the highest must be there."""
    unassigned_label: int | None = None
    """A label of pixels that belong to nothing: they become background and are counted."""


def import_images(
    settings: ImportSettings, sources: Sequence[ArchiveSource], reader: ImageReader, report: ProgressReport
) -> None:
    """Write the store that the settings ask for.

    Raises:
        AstSegError: an archive is damaged, images are missing, or the destination is in use.
    """
    writer = settings.writer()
    writer.check_destination()
    # Files may be added when one turns out to be missing; what the indices mean must stay.
    about = {"set": settings.benchmark.name, "numbering": reader.numbering, "size": settings.size}
    with held(settings.beside, settings.destination):
        with Staging(settings.beside, settings.size, about) as staging:
            for source in sources:
                _stage(source, staging, reader, settings.size, report)
            _check_complete(staging, reader.whole, settings.benchmark.name)
            with writer:
                _write_store(writer, staging, settings, reader, report)
        staging.remove()


def _write_store(
    writer: StoreWriter, staging: Staging, settings: ImportSettings, reader: ImageReader, report: ProgressReport
) -> None:
    writer.details |= {"images_found": staging.total, "unreadable": staging.unreadable}
    if not reader.whole:
        writer.details["missing"] = len(staging.missing)
    loose = _UnassignedPixels(reader.unassigned_label)
    for name, indices in settings.protocol.indices(staging.total, settings.limit).items():
        _write_split(name, indices.tolist(), writer, staging, settings, loose, report)
    if reader.unassigned_label is not None:
        writer.details["unassigned"] = {"images": loose.images, "pixels": loose.pixels}


def _write_split(
    name: str,
    indices: Sequence[int],
    writer: StoreWriter,
    staging: Staging,
    settings: ImportSettings,
    loose: "_UnassignedPixels",
    report: ProgressReport,
) -> None:
    with writer.split(name, optional=True) as split:
        for number, (image, labels) in enumerate(staging.read(indices)):
            labels = loose.to_background(labels)
            if number >= split.count:
                image = image[..., ::-1] if settings.exchange_red_and_blue else image
                split.append(image[None], labels[None])
            report(ImportProgress(f"writing {name}", number + 1, len(indices), "images"))


class _UnassignedPixels:
    """Turns pixels that belong to nothing into background, and counts them."""

    def __init__(self, label: int | None) -> None:
        self._label = label
        self.images = 0
        self.pixels = 0

    def to_background(self, labels: Bytes) -> Bytes:
        loose = labels == self._label if self._label is not None else np.zeros(0, np.bool_)
        if not loose.any():
            return labels
        self.images += 1
        self.pixels += int(loose.sum())
        return np.where(loose, np.uint8(0), labels)


def _stage(source: ArchiveSource, staging: Staging, reader: ImageReader, size: int, report: ProgressReport) -> None:
    name = file_names(source.paths)
    if staging.finished(name):
        return
    total = source.size
    done = told = 0

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        if done - told >= PROGRESS_INTERVAL or not count:
            told = done
            report(ImportProgress(f"reading {name}", done, total, "bytes"))

    for number, member in enumerate(source.members(advance), start=1):
        if not total:
            report(ImportProgress(f"reading {name}", number, None, "images"))
        _put(member, staging, reader, size)
    staging.finish(name)


def _put(member: ArchiveMember, staging: Staging, reader: ImageReader, size: int) -> None:
    found = reader.index(member.name)
    if found is None or staging.has(*found):
        return
    index, kind = found
    data = member.read()
    try:
        pixels = reader.decode(data, kind, size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        staging.refuse(index, member.name, str(error))
    else:
        staging.put(index, kind, pixels)


def _check_complete(staging: Staging, whole: bool, name: str) -> None:
    missing = staging.missing
    if not staging.complete:
        raise AstSegError(
            f"No readable image of '{name}' with its mask was found. Are these the files of another set or variant?"
        )
    if whole and missing:
        raise AstSegError(
            f"{len(missing)} of {staging.total} images or their masks are missing, the first is number "
            f"{missing[0]}. The split goes by number, so all are needed: is one of the archives absent?"
        )
