import numpy as np
import pytest
import torch
from scipy import ndimage

from astseg.model.backgrounds.ae_ne_mask import ae_ne_foreground_mask
from astseg.model.backgrounds.base import BackgroundReconstruction


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
