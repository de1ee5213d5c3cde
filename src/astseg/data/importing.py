"""Importing the user's own images and videos into a store."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, islice
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from astseg._core.arguments import as_path, as_paths
from astseg._core.disk import free_bytes
from astseg._core.errors import AstSegError
from astseg._core.progress import Progress
from astseg._core.text import format_bytes
from astseg.data.arrays import is_array_file
from astseg.data.file_roles import split_of
from astseg.data.file_source import FileSource
from astseg.data.image_fitting import fit_image, fit_mask
from astseg.data.masks import describe_codings
from astseg.data.several import JoinedSource, open_sources
from astseg.data.sources import Sample, Source, total_length
from astseg.data.store import Store, first_entries
from astseg.data.store_writer import SplitWriter, StoreWriter
from astseg.data.video_source import VideoSource

MIN_SIDE = 8
"""In pixels; images with a shorter side are left out."""

MAX_SIDE = 8192
"""In pixels; far more than any model takes."""

NUM_PROBED_IMAGES = 16
"""The number of images that decide the size, and whether masks can be used."""

LONG_SIDES = (128, 112, 144, 160)
"""Choices for the longer side of images that are not square, the preferred one first."""

SMALL_LONG_SIDES = (64, 80, 96)
"""The same for images whose longer side is shorter than 128."""


@dataclass
class _Part:
    """A source and the splits to which its images go."""

    source: Source
    test_indices: frozenset[int] | range = frozenset()
    """The images that go to the split `test`."""
    split: str = "train"
    """The split of the other images."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(name, reason) of readable images that are not used."""
    predefined: bool = False
    """Whether the folder's own division is kept."""

    @property
    def splits(self) -> set[str]:
        """All splits to which images go."""
        return {self.split, "test"} if self.test_indices else {self.split}


@dataclass(frozen=True)
class ImportPlan:
    """What an import will write."""

    images: int | None
    """How many images there are if all are readable; None if counting means reading."""
    size: tuple[int, int]
    """Height and width."""

    @property
    def num_bytes(self) -> int | None:
        """What the images will take on the disk, without masks."""
        return None if self.images is None else self.images * self.size[0] * self.size[1] * 3


def import_source(
    path: Path | str | Sequence[Path | str],
    destination: Path | str,
    image_size: tuple[int, int] | None = None,
    test_share: float = 0.1,
    seed: int = 0,
    every: int = 1,
    progress: Progress | None = None,
    *,
    longer_side: int | None = None,
    masks: Path | None = None,
    ignored: frozenset[int] | None = None,
    check_size: Callable[[tuple[int, int]], None] = lambda size: None,
    details: Mapping[str, Any] | None = None,
    max_frames: int | None = None,
    on_plan: Callable[[ImportPlan], None] = lambda plan: None,
) -> Store:
    """Prepare images, arrays or videos for training.

    Every image is cropped in the center to the proportions of `image_size` and resized bilinearly with antialiasing;
    masks are cropped likewise and resized by the nearest pixel. A split gets masks if all its images have one; images
    whose mask turns out to be unusable are then left out.

    The split `test` holds out the last frames of each video, or a random choice of images. Existing divisions are kept:
    folders named `train` and `test` or `val` (`valid/images`, `images/val2017`), and arrays, numbered or not
    (`train_0.npz`, `train_1.npz`, `val.npz`); without `test`, `val` becomes the split `test`.

    Args:
        path: a folder, an image, an array file or a video, or several of these.
        destination: where the store is created; nothing may be there yet.
        image_size: height and width; by default `suggest_image_size` for the first images.
        test_share: the share of images to hold out, from 0 (none) to below 1.
        seed: the seed of the random choice, at least 0.
        every: take only every n-th frame of videos.
        progress: called with the number of images read, and the total.
        longer_side: the longer side for `suggest_image_size`, if `image_size` is not given.
        masks: a file or folder of masks; by default the masks beside the images.
        ignored: the values in masks of pixels that are not scored; by default they are detected.
        check_size: called with height and width before anything is prepared; raises to refuse them.
        details: further details for the manifest.
        max_frames: take no more frames of each video than these, evenly spread.
        on_plan: called with what will be written, before anything is.

    Returns:
        The store. The details in its manifest name what was skipped and why, name what else was in the folder, and
        count the masks that were left out, with the first reason.

    Raises:
        AstSegError: nothing can be read, the destination is in use, its disk has too little room, or a number is out of
            range.
    """
    _check_held_out(test_share, seed)
    destination = as_path("destination", destination)
    places = as_paths("path", path)
    _refuse_stores(places)
    source = open_sources(places, every=every, masks=masks, ignored=ignored, max_frames=max_frames)
    divided = [_predefined_parts(one) or [_hold_out(one, test_share, seed)] for one in _sources(source)]
    size = image_size or _size_for([parts[0].source for parts in divided], longer_side)
    parts = list(chain.from_iterable(divided))
    _check_sides(size)
    check_size(size)
    plan = ImportPlan(total_length(part.source for part in parts), size)
    _check_room(plan, destination)
    on_plan(plan)
    with_masks = _splits_with_masks(parts)
    protocol = _describe_protocol(parts, size, test_share, seed)
    with StoreWriter(destination, size, describe_places(places), protocol) as writer, ExitStack() as stack:
        out = _SplitWriters(writer, stack, with_masks, source.ignored_label)
        _write_samples(out, parts, size, progress)
        writer.details.update({**_details(source, parts, seed), **(details or {})})
        writer.details.update(_mask_details(source, out))
    return Store(destination)


def describe_places(places: Sequence[Path]) -> str:
    """Return what the manifest of a store calls the places from which its images came."""
    return ", ".join(str(place.resolve()) for place in places)


def suggest_image_size(size: tuple[int, int], longer_side: int | None = None) -> tuple[int, int]:
    """Return a size at which a CPU can train, close to the proportions of the images.

    Nearly square images (up to 6 : 5) become 128 x 128, or 64 x 64 if they are smaller than 128. For others the sides
    are multiples of 16 and the longer side is about 128 (64 for smaller images): 240 x 320 becomes 96 x 128,
    1080 x 1920 becomes 64 x 112. No side is shorter than 32. With a longer side of 320, 1080 x 1920 becomes 176 x 320.

    Args:
        size: height and width of the images.
        longer_side: the longer side of the result, if given; the shorter side is then a multiple of 8.

    Returns:
        Height and width.
    """
    short, long = sorted(size)
    if long <= 1.2 * short:
        side = longer_side or (128 if short >= 128 else 64)
        return side, side
    if longer_side:
        shorter_side = min(longer_side, max(32, round(longer_side * short / long / 8) * 8))
        return (shorter_side, longer_side) if size[0] <= size[1] else (longer_side, shorter_side)
    sides = LONG_SIDES if long >= 128 else SMALL_LONG_SIDES
    choices = [(max(32, round(side * short / long / 16) * 16), side) for side in sides]
    # The first choice with proportions within 3 % (little is cropped), else the nearest.
    errors = [abs(log(choice[0] / choice[1] * long / short)) for choice in choices]
    best = choices[next((i for i, error in enumerate(errors) if error < 0.03), int(np.argmin(errors)))]
    return best if size[0] <= size[1] else (best[1], best[0])


class _SplitWriters:
    """Writes splits, opening each at its first image, since an empty split is an error."""

    def __init__(
        self, writer: StoreWriter, stack: ExitStack, masks: dict[str, bool], ignored_label: int | None
    ) -> None:
        self._writer, self._stack, self.masks, self._ignored_label = writer, stack, masks, ignored_label
        self._open: dict[str, SplitWriter] = {}
        self.masks_left_behind = 0
        """The number of images whose mask was left out."""
        self.mask_problem: str | None = None
        """The first reason for that."""

    def __contains__(self, split: str) -> bool:
        return split in self._open

    def append(self, split: str, sample: Sample) -> None:
        if split not in self._open:
            self._open[split] = self._stack.enter_context(self._writer.split(split, ignored_label=self._ignored_label))
        mask = sample.mask if self.masks[split] else None
        if not self.masks[split]:
            self.masks_left_behind += sample.mask is not None or sample.mask_problem is not None
            if self.mask_problem is None and sample.mask is None:
                self.mask_problem = sample.mask_problem or f"not every image has one: {sample.name} has none."
        self._open[split].append(sample.image[None], None if mask is None else mask[None])


def _check_held_out(test_share: float, seed: int) -> None:
    """Raise unless a share of the images can be held out, by a choice of this seed.

    Raises:
        AstSegError: a number is out of range.
    """
    if not 0 <= test_share < 1:
        raise AstSegError(f"The share to hold out should lie in 0 to below 1, not {test_share}.")
    if seed < 0:
        raise AstSegError(f"The seed of the random choice should be at least 0, not {seed}.")


def _refuse_stores(places: Sequence[Path]) -> None:
    """Raise if images to prepare are prepared already.

    Raises:
        AstSegError: they are.
    """
    for place in places:
        if Store.is_store(place):
            raise AstSegError(f"{place} is a prepared data set already. Train on it as it is.")


def _check_sides(size: tuple[int, int]) -> None:
    """Raise unless images can be prepared at a height and width.

    Raises:
        AstSegError: a side is out of range.
    """
    if min(size) < MIN_SIDE or max(size) > MAX_SIDE:
        raise AstSegError(f"Images should have {MIN_SIDE} to {MAX_SIDE} pixels a side, not {size[0]} x {size[1]}.")


def _write_samples(out: _SplitWriters, parts: list[_Part], size: tuple[int, int], progress: Progress | None) -> None:
    lengths = [part.source.estimated_length() for part in parts]
    total = sum(length or 0 for length in lengths) or None
    done = 0
    for part in parts:
        # The latest image waits for the next: if all images meant for a split turn out to be unreadable, the last
        # readable one takes their place.
        waiting: tuple[str, Sample] | None = None
        for index, sample in _usable_samples(part, size, out.masks[part.split]):
            if waiting is not None:
                out.append(*waiting)
            waiting = ("test" if index in part.test_indices else part.split, sample)
            done += 1
            if progress is not None:
                progress(done, total)
        if waiting is None:
            reasons = [*part.source.skipped, *part.left_out]
            why = reasons[0][1] if reasons else ""
            raise AstSegError(f"Nothing in {part.source.path} for the split '{part.split}' can be used. {why}")
        split, sample = waiting
        if part.test_indices:
            split = next((name for name in (part.split, "test") if name not in out), split)
        out.append(split, sample)


def _usable_samples(part: _Part, size: tuple[int, int], masks: bool) -> Iterator[tuple[int, Sample]]:
    """Yield the usable images, resized, each with its index among the readable ones."""
    for index, sample in enumerate(part.source):
        height, width = sample.image.shape[:2]
        if min(height, width) < MIN_SIDE:
            reason = f"{sample.name} has {height} x {width} pixels; a side should have {MIN_SIDE}."
            part.left_out.append((sample.name, reason))
            continue
        if masks and sample.mask_problem is not None:
            part.left_out.append((sample.name, sample.mask_problem))
            continue
        mask = None if sample.mask is None else fit_mask(sample.mask, size)
        yield index, Sample(sample.name, fit_image(sample.image, size), mask, sample.mask_problem)


def _hold_out(source: Source, test_share: float, seed: int) -> _Part:
    """Hold out the end of a video, since neighboring frames are similar, or a random choice of other images."""
    length = source.estimated_length() or 0
    count = min(max(1, round(length * test_share)), length - 1) if test_share and length > 1 else 0
    if not count:
        return _Part(source)
    if isinstance(source, VideoSource):
        # The range is open, because the number of frames is an estimate.
        return _Part(source, range(length - count, sys.maxsize))
    chosen = np.random.default_rng(seed).choice(length, count, replace=False)
    return _Part(source, frozenset(chosen.tolist()))


def _predefined_parts(source: Source) -> list[_Part]:
    """Return the parts of a folder that is divided into training and test images already, or an empty list."""
    if not isinstance(source, FileSource) or not source.path.is_dir():
        return []
    files: dict[str, list[Path]] = {}
    for file in source.files:
        files.setdefault(_predefined_split(file.relative_to(source.path)), []).append(file)
    if "train" not in files or not {"test", "val"} & files.keys():
        return []
    names = {"train": "train", "test": "test", "val": "val" if "test" in files else "test"}
    parts = [_Part(source.part(files[key]), split=names[key], predefined=True) for key in names if key in files]
    for file in files.get("", []):
        name = file.relative_to(source.path).as_posix()
        parts[0].left_out.append((name, f"{name} is in none of the folders for training and testing."))
    return parts


def _predefined_split(file: Path) -> str:
    """Return the split that the path of a file names, or an empty text.

    The names of array files count, but an image named test.png is not a test set.
    """
    if is_array_file(file):
        file = Path(file.parent, file.stem, file.name)
    return split_of(file) or ""


def _splits_with_masks(parts: Sequence[_Part]) -> dict[str, bool]:
    """Return whether each split gets masks: if all parts with images for it have usable ones."""
    usable = [_has_usable_masks(part.source) for part in parts]
    return {
        split: all(has for part, has in zip(parts, usable, strict=True) if split in part.splits)
        for split in set().union(*(part.splits for part in parts))
    }


def _has_usable_masks(source: Source) -> bool:
    """Tell whether there are masks and the first few can be used; a later unusable mask only costs its image."""
    return source.has_masks and all(sample.mask_problem is None for sample in islice(source, NUM_PROBED_IMAGES))


def _size_for(sources: Sequence[Source], longer_side: int | None) -> tuple[int, int]:
    shapes = [sample.image.shape[:2] for source in sources for sample in islice(source, NUM_PROBED_IMAGES)]
    height, width = np.median([shape for shape in shapes if min(shape) >= MIN_SIDE] or shapes, axis=0)
    return suggest_image_size((int(height), int(width)), longer_side)


def _sources(source: Source) -> list[Source]:
    """Return the sources of which one consists."""
    return list(source.parts.values()) if isinstance(source, JoinedSource) else [source]


def _check_room(plan: ImportPlan, destination: Path) -> None:
    """Raise if the disk of the destination has too little room.

    Raises:
        AstSegError: it has.
    """
    free = free_bytes(destination)
    if free is not None and plan.num_bytes is not None and plan.num_bytes > free:
        images, take = ("1 image", "takes") if plan.images == 1 else (f"{plan.images} images", "take")
        raise AstSegError(
            f"{images} at {plan.size[0]} x {plan.size[1]} {take} {format_bytes(plan.num_bytes)}, and the "
            f"disk of {destination} has {format_bytes(free)} left. Take fewer frames or a smaller size, or make room."
        )


def _describe_protocol(parts: Sequence[_Part], size: tuple[int, int], test_share: float, seed: int) -> str:
    """Return how images are resized and divided, for the manifest."""
    rule = "; ".join(dict.fromkeys(_describe_split_rule(part, test_share, seed) for part in parts))
    return f"centre crop to the proportions, bilinear with antialias to {size[0]} x {size[1]}; split: {rule}"


def _describe_split_rule(part: _Part, test_share: float, seed: int) -> str:
    if part.predefined:
        return "as the folder is divided"
    if not part.test_indices:
        return "nothing held out"
    chosen = "the last frames" if isinstance(part.source, VideoSource) else f"a random choice (seed {seed})"
    return f"{chosen}, {test_share:.0%}, held out"


def _details(source: Source, parts: list[_Part], seed: int) -> dict[str, Any]:
    skipped = [list(entry) for part in parts for entry in (*part.source.skipped, *part.left_out)]
    details: dict[str, Any] = {**first_entries("skipped", skipped), "seed": seed}
    if source.left_out:
        details["left_out"] = list(source.left_out)
    if notes := source.notes:
        details["notes"] = list(notes)
    if source.fps is not None:
        details["fps"] = float(source.fps)
    if steps := [one.every for one in _sources(source) if isinstance(one, VideoSource)]:
        details["every"] = steps if len(set(steps)) > 1 else steps[0]
    return details


def _mask_details(source: Source, out: _SplitWriters) -> dict[str, Any]:
    """Return what the manifest says of masks: how they were read, and how many were left behind and why."""
    details: dict[str, Any] = {}
    if any(out.masks.values()):
        codings = [coding for one in _sources(source) if isinstance(one, FileSource) for coding in one.codings]
        details["masks"] = describe_codings(codings)
    if out.masks_left_behind:
        details["masks_left_behind"] = out.masks_left_behind
        details["mask_problem"] = out.mask_problem or "some images are left out."
    return details
