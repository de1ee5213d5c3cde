"""Import images and masks that come in any order from folders and archives: stage them, then write the store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from astseg._core.atomic_io import lock_folder
from astseg._core.errors import AstSegError
from astseg._core.text import first_names
from astseg.data.benchmarks.archives import ArchiveMember, ArchiveSource
from astseg.data.benchmarks.import_settings import ImportProgress, ImportSettings, ProgressReport, file_names
from astseg.data.benchmarks.staging import Staging
from astseg.data.store import Bytes, first_entries
from astseg.data.store_writer import StoreWriter

PROGRESS_INTERVAL = 1 << 22  # bytes of an archive between two progress reports


@dataclass(frozen=True)
class ImageReader:
    """How to read a data set of separate image files."""

    index: Callable[[str], tuple[int, int] | None]
    """Return the image index and the kind of a file by its name; None for other files."""
    decode: Callable[[bytes, int, int], Bytes]
    """Convert a file's contents to a prepared image or label map, given its kind and the size."""
    numbering: str
    """What the indices are derived from, in a word."""
    whole: bool
    """Whether every index up to the highest must be present."""
    unassigned_label: int | None = None
    """Label of pixels that belong to no object; they become background and are counted."""


@dataclass(frozen=True)
class _Names:
    """Which files an import has come by."""

    found: set[tuple[int, int]] = field(default_factory=set)
    """The index and the kind of each."""
    repeated: list[str] = field(default_factory=list)
    """Those whose index and kind another one had before."""
    links: list[str] = field(default_factory=list)
    """Links and sparse files in archives, which are not read."""


def import_images(
    settings: ImportSettings, sources: Sequence[ArchiveSource], reader: ImageReader, report: ProgressReport
) -> None:
    """Import images and masks into the destination of the settings.

    Raises:
        AstSegError: an archive is damaged, images are missing, or the destination is in use.
    """
    writer = settings.writer()
    writer.check_destination()
    # A later run may add missing files, but the meaning of the indices must not change.
    about = {"set": settings.benchmark.name, "numbering": reader.numbering, "size": settings.size}
    with lock_folder(settings.staging_folder, settings.destination):
        with Staging(settings.staging_folder, settings.size, about) as staging:
            names = _Names()
            for source in sources:
                _stage(source, staging, reader, settings.size, names, report)
            _check_complete(staging, reader.whole, settings.benchmark.name, names.links)
            for key, some in (("repeated", names.repeated), ("links", names.links)):
                writer.details |= first_entries(key, some) if some else {}
            with writer:
                _write_store(writer, staging, settings, reader, report)
        staging.remove()


def _write_store(
    writer: StoreWriter, staging: Staging, settings: ImportSettings, reader: ImageReader, report: ProgressReport
) -> None:
    writer.details |= {"images_found": staging.total, **first_entries("unreadable", staging.unreadable)}
    if not reader.whole:
        writer.details["missing"] = len(staging.missing)
    unassigned_images = unassigned_pixels = 0
    for name, indices in settings.protocol.indices(staging.total, settings.limit).items():
        with writer.split(name, optional=True) as split:
            for number, (image, labels) in enumerate(staging.read(indices.tolist()), start=1):
                if reader.unassigned_label is not None:
                    unassigned = labels == reader.unassigned_label
                    unassigned_images += int(unassigned.any())
                    unassigned_pixels += int(unassigned.sum())
                    labels = np.where(unassigned, np.uint8(0), labels)
                if number > split.count:
                    image = image[..., ::-1] if settings.exchange_red_and_blue else image
                    split.append(image[None], labels[None])
                report(ImportProgress(f"writing {name}", number, len(indices), "images"))
    if reader.unassigned_label is not None:
        writer.details["unassigned"] = {"images": unassigned_images, "pixels": unassigned_pixels}


def _stage(
    source: ArchiveSource, staging: Staging, reader: ImageReader, size: int, names: _Names, report: ProgressReport
) -> None:
    name, identity = file_names(source.paths), source.identity
    if identity is not None and staging.finished(identity):
        return
    total = source.size
    done = reported = 0

    def advance(count: int) -> None:
        nonlocal done, reported
        done += count
        if done - reported >= PROGRESS_INTERVAL or not count:
            reported = done
            report(ImportProgress(f"reading {name}", done, total, "bytes"))

    def leave_out(member: str) -> None:
        if reader.index(member) is not None:
            names.links.append(member)

    for number, member in enumerate(source.members(advance, leave_out), start=1):
        if not total:
            report(ImportProgress(f"reading {name}", number, None, "images"))
        _put(member, staging, reader, size, names)
    if identity is not None:
        staging.finish(identity)


def _put(member: ArchiveMember, staging: Staging, reader: ImageReader, size: int, names: _Names) -> None:
    found = reader.index(member.name)
    if found is None:
        return
    if found in names.found:
        names.repeated.append(member.name)
        return
    names.found.add(found)
    if staging.has(*found):
        return
    index, kind = found
    try:
        pixels = reader.decode(member.read(), kind, size)
    except ValueError as error:
        staging.mark_unreadable(index, member.name, str(error))
    else:
        staging.put(index, kind, pixels)


def _check_complete(staging: Staging, whole: bool, name: str, links: Sequence[str]) -> None:
    missing, linked = staging.missing, ""
    if links:
        linked = f" Links and sparse files in archives are not read: {first_names(links)}. Unpack them."
    if not staging.num_complete:
        raise AstSegError(
            f"No readable image of '{name}' with its mask was found. Are these files of another data set or variant?"
            f"{linked}"
        )
    if whole and missing:
        raise AstSegError(
            f"{len(missing)} of {staging.total} images or masks are missing, the first of them number {missing[0]}. "
            f"The splits depend on the numbers, so all are needed. Is an archive missing?{linked}"
        )
