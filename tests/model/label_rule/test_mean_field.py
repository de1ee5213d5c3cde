import numpy as np
import pytest
import torch
from tests.tensors import random

from astseg.model.label_rule.mean_field import NUM_MEAN_FIELD_STEPS, mean_field_smoothing, neighbor_affinities


class TestMeanFieldSmoothing:
    def test_equals_a_loop_over_pixels(self) -> None:
        log_weights, images = 3 * random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
        found = mean_field_smoothing(log_weights, neighbor_affinities(images, 0.7), 1.3)
        for own, image, result in zip(log_weights.numpy(), images.numpy(), found.numpy(), strict=True):
            weights = np.exp(own) / np.exp(own).sum(0)
            for _ in range(NUM_MEAN_FIELD_STEPS):
                pulled = own.copy()
                for j, i, y, x in np.ndindex(4, 5, 4, 5):
                    if max(abs(j - y), abs(i - x)) == 1:
                        affinity = np.exp(-np.abs(image[:, j, i] - image[:, y, x]).sum() / 0.7)
                        pulled[:, j, i] += 1.3 * affinity * weights[:, y, x]
                weights = np.exp(pulled) / np.exp(pulled).sum(0)
            np.testing.assert_allclose(result, weights, rtol=1e-9)

    def test_no_pull_leaves_each_pixel_alone(self) -> None:
        log_weights = random(1, 3, 4, 5)
        found = mean_field_smoothing(log_weights, neighbor_affinities(random(1, 3, 4, 5), 0.1), 0.0)
        assert (found == log_weights.softmax(1)).all()

    def test_the_pull_ends_at_edges(self) -> None:
        log_weights = torch.zeros(1, 2, 1, 6, dtype=torch.float64)
        log_weights[:, 1, :, 0] = 5.0  # one pixel prefers layer 1, the others are undecided
        images = torch.zeros(1, 3, 1, 6, dtype=torch.float64)
        images[..., 3:] = 1
        found = mean_field_smoothing(log_weights, neighbor_affinities(images, 0.1), 4.0)[0, :, 0]
        assert (found[1, :3] > 0.9).all()
        torch.testing.assert_close(found[1, 3:], torch.full((3,), 0.5, dtype=torch.float64))

    @pytest.mark.parametrize("dimensions", [(2,), (3,), (2, 3)])
    def test_no_direction_is_favored(self, dimensions: tuple[int, ...]) -> None:
        log_weights, images = random(1, 3, 4, 5), random(1, 3, 4, 5, seed=1)
        affinities = neighbor_affinities(images.flip(dimensions), 0.3)
        turned = mean_field_smoothing(log_weights.flip(dimensions), affinities, 2.0)
        straight = mean_field_smoothing(log_weights, neighbor_affinities(images, 0.3), 2.0)
        torch.testing.assert_close(turned.flip(dimensions), straight)

    def test_a_single_pixel_has_no_neighbors(self) -> None:
        log_weights = random(2, 3, 1, 1)
        found = mean_field_smoothing(log_weights, neighbor_affinities(random(2, 3, 1, 1), 0.1), 4.0)
        torch.testing.assert_close(found, log_weights.softmax(1))
