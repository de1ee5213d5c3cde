"""The part of a batch that is computed at once: a process's own, or a piece of it."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import torch

from astseg._core import processes


class BatchPart(NamedTuple):
    """The images of a batch that are computed together."""

    start: int
    stop: int
    size: int
    """The number of images of the whole batch."""

    @property
    def share(self) -> float:
        """The share of the batch's images that are in this part."""
        return (self.stop - self.start) / self.size

    def divided(self, count: int) -> "list[BatchPart]":
        """Divide this part into a number of parts, which differ by one image at most.

        There are at most as many parts as the smallest process has images: processes wait for each other in each part,
        so that all of them need the same number of parts.
        """
        images = self.stop - self.start
        count = min(count, images, max(1, self.size // processes.count()))
        bounds = [self.start + images * index // count for index in range(count + 1)]
        return [BatchPart(start, stop, self.size) for start, stop in pairwise(bounds)]

    @property
    def places(self) -> slice:
        """The indices of this part's images in the batch."""
        return slice(self.start, self.stop)


def own_part(size: int) -> BatchPart:
    """Return the part of a batch that this process sees; parts differ by one image at most."""
    rank, count = processes.rank(), processes.count()
    return BatchPart(size * rank // count, size * (rank + 1) // count, size)


def mean_over_batch(values: Mapping[str, float], part: BatchPart) -> dict[str, float]:
    """Return means over the whole batch, given the means over this process's part."""
    if processes.count() == 1:
        return dict(values)
    sums = processes.add_up(torch.tensor(list(values.values()), dtype=torch.float64) * part.share)
    return dict(zip(values, sums.tolist(), strict=True))
