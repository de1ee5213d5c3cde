from pathlib import Path

import numpy as np
import pytest
import torch

from astseg._core.image_conversion import scale_uint8_images
from astseg.data.store import Bytes
from astseg.training.batches import TrainingImages, batch_indices


def stream(count: int, batch_size: int, steps: int, seed: int = 0, phase: int = 0) -> list[int]:
    return [i for step in range(steps) for i in batch_indices(seed, phase, step, batch_size, count).tolist()]


class TestIndices:
    @pytest.mark.parametrize(("count", "batch_size"), [(10, 2), (10, 3), (7, 7), (3, 8), (1, 4)])
    def test_every_epoch_is_a_permutation(self, count: int, batch_size: int) -> None:
        indices = stream(count, batch_size, 30)
        assert all(len(batch_indices(0, 0, step, batch_size, count)) == batch_size for step in range(30))
        for start in range(0, len(indices) - count, count):
            assert sorted(indices[start : start + count]) == list(range(count))

    def test_epochs_phases_and_seeds_differ(self) -> None:
        first = stream(50, 50, 1)
        assert first != sorted(first)
        assert stream(50, 50, 2)[50:] != first
        assert stream(50, 50, 1, phase=1) != first
        assert stream(50, 50, 1, seed=1) != first

    def test_depends_on_nothing_else(self) -> None:
        expected = batch_indices(3, 1, 17, 8, 21).tolist()
        np.random.default_rng().random()
        torch.rand(3)
        assert batch_indices(3, 1, 17, 8, 21).tolist() == expected


class TestImages:
    def test_reads_in_the_order_asked_for(self, tiny_images: Bytes) -> None:
        images = TrainingImages(tiny_images, torch.device("cpu"))
        indices = np.array([7, 0, 11, 0, 3])
        found = images[indices]
        assert found.dtype == torch.float32
        expected = tiny_images[indices].transpose(0, 3, 1, 2).astype(np.float32) / 255
        np.testing.assert_array_equal(found, expected)
        assert len(images) == 12

    def test_memory_maps_stay_as_they_are(self, tiny_images: Bytes, tmp_path: Path) -> None:
        np.save(tmp_path / "images.npy", tiny_images)
        stored = np.load(tmp_path / "images.npy", mmap_mode="r")
        found = TrainingImages(stored, torch.device("cpu"))[np.array([2, 1])]
        found.zero_()
        np.testing.assert_array_equal(stored, tiny_images)

    def test_channels_lie_last_in_memory(self) -> None:
        images = scale_uint8_images(torch.zeros(2, 4, 5, 3, dtype=torch.uint8))
        assert images.shape == (2, 3, 4, 5)
        assert images.is_contiguous(memory_format=torch.channels_last)
