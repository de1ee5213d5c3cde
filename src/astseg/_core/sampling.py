"""Samples of large collections."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt


def evenly_spaced(count: int, limit: int) -> npt.NDArray[np.int64]:
    """Return the indices of at most ``limit`` of ``count`` items: spread evenly, rising, from the first to the last.

    >>> evenly_spaced(10, 4).tolist(), evenly_spaced(3, 4).tolist(), evenly_spaced(0, 4).tolist()
    ([0, 3, 6, 9], [0, 1, 2], [])
    """
    return np.linspace(0, count - 1, min(count, limit)).astype(np.int64)


def evenly_spaced_first(count: int, limit: int) -> Iterator[int]:
    """Yield the indices of all items: first those of `evenly_spaced`, then the others.

    >>> list(evenly_spaced_first(6, 3))
    [0, 2, 5, 1, 3, 4]
    """
    first = evenly_spaced(count, limit).tolist()
    yield from first
    yield from sorted(set(range(count)).difference(first))
