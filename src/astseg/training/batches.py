"""Batches of prepared images, which depend on no state but the number of the step."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from astseg._core.image_conversion import scale_uint8_images
from astseg.data.store import Bytes

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


@dataclass
class TrainingImages:
    """Stored images as training reads them: kept on the GPU if they fit there, else read from the memory map."""

    stored: Bytes
    device: torch.device

    def __post_init__(self) -> None:
        self._resident: Tensor | None = None
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if self.stored.nbytes < MAX_GPU_SHARE * free:
                self._resident = torch.from_numpy(np.array(self.stored)).to(self.device)

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, indices: np.ndarray) -> Float[Tensor, "batch 3 height width"]:
        if self._resident is not None:
            # Non-blocking, here and below: the GPU may still be busy with the last step.
            return scale_uint8_images(self._resident[torch.from_numpy(indices).to(self.device, non_blocking=True)])
        # In ascending order, because random access to a memory map is slow.
        order = np.argsort(indices)
        images = np.empty((len(indices), *self.stored.shape[1:]), np.uint8)
        images[order] = self.stored[indices[order]]
        return scale_uint8_images(torch.from_numpy(images).to(self.device, non_blocking=True))
