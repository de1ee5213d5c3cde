"""From people's own images and video to a store."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from astseg._core.errors import AstSegError
from astseg._core.progress import Progress
from astseg.data.arrays import ARRAY_SUFFIXES
from astseg.data.file_roles import split_of
from astseg.data.image_fitting import fit_image, fit_mask
from astseg.data.sources import FileSource, Sample, Source, VideoSource, open_source
from astseg.data.store import Store
from astseg.data.store_writer import SplitWriter, StoreWriter

MIN_SIDE = 8
"""Pixels; an image with a shorter side shows nothing to learn from."""

NUM_PROBED_IMAGES = 16
"""Images that are looked at to choose a size, and whether masks can be used."""

LONG_SIDES = (128, 112, 144, 160)
"""Choices for the longer side of images that are not square, the usual one first."""

SMALL_LONG_SIDES = (64, 80, 96)
"""The same for images whose longer side is shorter than 128."""


@dataclass
class _Part:
    """One source and the splits that its images go to."""

    source: Source
    test_indices: frozenset[int] | range = frozenset()
    """Which of its images are held out."""
    split: str = "train"
    """Where the others go."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(name, reason) of readable images that are not used."""

    @property
    def splits(self) -> set[str]:
        """All the splits that its images go to."""
        return {self.split, "test"} if self.test_indices else {self.split}


def import_source(
    path: Path | str,
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
) -> Store:
    """Prepare images, arrays or a video for training.

    Every image loses what exceeds the proportions of `image_size` on both sides (a centre crop), and is then
    resized bilinearly with antialiasing; masks are cut alike and resized by the nearest pixel. They go along where
    every image of a split has one; an image whose mask alone turns out to be of no use is then left out.

    What is held out for the split `test`: of a video the last frames, of images a random choice. But a folder that
    says itself what is for training and what for testing is taken at its word: folders called `train` and `test` or
    `val` (`valid/images`, `images/val2017`), arrays numbered or not (`train_0.npz`, `train_1.npz`, `val.npz`); where
    there is no `test`, `val` is it.

    Args:
        path: a folder, an image, an array file or a video.
        destination: where the store is made; nothing may be there yet.
        image_size: height and width; by default `suggest_image_size` of the first images.
        test_share: how much is held out, from 0 (nothing) to below 1.
        seed: of the random choice.
        every: of a video, take only each n-th frame.
        progress: told how many images have been read, and of how many.
        longer_side: what `suggest_image_size` is told of the size, where none is given.
        masks: a file or folder of masks; by default those that lie beside the images.
        ignored: the values in masks of pixels that are not to be scored; by default they are found out.
        check_size: told the height and width before anything is prepared, to refuse them by an error.
        details: more for the manifest to say.

    Returns:
        The store. Its manifest's details name what was skipped, and why, and what else lay in the folder, and count the
        masks that did not go along, with the first reason.

    Raises:
        AstSegError: nothing can be read, the destination is taken, or a number makes no sense.
    """
    if not 0 <= test_share < 1:
        raise AstSegError(f"The share that is held out should lie in 0 to below 1, not {test_share}.")
    if Store.is_store(path):
        raise AstSegError(f"{path} is a prepared data set already. Train on it as it is.")
    source = open_source(path, every=every, masks=masks, ignored=ignored)
    parts = _predefined_parts(source) or [_hold_out(source, test_share, seed)]
    size = image_size or _size_for(parts[0].source, longer_side)
    if min(size) < MIN_SIDE:
        raise AstSegError(f"Images should be at least {MIN_SIDE} pixels a side, not {size[0]} x {size[1]}.")
    check_size(size)
    usable = [_has_usable_masks(part.source) for part in parts]
    with_masks = {
        split: all(has for part, has in zip(parts, usable, strict=True) if split in part.splits)
        for split in _splits(parts)
    }
    rule = "as the folder is divided" if len(parts) > 1 else _describe_split_rule(parts[0], test_share, seed)
    protocol = f"centre crop to the proportions, bilinear with antialias to {size[0]} x {size[1]}; split: {rule}"
    with StoreWriter(destination, size, str(Path(path).resolve()), protocol) as writer, ExitStack() as stack:
        out = _SplitWriters(writer, stack, with_masks, source.ignored_label)
        _write_samples(out, parts, size, progress)
        writer.details.update({**_details(source, parts, seed, every), **(details or {})})
        if isinstance(source, FileSource) and any(with_masks.values()):
            writer.details["masks"] = source.coding.description
        if out.masks_left_behind:
            writer.details |= {
                "masks_left_behind": out.masks_left_behind,
                "mask_problem": out.mask_problem or "some images are left out.",
            }
    return Store(destination)


def suggest_image_size(size: tuple[int, int], longer_side: int | None = None) -> tuple[int, int]:
    """Return a size that a processor without accelerator can learn from, near to the proportions of the images.

    Nearly square images (up to 6 : 5) become 128 x 128, or 64 x 64 where they are smaller than 128. Others get sides
    that are multiples of 16, about 128 the longer one (64 where the images are smaller): 240 x 320 becomes 96 x 128,
    1080 x 1920 becomes 64 x 112. No side is shorter than 32. With a longer side of 320, 1080 x 1920 becomes 176 x 320.

    Args:
        size: height and width of the images.
        longer_side: the longer one to be, where it should be another; the shorter is then a multiple of 8.

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
    # The first choice whose proportions are within 3 % (little is cropped), else the nearest.
    errors = [abs(log(choice[0] / choice[1] * long / short)) for choice in choices]
    best = choices[next((i for i, error in enumerate(errors) if error < 0.03), int(np.argmin(errors)))]
    return best if size[0] <= size[1] else (best[1], best[0])


class _SplitWriters:
    """The splits being written, each opened when its first image comes, since an empty one is an error."""

    def __init__(
        self, writer: StoreWriter, stack: ExitStack, masks: dict[str, bool], ignored_label: int | None
    ) -> None:
        self._writer, self._stack, self.masks, self._ignored_label = writer, stack, masks, ignored_label
        self._open: dict[str, SplitWriter] = {}
        self.masks_left_behind = 0
        """Images with a mask that did not go along."""
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


def _write_samples(out: _SplitWriters, parts: list[_Part], size: tuple[int, int], progress: Progress | None) -> None:
    lengths = [part.source.estimated_length() for part in parts]
    total = sum(length or 0 for length in lengths) or None
    done = 0
    for part in parts:
        # The latest image waits until the next has come: where all those meant for a split turned out to be
        # unreadable, the last readable one stands in.
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
            raise AstSegError(f"Nothing in {part.source.path} can be used. {reasons[0][1] if reasons else ''}")
        split, sample = waiting
        if part.test_indices:
            split = next((name for name in (part.split, "test") if name not in out), split)
        out.append(split, sample)


def _usable_samples(part: _Part, size: tuple[int, int], masks: bool) -> Iterator[tuple[int, Sample]]:
    """Yield the images that are large enough, resized, each with its index among the readable ones."""
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
    """Hold out the end of a video, whose neighboring frames are alike, and a random choice of anything else."""
    length = source.estimated_length() or 0
    count = min(max(1, round(length * test_share)), length - 1) if test_share and length > 1 else 0
    if not count:
        return _Part(source)
    if isinstance(source, VideoSource):
        # Without an end: the number of frames is an estimate.
        return _Part(source, range(length - count, sys.maxsize))
    chosen = np.random.default_rng(seed).choice(length, count, replace=False)
    return _Part(source, frozenset(chosen.tolist()))


def _predefined_parts(source: Source) -> list[_Part]:
    """Return the parts of a folder that says itself what is for training and what for testing; else none."""
    if not isinstance(source, FileSource) or not source.path.is_dir():
        return []
    files: dict[str, list[Path]] = {}
    for file in source.files:
        files.setdefault(_predefined_split(file.relative_to(source.path)), []).append(file)
    if "train" not in files or not {"test", "val"} & files.keys():
        return []
    names = {"train": "train", "test": "test", "val": "val" if "test" in files else "test"}
    parts = [_Part(source.part(files[key]), split=names[key]) for key in names if key in files]
    for file in files.get("", []):
        name = file.relative_to(source.path).as_posix()
        parts[0].left_out.append((name, f"{name} lies beside the parts for training and testing, in none of them."))
    return parts


def _predefined_split(file: Path) -> str:
    """Return the split that a file says it belongs to; nothing if it says none.

    An image called test.png is no test set.
    """
    if file.suffix.lower() in ARRAY_SUFFIXES:
        file = Path(file.parent, file.stem, file.name)
    return split_of(file) or ""


def _has_usable_masks(source: Source) -> bool:
    """Tell whether there are masks, and the first few can be used: one that cannot, among many, costs its image."""
    return source.has_masks and all(sample.mask_problem is None for sample in islice(source, NUM_PROBED_IMAGES))


def _size_for(source: Source, longer_side: int | None) -> tuple[int, int]:
    shapes = [sample.image.shape[:2] for sample in islice(source, NUM_PROBED_IMAGES)]
    height, width = np.median([shape for shape in shapes if min(shape) >= MIN_SIDE] or shapes, axis=0)
    return suggest_image_size((int(height), int(width)), longer_side)


def _splits(parts: list[_Part]) -> set[str]:
    return set().union(*(part.splits for part in parts))


def _describe_split_rule(part: _Part, test_share: float, seed: int) -> str:
    if not part.test_indices:
        return "nothing held out"
    chosen = "the last frames" if isinstance(part.source, VideoSource) else f"a random choice (seed {seed})"
    return f"{chosen}, {test_share:.0%}, held out"


def _details(source: Source, parts: list[_Part], seed: int, every: int) -> dict[str, Any]:
    skipped = [list(entry) for part in parts for entry in (*part.source.skipped, *part.left_out)]
    details: dict[str, Any] = {"skipped": skipped, "seed": seed}
    if source.left_out:
        details["left_out"] = list(source.left_out)
    if source.notes:
        details["notes"] = list(source.notes)
    if source.fps is not None:
        details |= {"fps": float(source.fps), "every": every}
    return details
