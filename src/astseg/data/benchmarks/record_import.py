"""Import record files: read once, in order, directly into the splits."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.hdf5 import count_images, read_hdf5
from astseg.data.benchmarks.import_settings import ImportProgress, ImportSettings, ProgressReport, file_names
from astseg.data.benchmarks.multi_object import RecordSample, read_records
from astseg.data.benchmarks.protocols import ALL_TEST
from astseg.data.benchmarks.registry import RecordFormat
from astseg.data.store_writer import StoreWriter

Indices: TypeAlias = npt.NDArray[np.int64]

HDF5_SUFFIXES = (".hdf5", ".h5")
MAX_TEST_RECORDS = 1 << 16  # the published test files hold about a thousand


@dataclass(frozen=True)
class RecordSource:
    """A record file, how to read it, and which of its records belong to which split."""

    path: Path
    read: Callable[[int], Iterator[RecordSample]]
    """Yield the samples from a record index on."""
    indices: dict[str, Indices]
    """Ascending record indices of each split; no record belongs to two."""
    total: int | None
    """Number of records up to the last one needed, if known."""


def import_records(settings: ImportSettings, records: RecordFormat, report: ProgressReport) -> None:
    """Import record files into the destination of the settings.

    Raises:
        AstSegError: a file is damaged or of another data set, two files hold one split, or the destination is in use.
    """
    sources = [_source(settings, records, file) for file in settings.files]
    splits = [split for source in sources for split in source.indices]
    if len(set(splits)) < len(splits):
        raise AstSegError("Two of the files hold the same split. Give each file once, and only one training file.")
    with settings.writer() as writer:
        with ExitStack() as stack:
            for source in sources:
                found = _write_records(source, writer, stack, settings, report)
                writer.details.setdefault("records_read", {})[source.path.name] = found
        writer.details["records_needed"] = {source.path.name: source.total for source in sources}
        if not sum(writer.details["records_read"].values()):
            raise AstSegError(f"{settings.files[0]} holds no records. Download it again.")
        if not writer.holds_images():
            raise AstSegError(
                f"{file_names(settings.files)}: no record belongs to a split of the protocol "
                f"'{settings.protocol.name}'. Give the whole file or choose another protocol."
            )


def _source(settings: ImportSettings, records: RecordFormat, file: Path) -> RecordSource:
    split = next((split for mark, split in records.tests.items() if mark in file.name), None)
    total = None if split else settings.benchmark.count
    read = read_records
    if file.suffix in HDF5_SUFFIXES:
        read, total = read_hdf5, count_images(file)
    if split:
        indices = {split: ALL_TEST.indices(total or MAX_TEST_RECORDS, settings.limit)["test"]}
    else:
        indices = settings.protocol.indices(total or 0, settings.limit)
    last = max((int(chosen[-1]) for chosen in indices.values()), default=-1)
    return RecordSource(
        file,
        partial(read, file, records.layout, settings.size),
        indices,
        last + 1 if total is not None or settings.limit is not None else None,
    )


def _write_records(
    source: RecordSource,
    writer: StoreWriter,
    stack: ExitStack,
    settings: ImportSettings,
    report: ProgressReport,
) -> int:
    """Write the records that belong to a split; return the number of records up to the last one needed."""
    splits = [stack.enter_context(writer.split(name, optional=True)) for name in source.indices]
    left = [indices[split.count :] for split, indices in zip(splits, source.indices.values(), strict=True)]
    if not any(len(indices) for indices in left):
        return source.total or 0
    # An array of one byte per record, because there may be a million of them.
    last = max(int(indices[-1]) for indices in left if len(indices))
    owners = np.full(last + 1, -1, np.int8)
    for number, indices in enumerate(left):
        owners[indices] = number
    position = start = int((owners >= 0).argmax())
    for position, sample in enumerate(source.read(start), start=start + 1):
        owner = owners[position - 1]
        if owner >= 0:
            image = sample.image[..., ::-1] if settings.exchange_red_and_blue else sample.image
            splits[owner].append(image[None], sample.labels[None])
        report(ImportProgress(f"reading {source.path.name}", position, source.total, "images"))
        if position > last:
            break
    return position
