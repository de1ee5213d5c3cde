import math

import numpy as np
import pytest
import torch
from tests.tensors import random
from torch import Tensor

from astseg.model.backgrounds.base import BackgroundReconstruction
from astseg.training.losses import (
    background_loss,
    background_pixel_error,
    pixel_entropy,
    pixel_entropy_loss,
    reconstruction_loss,
    robust_weights,
    slot_use_loss,
)


def random_weights(*shape: int) -> Tensor:
    return (4 * random(*shape)).softmax(1)


class TestReconstruction:
    def test_equals_equations_19_and_20(self) -> None:
        found, images = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
        total = 0.0
        for n in range(2):
            for j in range(4):
                for i in range(5):
                    total += sum(abs(float(found[n, c, j, i] - images[n, c, j, i])) for c in range(3)) ** 2
        assert reconstruction_loss(found, images).item() == pytest.approx(total / (2 * 4 * 5))

    def test_gradients(self) -> None:
        found = random(1, 3, 2, 2).requires_grad_()
        assert torch.autograd.gradcheck(reconstruction_loss, (found, random(1, 3, 2, 2, seed=1)))


class TestEntropy:
    def test_equals_equation_21(self) -> None:
        weights = random_weights(2, 4, 3, 5)
        squares = [
            sum(float(w) * math.log(float(w) + 1e-20) for w in weights[n, :, j, i]) ** 2
            for n in range(2)
            for j in range(3)
            for i in range(5)
        ]
        assert pixel_entropy_loss(weights).item() == pytest.approx(np.mean(squares))

    def test_one_hot_costs_nothing_and_even_weights_most(self) -> None:
        one_hot = torch.eye(4)[:, :, None, None]
        assert pixel_entropy_loss(one_hot).item() == pytest.approx(0)
        even = torch.full((1, 4, 1, 1), 0.25)
        assert pixel_entropy(even).item() == pytest.approx(math.log(4))
        assert pixel_entropy_loss(random_weights(1, 4, 9, 9)).item() < pixel_entropy_loss(even).item()

    def test_gradients_stay_finite_at_one_hot(self) -> None:
        weights = torch.eye(4)[:, :, None, None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(pixel_entropy_loss(weights), weights)
        assert gradient.isfinite().all()

    def test_gradients(self) -> None:
        assert torch.autograd.gradcheck(pixel_entropy_loss, random_weights(1, 3, 2, 2).requires_grad_())


class TestSlotUse:
    def test_counts_the_slots_in_use(self) -> None:
        weights = torch.zeros(2, 4, 20, 20)
        weights[:, 0] = 1
        weights[0, 1, :10] = 1  # slots 1 and 3 own much of the first image
        weights[0, 3, 10:] = 1
        assert slot_use_loss(weights).item() == pytest.approx((2 + 0) / 2, abs=1e-3)

    def test_equals_the_formula(self) -> None:
        weights = random_weights(2, 3, 4, 5)
        expected = np.mean([sum(math.tanh(float(weights[n, k].sum()) / 20) for k in (1, 2)) for n in range(2)])
        assert slot_use_loss(weights).item() == pytest.approx(expected)

    def test_a_second_slot_on_the_same_pixels_costs_more_than_one(self) -> None:
        alone = torch.zeros(1, 3, 10, 10)
        alone[:, 1] = 1
        shared = torch.zeros(1, 3, 10, 10)
        shared[:, 1:] = 0.5
        assert slot_use_loss(shared) > 1.9 * slot_use_loss(alone)


def smooth_l1(difference: float, beta: float) -> float:
    difference = abs(difference)
    return 0.5 * difference**2 / beta if difference < beta else difference - 0.5 * beta


def expected_background_loss(images: np.ndarray, painted: np.ndarray, error: np.ndarray, exponent: float) -> float:
    """Pixel by pixel and window by window, on the 0-255 scale."""
    batch, _, height, width = images.shape
    reach = width // 75
    total = 0.0
    for n in range(batch):
        errors = np.zeros((height, width))
        for j in range(height):
            for i in range(width):
                errors[j, i] = sum(
                    smooth_l1(255 * images[n, c, j, i] - 255 * painted[n, c, j, i], 3) / 255 for c in range(3)
                )
        for j in range(height):
            for i in range(width):
                window = errors[max(0, j - reach) : j + reach + 1, max(0, i - reach) : i + reach + 1]
                weight = math.exp(-exponent * np.tanh(window / 0.25).mean())
                total += (errors[j, i] + smooth_l1(error[n, 0, j, i] - errors[j, i] / 3, 3 / 255)) * weight
    return float(total / (batch * height * width))


class TestBackground:
    @pytest.mark.parametrize(("width", "exponent"), [(40, 6.0), (76, 6.0), (151, 2.5)])
    def test_equals_the_formula(self, width: int, exponent: float) -> None:
        images = random(2, 3, 6, width)
        # Errors of all sizes: below and above the smooth range, small and saturated.
        painted = images + 0.3 * (random(2, 3, 6, width, seed=1) - 0.5) * random(2, 1, 6, width, seed=2) ** 2
        error = 0.1 * random(2, 1, 6, width, seed=3)
        found = background_loss(images, BackgroundReconstruction(painted, error), exponent)
        expected = expected_background_loss(images.numpy(), painted.numpy(), error.numpy(), exponent)
        assert found.item() == pytest.approx(expected)

    def test_range_of_the_error(self) -> None:
        black, white = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
        assert background_pixel_error(black, black).max() == 0
        assert background_pixel_error(black, white)[0, 0, 0].item() == pytest.approx(3 * (255 - 1.5) / 255)

    def test_objects_lose_weight(self) -> None:
        weights = robust_weights(torch.tensor([[[0.0, 3.0]]]))
        assert weights.flatten().tolist() == pytest.approx([1, math.exp(-6)], rel=1e-3)
        assert (robust_weights(torch.rand(1, 5, 80), exponent=0.0) == 1).all()

    def test_weights_and_errors_pass_no_gradient_where_they_should_not(self) -> None:
        """The gradient is that of the loss with the weight and the target of the prediction held constant."""
        images, painted = random(1, 3, 4, 80), random(1, 3, 4, 80, seed=1).requires_grad_()
        error = random(1, 1, 4, 80, seed=2).requires_grad_()
        loss = background_loss(images, BackgroundReconstruction(painted, error))
        image_gradient, error_gradient = torch.autograd.grad(loss, (painted, error))
        errors = background_pixel_error(images, painted)
        weights = robust_weights(errors).detach()
        (by_image,) = torch.autograd.grad((errors * weights).mean(), painted)
        torch.testing.assert_close(image_gradient, by_image)
        assert error_gradient.abs().min() > 0
