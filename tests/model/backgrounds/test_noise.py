import numpy as np
import pytest
import torch
from torch import Tensor

from astseg.model.backgrounds.noise import noise_from_distances


def pixel_scale(distances: np.ndarray) -> float:
    """The scale of one pixel in plain Python: the lower median, repeatedly taken of the values within three scales."""
    scale = np.inf
    for _ in range(6):
        kept = sorted(value for value in distances.tolist() if value <= 3 * scale)
        scale = kept[(len(kept) - 1) // 2] / 0.6745
    return scale


def noisy(count: int, deviation: float, seed: int = 0, size: tuple[int, int] = (12, 16)) -> Tensor:
    """Distances of images with normal noise that is equal in all channels."""
    return torch.from_numpy(np.abs(np.random.default_rng(seed).normal(0, deviation, (count, *size)))).float()


class TestNoise:
    def test_equals_a_clipped_median_at_each_pixel(self) -> None:
        distances = noisy(31, 0.02)
        distances[:9, 3:6] += 0.4
        own = np.array([[pixel_scale(distances[:, i, j].numpy()) for j in range(16)] for i in range(12)])
        typical = np.sort(own.ravel())[(own.size - 1) // 2]
        expected = np.maximum(np.sqrt(own * typical), 1 / 255)
        np.testing.assert_allclose(noise_from_distances(distances).numpy(), expected, rtol=1e-5)

    def test_is_the_standard_deviation_of_normal_noise(self) -> None:
        noise = noise_from_distances(noisy(400, 0.03))
        assert noise.median() == pytest.approx(0.03, rel=0.05)
        assert noise.aminmax().max < 1.2 * noise.aminmax().min

    def test_is_proportional_to_the_distances(self) -> None:
        distances = noisy(50, 0.02)
        torch.testing.assert_close(noise_from_distances(3 * distances), 3 * noise_from_distances(distances))

    def test_is_robust_to_passing_objects(self) -> None:
        """With objects in two of five images, the median alone would be 1.6 times as large."""
        empty = noisy(200, 0.02)
        passed = empty.clone()
        passed[::5] += 0.5
        passed[1::5] += 0.2
        ratio = noise_from_distances(passed) / noise_from_distances(empty)
        assert ratio.max() < 1.35
        assert ratio.median() < 1.1

    def test_hardly_depends_on_the_choice_of_images(self) -> None:
        distances = noisy(800, 0.02)
        ratio = noise_from_distances(distances[::4]) / noise_from_distances(distances)
        assert 0.8 < ratio.min() < ratio.max() < 1.25

    def test_is_larger_where_pixels_vary_more(self) -> None:
        distances = noisy(100, 0.02)
        distances[:, :6] *= 4  # half of the pixels, so that the other half is typical
        noise = noise_from_distances(distances)
        assert noise[:6].median() / noise[6:].median() == pytest.approx(2, rel=0.1)

    @pytest.mark.parametrize(("count", "everywhere_the_same"), [(1, True), (9, True), (10, False)])
    def test_is_the_same_for_all_pixels_of_few_images(self, count: int, everywhere_the_same: bool) -> None:
        noise = noise_from_distances(noisy(count, 0.02))
        assert bool((noise == noise[0, 0]).all()) is everywhere_the_same

    def test_is_at_least_the_precision_of_8_bits(self) -> None:
        torch.testing.assert_close(noise_from_distances(torch.zeros(20, 4, 5)), torch.full((4, 5), 1 / 255))
