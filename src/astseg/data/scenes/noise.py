"""Fractal noise in space, looked up in a block that repeats."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

BLOCK_SIDE = 64
"""Voxels along each side of the block."""

CELL_SIDE = 8
"""Voxels between the random values of the coarsest octave; the block repeats after BLOCK_SIDE / CELL_SIDE periods."""

OCTAVES = ((8, 8), (4, 4), (2, 2), (1, 1))
"""Spacing in voxels and weight of each octave."""

NOISE_KEY = 0x5CE9E5


def noise(place: Float[Tensor, "3 rays"]) -> Float[Tensor, " rays"]:
    """Return values from 0 to 1, 0.5 on average, smooth at one unit of length with detail down to 1/8."""
    block = _block(place.device)
    place = place * CELL_SIDE
    whole = torch.floor(place)
    x, y, z = place - whole
    low = whole.long() & (BLOCK_SIDE - 1)
    high = (low + 1) & (BLOCK_SIDE - 1)
    columns = []
    for ix in (low[0], high[0]):
        rows = []
        for iy in (low[1], high[1]):
            row = (ix * BLOCK_SIDE + iy) * BLOCK_SIDE
            near, far = block[row + low[2]], block[row + high[2]]
            rows.append(near + (far - near) * z)
        columns.append(rows[0] + (rows[1] - rows[0]) * y)
    value: Tensor = columns[0] + (columns[1] - columns[0]) * x
    return value


@lru_cache(maxsize=4)
def _block(device: torch.device) -> Float[Tensor, " voxels"]:
    return torch.from_numpy(noise_block().reshape(-1)).to(device)


def noise_block() -> npt.NDArray[np.float32]:
    """Return BLOCK_SIDE^3 values from 0 to 1, summed as integers so that they are the same on every machine."""
    total = np.zeros((BLOCK_SIDE, BLOCK_SIDE, BLOCK_SIDE), np.int64)
    for octave, (spacing, weight) in enumerate(OCTAVES):
        count = BLOCK_SIDE // spacing
        philox = np.random.Philox(key=np.array([NOISE_KEY, octave], np.uint64))
        words = philox.random_raw(count**3) >> np.uint64(48)
        lattice = words.astype(np.int64).reshape(count, count, count)
        for axis in range(3):
            lattice = _upsampled(lattice, spacing, axis)
        # Each axis has multiplied the values by the spacing.
        total += lattice * (weight * (8 // spacing) ** 3)
    # Sums of many values lie close to their mean: stretch the middle 96 % over the whole range.
    ordered = np.sort(total, axis=None)
    low, high = int(ordered[total.size // 50]), int(ordered[-(total.size // 50)])
    spread = np.clip((total - low) / (high - low), 0, 1)
    return np.asarray(spread, np.float32)


def _upsampled(lattice: npt.NDArray[np.int64], spacing: int, axis: int) -> npt.NDArray[np.int64]:
    """Interpolate linearly and periodically along an axis to `spacing` values per value, each times the spacing."""
    following = np.roll(lattice, -1, axis)
    steps = [lattice * (spacing - step) + following * step for step in range(spacing)]
    return np.stack(steps, axis + 1).reshape(
        *lattice.shape[:axis], lattice.shape[axis] * spacing, *lattice.shape[axis + 1 :]
    )
