import numpy as np
import pytest
import torch
from scipy import ndimage

from astseg.model.backgrounds.noise import background_distance, noise_from_distances
from astseg.model.label_rule.foreground import foreground_weights, noise_foreground_mask
from astseg.model.label_rule.mean_field import neighbor_affinities
from astseg.model.label_rule.settings import LabelRule
from astseg.model.resizing import resized


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
        noise = noise_from_distances(background_distance(images, backgrounds))
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

    def test_a_cast_shadow_is_background_where_the_rule_allows_for_it(self) -> None:
        torch.manual_seed(0)
        backgrounds = 0.3 + 0.4 * torch.rand(1, 3, 20, 30)
        images = backgrounds.clone()
        images[..., 3:9, 3:9] *= 0.6
        images[:, :, 12:18, 12:18] = torch.tensor([0.7, 0.1, 0.2])[:, None, None]
        shadow, thing = torch.zeros(2, 20, 30, dtype=torch.bool)
        shadow[3:9, 3:9], thing[12:18, 12:18] = True, True
        noise = torch.full((20, 30), 0.01)

        def foreground(noise_shade: float) -> torch.Tensor:
            rule = LabelRule(noise_multiple=7.0, noise_shade=noise_shade)
            return foreground_weights(images, backgrounds, noise, rule)[0, 1] > 0.5

        assert foreground(0.0).equal(shadow | thing)
        assert foreground(0.1)[shadow].float().mean() > 0.8
        assert foreground(0.5).equal(thing)

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
