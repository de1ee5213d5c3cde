"""Samples of large collections."""

import numpy as np
import numpy.typing as npt


def evenly_spaced(count: int, limit: int) -> npt.NDArray[np.int64]:
    """Return the indices of at most ``limit`` of ``count`` items: spread evenly, rising, from the first to the last.

    >>> evenly_spaced(10, 4).tolist(), evenly_spaced(3, 4).tolist(), evenly_spaced(0, 4).tolist()
    ([0, 3, 6, 9], [0, 1, 2], [])
    """
    return np.linspace(0, count - 1, min(count, limit)).astype(np.int64)
