import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from astseg.model.backgrounds.base import BackgroundReconstruction
from astseg.model.foreground_mask import (
    ae_ne_foreground_mask,
    background_distance,
    background_noise,
    foreground_weights,
    noise_foreground_mask,
)
from astseg.model.mean_field import neighbor_affinities
from astseg.model.postprocessing import LabelRule
from astseg.model.resizing import resized


def expected_mask(image: np.ndarray, background: np.ndarray, error: np.ndarray) -> np.ndarray:
    """AE-NE's rule pixel by pixel, on the 0-255 scale."""
    height, width = image.shape[1:]
    mask = np.zeros((height, width), bool)
    mean = np.mean(255 * background)
    for i in range(height):
        for j in range(width):
            distance = sum(abs(255 * image[c, i, j] - 255 * background[c, i, j]) for c in range(3)) / 3
            mask[i, j] = 3 * max(0, distance - 7 * 255 * error[0, i, j]) > 96 / 255 * mean
    return mask


class TestAeNeRule:
    def test_equals_the_rule(self) -> None:
        random = np.random.default_rng(0)
        images, backgrounds = random.random((2, 3, 8, 9)), random.random((2, 3, 8, 9))
        backgrounds[1] *= 0.3  # each image has a threshold of its own
        errors = 0.06 * random.random((2, 1, 8, 9))
        reconstruction = BackgroundReconstruction(torch.tensor(backgrounds), torch.tensor(errors))
        found = ae_ne_foreground_mask(torch.tensor(images), reconstruction).numpy()
        assert 0.2 < found.mean() < 0.9
        for n in range(2):
            np.testing.assert_array_equal(found[n], expected_mask(images[n], backgrounds[n], errors[n]))

    @pytest.mark.parametrize(("width", "cleaned"), [(399, False), (400, True)])
    def test_large_images_are_cleaned(self, width: int, cleaned: bool) -> None:
        image = torch.zeros(1, 3, 40, width)
        image[..., 10:30, 20:60] = 1  # a block with a hole
        image[..., 20, 40] = 0
        image[..., 5, 100:103] = 1  # a speck
        reconstruction = BackgroundReconstruction(torch.zeros_like(image), torch.zeros(1, 1, 40, width))
        (found,) = ae_ne_foreground_mask(image, reconstruction)
        assert bool(found[20, 40]) is cleaned
        assert bool(found[5, 101]) is not cleaned
        assert found[10:30, 20:60].sum() >= 20 * 40 - 1

    def test_cleaning_away_from_the_border_is_a_closing_and_an_opening(self) -> None:
        random = np.random.default_rng(0)
        coarse = ndimage.gaussian_filter(random.random((60, 400)), 2) > 0.5
        image = torch.tensor(coarse, dtype=torch.float32).expand(1, 3, -1, -1)
        reconstruction = BackgroundReconstruction(torch.zeros(1, 3, 60, 400), torch.zeros(1, 1, 60, 400))
        (found,) = ae_ne_foreground_mask(image, reconstruction)
        closed = ndimage.binary_closing(coarse, np.ones((5, 5)))
        expected = ndimage.binary_opening(closed, np.ones((7, 7)))
        np.testing.assert_array_equal(found[10:-10, 10:-10], expected[10:-10, 10:-10])


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
        np.testing.assert_allclose(background_noise(distances).numpy(), expected, rtol=1e-5)

    def test_is_the_standard_deviation_of_normal_noise(self) -> None:
        noise = background_noise(noisy(400, 0.03))
        assert noise.median() == pytest.approx(0.03, rel=0.05)
        assert noise.aminmax().max < 1.2 * noise.aminmax().min

    def test_is_proportional_to_the_distances(self) -> None:
        distances = noisy(50, 0.02)
        torch.testing.assert_close(background_noise(3 * distances), 3 * background_noise(distances))

    def test_is_robust_to_passing_objects(self) -> None:
        """With objects in two of five images, the median alone would be 1.6 times as large."""
        empty = noisy(200, 0.02)
        passed = empty.clone()
        passed[::5] += 0.5
        passed[1::5] += 0.2
        ratio = background_noise(passed) / background_noise(empty)
        assert ratio.max() < 1.35
        assert ratio.median() < 1.1

    def test_hardly_depends_on_the_choice_of_images(self) -> None:
        distances = noisy(800, 0.02)
        ratio = background_noise(distances[::4]) / background_noise(distances)
        assert 0.8 < ratio.min() < ratio.max() < 1.25

    def test_is_larger_where_pixels_vary_more(self) -> None:
        distances = noisy(100, 0.02)
        distances[:, :6] *= 4  # half of the pixels, so that the other half is typical
        noise = background_noise(distances)
        assert noise[:6].median() / noise[6:].median() == pytest.approx(2, rel=0.1)

    @pytest.mark.parametrize(("count", "everywhere_the_same"), [(1, True), (9, True), (10, False)])
    def test_is_the_same_for_all_pixels_of_few_images(self, count: int, everywhere_the_same: bool) -> None:
        noise = background_noise(noisy(count, 0.02))
        assert bool((noise == noise[0, 0]).all()) is everywhere_the_same

    def test_is_at_least_the_precision_of_8_bits(self) -> None:
        torch.testing.assert_close(background_noise(torch.zeros(20, 4, 5)), torch.full((4, 5), 1 / 255))


def expected_noise_mask(image: np.ndarray, background: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The rule pixel by pixel: log-odds of foreground, and five steps of the mean field."""
    own = 2 * (np.abs(image - background).mean(0) / (7 * noise) - 1)
    log_odds = own
    for _ in range(5):
        belief = np.tanh(log_odds / 2)  # the probability of foreground minus that of background
        log_odds = own.copy()
        for i, j, a, b in np.ndindex(*noise.shape, *noise.shape):
            if max(abs(i - a), abs(j - b)) == 1:
                log_odds[i, j] += 4 * np.exp(-np.abs(image[:, i, j] - image[:, a, b]).sum() / 0.1) * belief[a, b]
    return np.asarray(log_odds > 0)


class TestForegroundWeights:
    def test_half_the_distance_is_enough_where_foreground_is_expected(self) -> None:
        random = np.random.default_rng(0)
        images = torch.tensor(random.random((2, 3, 9, 11)))  # without neighbors of like color
        noise = torch.tensor(0.02 + 0.02 * random.random((9, 11)))
        backgrounds = torch.full_like(images, 0.5)
        distances, expected = background_distance(images, backgrounds), torch.tensor(random.random((2, 9, 11)) < 0.5)
        backgrounds = images + (backgrounds - images) * (noise * 7 * 0.75 / distances)[:, None]  # three quarters
        weights = foreground_weights(images, backgrounds, noise, LabelRule(noise_multiple=7.0), expected)
        torch.testing.assert_close(weights.sum(1), torch.ones(2, 9, 11, dtype=torch.double))
        apart = neighbor_affinities(images, 0.1).amax((0, 2)) < 1e-3
        assert apart.sum() > 30
        assert ((weights[:, 1] > 0.5) == expected)[apart].all()
        assert (weights[:, 1] < 0.5)[apart & ~expected].all()


class TestNoiseRule:
    def test_equals_the_rule(self) -> None:
        random = np.random.default_rng(0)
        images = np.round(4 * ndimage.gaussian_filter(random.random((2, 3, 9, 11)), (0, 0, 1, 1))) / 4
        images = images + random.normal(0, 0.02, images.shape)
        backgrounds = np.full_like(images, 0.5)
        noise = 0.01 + 0.02 * random.random((9, 11))
        found = noise_foreground_mask(torch.tensor(images), torch.tensor(backgrounds), torch.tensor(noise)).numpy()
        assert 0.1 < found.mean() < 0.9
        for n in range(2):
            np.testing.assert_array_equal(found[n], expected_noise_mask(images[n], backgrounds[n], noise))

    @pytest.mark.parametrize("deviation", [0.0, 0.01, 0.04])
    def test_finds_a_whole_object_and_nothing_else(self, deviation: float) -> None:
        """An object at ten times the noise, for any noise."""
        torch.manual_seed(0)
        background = torch.rand(1, 3, 1, 1).expand(1, 3, 24, 32) / 4 + 0.2
        images = (background + deviation * torch.randn(40, 1, 24, 32)).clamp(0, 1)
        backgrounds = background.expand_as(images)
        noise = background_noise(background_distance(images, backgrounds))
        assert not noise_foreground_mask(images, backgrounds, noise).any()
        seen = images[:1].clone()
        seen[..., 8:16, 10:20] += 10 * max(deviation, 1 / 255)
        expected = torch.zeros(24, 32, dtype=torch.bool)
        expected[8:16, 10:20] = True
        (found,) = noise_foreground_mask(seen, background, noise)
        assert (found & expected).sum() / (found | expected).sum() > 0.95

    def test_a_bar_is_found_in_images_of_other_proportions(self) -> None:
        background = torch.full((1, 3, 512, 64), 0.4)
        image = background.clone()
        image[..., 30:34] = 0.9
        small, plain = (resized(one, (64, 64)) for one in (image, background))
        (found,) = noise_foreground_mask(small, plain, torch.full((64, 64), 0.01), image)
        expected = (image != background)[0, 0]
        assert (found & expected).sum() / (found | expected).sum() > 0.7

    def test_an_image_that_is_its_background_has_no_foreground(self) -> None:
        images = torch.rand(3, 3, 20, 30)
        assert not noise_foreground_mask(images, images, torch.full((20, 30), 1 / 255)).any()

    def test_parts_like_the_background_join_their_surroundings(self) -> None:
        image = torch.full((1, 3, 20, 20), 0.2)
        background = image.clone()
        image[..., 5:15, 5:15] = 0.25
        background[..., 9:11, 9:11] = 0.24  # hardly different from the image
        noise = torch.full((20, 20), 0.006)
        (found,) = noise_foreground_mask(image, background, noise)
        assert found[5:15, 5:15].all()
        assert found.sum() == 100

    def test_larger_originals_decide_the_rims(self) -> None:
        """An object whose rim runs through the pixels that the network saw, and a speck smaller than one of them."""
        original = torch.zeros(1, 3, 48, 64)
        original[..., 11:35, 17:47] = 1
        expected = original[0, 0] > 0
        original[..., 40, 5] = 1
        image = resized(original, (24, 32))
        (found,) = noise_foreground_mask(image, torch.zeros_like(image), torch.full((24, 32), 0.005), original)
        wrong = (found != expected).nonzero()
        assert len(wrong) <= 12, "three pixels of a corner have more neighbors without than within"
        assert {*wrong[:, 0].tolist()} <= {11, 12, 33, 34}

    def test_smaller_originals_do_not(self) -> None:
        image = torch.zeros(1, 3, 24, 32)
        image[..., 6:18, 8:24] = 1
        original = resized(image, (12, 16))
        (found,) = noise_foreground_mask(image, torch.zeros_like(image), torch.full((24, 32), 0.01), original)
        expected = torch.zeros(12, 16, dtype=torch.bool)
        expected[3:9, 4:12] = True
        assert (found == expected).all()
