import hashlib

import numpy as np
import torch

from astseg.data.scenes.noise import BLOCK_SIDE, CELL_SIDE, noise, noise_block

BLOCK_HASH = "7f6cf01ae7cb70dda855e0099eb7c428283a7f108328b780b189c240f7dec842"


def test_block_never_changes() -> None:
    assert hashlib.sha256(noise_block().tobytes()).hexdigest() == BLOCK_HASH


def test_values_spread_over_the_whole_range() -> None:
    block = noise_block()
    assert block.min() == 0
    assert block.max() == 1
    assert 0.4 < block.mean() < 0.6
    assert block.std() > 0.2


def test_block_is_smooth_across_its_ends() -> None:
    block = noise_block()
    for axis in range(3):
        inside = np.abs(np.diff(block, axis=axis)).mean()
        across = np.abs(block.take(0, axis) - block.take(-1, axis)).mean()
        assert across < 1.5 * inside


def test_lookup_agrees_with_interpolation_by_hand() -> None:
    block = noise_block().astype(np.float64)
    places = np.random.default_rng(0).uniform(-20, 20, (3, 50)).astype(np.float32)
    found = noise(torch.from_numpy(places)).numpy()
    for place, value in zip(places.T.astype(np.float64) * CELL_SIDE, found, strict=True):
        low = np.floor(place).astype(int)
        share = place - low
        expected = 0.0
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, share, 1 - share))
            expected += weight * block[tuple((low + corner) % BLOCK_SIDE)]
        assert abs(value - expected) < 1e-4


def test_noise_repeats_after_the_block() -> None:
    places = torch.rand(3, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(noise(places), noise(places + BLOCK_SIDE / CELL_SIDE), atol=1e-4, rtol=0)
