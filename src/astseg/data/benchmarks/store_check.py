"""Inspect a store: what it holds, and what could be a problem for a model or a score."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from astseg._core.errors import AstSegError
from astseg._core.progress import NamedProgress
from astseg._core.text import first_names
from astseg.data.store import Split, SplitRecord, Store

MAX_BLOCK_IMAGES, MAX_BLOCK_PIXELS = 1024, 1 << 22
"""Of what is counted at a time: 8 bytes for each pixel."""


@dataclass(frozen=True)
class SplitReport:
    """Statistics of a split."""

    name: str
    count: int
    highest_label: int | None
    """None without masks."""
    most_objects: int | None
    """Largest number of distinct labels in one image, without the background."""
    empty_foregrounds: int | None
    """Number of images without any object; their ARI-FG is 1 by definition."""
    too_many_objects: int | None
    """Number of images with more objects than slots; None if K is unknown."""
    label_histogram: tuple[int, ...]
    """Number of pixels of label 0, 1, 2, ..."""


@dataclass(frozen=True)
class StoreReport:
    """Statistics and problems of a store."""

    path: Path
    source: str
    protocol: str
    num_slots: int | None
    splits: tuple[SplitReport, ...]
    damaged: tuple[str, ...] = ()
    """Files of the store that have changed since they were written."""
    unreadable: tuple[tuple[str, str], ...] = ()
    """Files that could not be read when the store was made, each with the reason."""
    problems: tuple[str, ...] = ()
    """Problems, one sentence each."""


def check_store(
    path: Path | str, *, num_slots: int | None = None, verify: bool = True, report: NamedProgress | None = None
) -> StoreReport:
    """Inspect a store.

    Args:
        path: the store's folder.
        num_slots: the K of the model to be used; None takes the one that the import recorded.
        verify: whether to verify the files' checksums too.
        report: called with a split's name, the images inspected so far and their total number.

    Raises:
        AstSegError: there is no store, or its files do not match its manifest.
    """
    store = Store(path, check_sums=False)  # `verify` does it whole
    details = store.manifest.details
    num_slots = num_slots if num_slots is not None else details.get("slots")
    if num_slots is not None and num_slots < 1:
        raise AstSegError(f"K, the number of slots, should be at least 1, not {num_slots}.")
    report = report or (lambda *_: None)
    splits = tuple(_check_split(store[name], num_slots, report) for name in store.splits)
    found = StoreReport(
        path=store.path,
        source=store.manifest.source,
        protocol=store.manifest.protocol,
        num_slots=num_slots,
        splits=splits,
        damaged=tuple(store.damaged_files()) if verify else (),
        unreadable=tuple((str(name), str(reason)) for name, reason in details.get("unreadable", [])),
    )
    return replace(found, problems=tuple(_problems(found, store.manifest.splits, details)))


def _check_split(split: Split, num_slots: int | None, report: NamedProgress) -> SplitReport:
    if split.masks is None:
        report(split.name, len(split), len(split))
        return SplitReport(split.name, len(split), None, None, None, None, ())
    histogram = np.zeros(256, np.int64)
    most = empty = too_many = 0
    block = max(1, min(MAX_BLOCK_IMAGES, MAX_BLOCK_PIXELS // math.prod(split.masks.shape[1:])))
    for start in range(0, len(split), block):
        masks = split.masks[start : start + block]
        # Counting value + 256 * image gives the histogram of each image in one pass.
        offsets = 256 * np.arange(len(masks), dtype=np.int64)[:, None]
        flat = (masks.reshape(len(masks), -1) + offsets).reshape(-1)
        counts = np.bincount(flat, minlength=256 * len(masks)).reshape(-1, 256)
        histogram += counts.sum(0)
        if split.ignored_label is not None:
            counts[:, split.ignored_label] = 0
        objects = (counts[:, 1:] > 0).sum(1)
        most = max(most, int(objects.max()))
        empty += int((objects == 0).sum())
        too_many += int((objects > num_slots).sum()) if num_slots is not None else 0
        report(split.name, min(start + block, len(split)), len(split))
    present = histogram.nonzero()[0]
    labels = tuple(histogram[: present.max() + 1].tolist())
    highest = int(present[present != split.ignored_label].max(initial=0))
    return SplitReport(split.name, len(split), highest, most, empty, too_many, labels)


def _problems(found: StoreReport, records: Mapping[str, SplitRecord], details: Mapping[str, Any]) -> list[str]:
    problems = []
    if all(split.most_objects is None for split in found.splits):
        problems.append("There are no masks: nothing can be scored.")
    if found.unreadable:
        unreadable = len(found.unreadable) + details.get("more_unreadable", 0)
        problems.append(f"{unreadable} file{'' if unreadable == 1 else 's'} could not be read when the store was made.")
    for split in found.splits:
        problems += _split_problems(split, found.num_slots, records[split.name])
    published, images = details.get("images_published"), details.get("images_found")
    if published and images and published != images:
        problems.append(f"{images} images were found, but {published} are published: the split by number differs.")
    if pixels := details.get("unassigned", {}).get("pixels"):
        problems.append(f"{pixels} pixels belong to no object and count as background.")
    for file, needed in details.get("records_needed", {}).items():
        read = details.get("records_read", {}).get(file)
        if None not in (read, needed) and read < needed:
            problems.append(f"{file} holds only {read} records, but the protocol needs {needed}.")
    if details.get("masks_left_behind"):
        problems.append(f"{details['masks_left_behind']} masks were left out: {details.get('mask_problem')}")
    if details.get("skipped"):
        skipped = len(details["skipped"]) + details.get("more_skipped", 0)
        problems.append(f"{skipped} images could not be used when the store was made.")
    for key, what in (
        ("repeated", "has the number of another, which came first and was taken"),
        ("links", "is a link or sparse in its archive, and was not read"),
    ):
        if names := details.get(key):
            count = len(names) + details.get(f"more_{key}", 0)
            problems.append(f"{'A file' if count == 1 else f'Each of {count} files'} {what}: {first_names(names)}.")
    if details.get("missing"):
        problems.append(f"{details['missing']} listed images, or their masks, were not in the files.")
    return problems


def _split_problems(split: SplitReport, num_slots: int | None, record: SplitRecord) -> list[str]:
    problems = []
    if split.empty_foregrounds:
        problems.append(
            f"{split.name}: {split.empty_foregrounds} of {split.count} images show no object; "
            f"their ARI-FG is 1 by definition."
        )
    if num_slots is not None and split.highest_label is not None and split.highest_label > num_slots:
        problems.append(
            f"{split.name}: labels go up to {split.highest_label}, but there are {num_slots} slots; "
            f"{split.too_many_objects} images have more than {num_slots} objects."
        )
    if split.label_histogram and split.label_histogram != record.label_histogram:
        problems.append(f"{split.name}: the label histogram differs from the manifest's. Prepare the data again.")
    return problems
