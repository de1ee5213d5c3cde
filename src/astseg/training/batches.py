"""Batches of prepared images, which depend on no state but the number of the step."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from astseg._core.devices import to_device
from astseg._core.image_conversion import scale_uint8_images
from astseg._core.mapped_arrays import fetch_rows

FLIPS = 1  # part of the seed: flips have other random numbers than anything else in the same step
MAX_GPU_SHARE = 0.4
"""The largest share of a GPU's free memory in which the images are kept there."""


def batch_indices(seed: int, phase: int, step: int, batch_size: int, count: int) -> np.ndarray:
    """Return the indices of the images in the batch of a step.

    Epochs follow each other without a gap, each a permutation of all images drawn for (seed, phase, epoch). A batch
    depends on the arguments alone, so a resumed run sees the same images as one that never stopped.

    >>> sorted(batch_indices(0, 0, 0, 2, 4).tolist() + batch_indices(0, 0, 1, 2, 4).tolist())
    [0, 1, 2, 3]
    """
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, offsets = np.divmod(places, count)
    indices = np.empty(batch_size, np.int64)
    for epoch in np.unique(epochs):
        indices[epochs == epoch] = _permutation(seed, phase, int(epoch), count)[offsets[epochs == epoch]]
    return indices


@lru_cache(maxsize=2)  # a batch mostly spans one or two epochs, and permuting a million images takes 20 ms
def _permutation(seed: int, phase: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, phase, epoch)).permutation(count)


class Batch(NamedTuple):
    """What a step learns from."""

    images: Float[Tensor, "batch 3 height width"]
    """In [0, 1]."""
    backgrounds: Float[Tensor, "batch 3 height width"] | None = None
    """Their frozen backgrounds, in [0, 1]; None if the phase has none."""
    residuals: Float[Tensor, "batch directions rows columns"] | None = None
    """Their coarse ground residuals, for a model of slow features."""

    def rows(self, start: int, stop: int) -> "Batch":
        """Return some of the images with their backgrounds and residuals."""
        along = (None if part is None else part[start:stop] for part in self[1:])
        return Batch(self.images[start:stop], *along)


@dataclass
class TrainingArray:
    """A stored array as training reads it: kept on the GPU if it fits there, else read from the memory map."""

    stored: np.ndarray
    device: torch.device

    def __post_init__(self) -> None:
        self._resident: Tensor | None = None
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if self.stored.nbytes < MAX_GPU_SHARE * free:
                self._resident = torch.from_numpy(np.array(self.stored)).to(self.device)

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, indices: np.ndarray) -> Tensor:
        if self._resident is not None:
            return self._to_floats(self._resident[to_device(torch.from_numpy(indices), self.device)])
        # In ascending order, because random access to a memory map is slow.
        order = np.argsort(indices)
        values = np.empty((len(indices), *self.stored.shape[1:]), self.stored.dtype)
        values[order] = self.stored[indices[order]]
        return self._to_floats(to_device(torch.from_numpy(values), self.device))

    def read_ahead(self, indices: np.ndarray) -> None:
        """Let the system fetch rows from the disk that will be read soon."""
        if self._resident is None:
            fetch_rows(self.stored, indices)

    def _to_floats(self, values: Tensor) -> Tensor:
        return values.float()


class TrainingImages(TrainingArray):
    """Stored images, uint8, N x H x W x 3; read as N x 3 x H x W in [0, 1]."""

    def _to_floats(self, values: Tensor) -> Tensor:
        return scale_uint8_images(values)


@dataclass
class TrainingSet:
    """The training images, with the backgrounds and residuals that each batch has beside them."""

    images: TrainingImages
    backgrounds: TrainingImages | None = None
    residuals: TrainingArray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: np.ndarray) -> Batch:
        backgrounds, residuals = (
            None if part is None else part[indices] for part in (self.backgrounds, self.residuals)
        )
        return Batch(self.images[indices], backgrounds, residuals)

    def read_ahead(self, indices: np.ndarray) -> None:
        """Let the system fetch a batch from the disk that will be read soon."""
        for part in (self.images, self.backgrounds, self.residuals):
            if part is not None:
                part.read_ahead(indices)


def flipped(batch: Batch, seed: int, phase: int, step: int, start: int = 0) -> Batch:
    """Return a batch in which each image, with its background and residuals, is mirrored with probability 1/2.

    Which images are mirrored left to right depends on the arguments alone: this may be a part of a batch, which begins
    at ``start``, and each image has the same random number in the part as in the whole batch.
    """
    random = np.random.default_rng((seed, phase, step, FLIPS))
    drawn = random.random(start + len(batch.images))[start:]
    chosen = to_device(torch.from_numpy(drawn < 0.5), batch.images.device)[:, None, None, None]
    images, *along = (None if part is None else torch.where(chosen, part.flip(-1), part) for part in batch)
    assert images is not None
    return Batch(images, *along)
