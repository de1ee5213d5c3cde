"""Define which images of a published data set are for training, validation and test.

The literature divides the same data set in several ways, and scores on different splits are not comparable. A
protocol is named after those who use it and recorded in the manifest of each store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

SAMPLE_SEED = 0


@dataclass(frozen=True)
class Portion:
    """A contiguous range of images that forms one split."""

    split: str
    start: int | Fraction
    """Index of the first image, or a fraction of all images."""
    stop: int | Fraction | None
    """Exclusive end, likewise; None means the end of the data set."""
    sample: int | None = None
    """Number of images drawn from the range without replacement by a fixed seed; None takes all."""

    def indices(self, total: int) -> npt.NDArray[np.int64]:
        """Return the ascending indices of the portion's images, out of `total` images."""
        start = _resolve_bound(self.start, total)
        stop = total if self.stop is None else min(_resolve_bound(self.stop, total), total)
        run = np.arange(start, max(start, stop))
        if self.sample is None or self.sample >= len(run):
            return run
        return np.sort(np.random.default_rng(SAMPLE_SEED).choice(run, self.sample, replace=False))


@dataclass(frozen=True)
class Protocol:
    """A named division of a data set into splits."""

    name: str
    description: str
    portions: tuple[Portion, ...]

    def indices(self, total: int, limit: int | None = None) -> dict[str, npt.NDArray[np.int64]]:
        """Return the ascending indices of each non-empty split, at most the first `limit` of each."""
        chosen = {portion.split: portion.indices(total)[:limit] for portion in self.portions}
        return {split: indices for split, indices in chosen.items() if len(indices)}


def _contiguous(name: str, description: str, **bounds: tuple[int | Fraction, int | Fraction | None]) -> Protocol:
    return Protocol(name, description, tuple(Portion(split, *ends) for split, ends in bounds.items()))


TENTH, FIFTH = Fraction(1, 10), Fraction(1, 5)

CLEVRTEX_TENTHS = _contiguous(
    "clevrtex",
    "by index: the first tenth is for test, the second for validation, the rest for training",
    test=(0, TENTH),
    validation=(TENTH, FIFTH),
    train=(FIFTH, None),
)
ALL_TEST = _contiguous("all-test", "every image is for test", test=(0, None))

CLEVR_PROTOCOLS = (
    _contiguous(
        "authors",
        "records 0-9999 are for test, the rest for training",
        test=(0, 10_000),
        train=(10_000, None),
    ),
    _contiguous(
        "clevrtex",
        "records 0-14999 are for test, 15000-29999 for validation, the rest for training",
        test=(0, 15_000),
        validation=(15_000, 30_000),
        train=(30_000, None),
    ),
    Protocol(
        "genesis",
        "320 of records 0-9999 are for test (drawn with seed 0; the original's own draw is not published), "
        "10000-19999 for validation, 20000-69999 for training",
        (
            Portion("test", 0, 10_000, sample=320),
            Portion("validation", 10_000, 20_000),
            Portion("train", 20_000, 70_000),
        ),
    ),
)
OBJECTS_ROOM_PROTOCOLS = (
    _contiguous(
        "genesis",
        "records 0-9999 are for test, 10000-19999 for validation, the rest for training",
        test=(0, 10_000),
        validation=(10_000, 20_000),
        train=(20_000, None),
    ),
)
CLEVRTEX_PROTOCOLS = (CLEVRTEX_TENTHS,)
OUTD_PROTOCOLS = (ALL_TEST,)


def shapestacks_protocol(folder: str, counts: Mapping[str, int]) -> Protocol:
    """Return the division by ShapeStacks' own lists; its splits follow each other in the order of `counts`."""
    portions = []
    start = 0
    for split, count in counts.items():
        portions.append(Portion(split, start, start + count))
        start += count
    return Protocol(folder, f"by the lists in splits/{folder}", tuple(portions))


def _resolve_bound(bound: int | Fraction, total: int) -> int:
    return int(bound * total) if isinstance(bound, Fraction) else bound
