import math

import numpy as np
import pytest
import torch
from torch import Tensor

from astseg.model.attention import soft_argmax, spatial_softmax
from astseg.model.latents import ObjectLatents
from astseg.model.rendering import (
    DEEPEST_SHADOW,
    LabelRule,
    Rendering,
    composite,
    compositing_weights,
    place,
    posterior_weights,
    shaded,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sampled(glimpse: np.ndarray, position, inverse_scale, image_size: tuple[int, int]) -> np.ndarray:
    """A spatial transformer by hand: pixel centres at odd multiples of half a pixel, bilinear, zero outside."""
    channels, rows, columns = glimpse.shape
    height, width = image_size
    out = np.zeros((channels, height, width))
    for j in range(height):
        for i in range(width):
            x = ((i + 0.5) / width * 2 - 1 - position[0]) * inverse_scale[0]
            y = ((j + 0.5) / height * 2 - 1 - position[1]) * inverse_scale[1]
            column, row = (x + 1) / 2 * columns - 0.5, (y + 1) / 2 * rows - 0.5
            for r in (math.floor(row), math.floor(row) + 1):
                for c in (math.floor(column), math.floor(column) + 1):
                    if 0 <= r < rows and 0 <= c < columns:
                        out[:, j, i] += glimpse[:, r, c] * (1 - abs(row - r)) * (1 - abs(column - c))
    return out


def centre_of_mass(mask: Tensor) -> tuple[float, float]:
    """In the frame of pictures: -1 and 1 are the outer borders."""
    return tuple(soft_argmax(mask / mask.sum(), "consistent").tolist())


class TestPlace:
    @pytest.mark.parametrize("position", [(0.0, 0.0), (0.5, -0.25), (-1.0, 1.0), (0.13, 0.77)])
    @pytest.mark.parametrize("inverse_scale", [(1.0, 1.0), (1.3, 1.3), (2.0, 5.0), (24.0, 24.0)])
    def test_equals_a_sampler_by_hand(self, position, inverse_scale) -> None:
        glimpses = random(1, 1, 2, 4, 4)
        placed = place(
            glimpses,
            torch.tensor([[position]], dtype=torch.float64),
            torch.tensor([[inverse_scale]], dtype=torch.float64),
            (6, 10),
        )
        np.testing.assert_allclose(
            placed[0, 0], sampled(glimpses[0, 0].numpy(), position, inverse_scale, (6, 10)), atol=1e-12
        )

    def test_every_slot_of_every_picture_gets_its_own_place(self) -> None:
        glimpses, positions, scales = random(2, 3, 1, 4, 4), 2 * random(2, 3, 2) - 1, 1 + 3 * random(2, 3, 2)
        placed = place(glimpses, positions, scales, (8, 8))
        for n in range(2):
            for k in range(3):
                expected = sampled(glimpses[n, k].numpy(), positions[n, k].numpy(), scales[n, k].numpy(), (8, 8))
                np.testing.assert_allclose(placed[n, k], expected, atol=1e-12)

    def test_a_glimpse_covers_one_over_the_inverse_scale_of_the_picture(self) -> None:
        scales = torch.tensor([[[2.0, 4.0]]])
        placed = place(torch.ones(1, 1, 1, 16, 16), torch.zeros(1, 1, 2), scales, (64, 64))[0, 0, 0]
        assert placed.sum() / 64**2 == pytest.approx(1 / 8, abs=1e-3)
        assert (placed > 0.5).any(0).sum() == 32
        assert (placed > 0.5).any(1).sum() == 16

    @pytest.mark.parametrize("cell", [(2, 3), (4, 8), (5, 6)])
    @pytest.mark.parametrize(("convention", "stretch"), [("consistent", (1, 1)), ("published", (12 / 11, 8 / 7))])
    def test_where_a_blob_is_placed(self, cell, convention, stretch) -> None:
        """The consistent convention puts a glimpse on the blob; the published one puts it further out by w/(w - 1)."""
        logits = torch.full((8, 12), -1e3)
        logits[cell] = 0.0
        blob_x, blob_y = centre_of_mass(spatial_softmax(logits))
        position = soft_argmax(spatial_softmax(logits), convention)
        placed = place(torch.ones(1, 1, 1, 8, 8), position[None, None], torch.full((1, 1, 2), 12.0), (64, 96))
        assert centre_of_mass(placed[0, 0, 0]) == pytest.approx((stretch[0] * blob_x, stretch[1] * blob_y), abs=2e-3)

    def test_gradients(self) -> None:
        arguments = (random(1, 2, 1, 3, 3), random(1, 2, 2, seed=1) - 0.5, 1.5 + random(1, 2, 2, seed=2))
        for argument in arguments:
            argument.requires_grad_()
        assert torch.autograd.gradcheck(lambda g, p, s: place(g, p, s, (4, 5)), arguments)


class TestCompositingWeights:
    def test_equals_equation_17(self) -> None:
        masks, log_activations, background = random(2, 3, 4, 5), 4 * random(2, 3) - 2, random(4, 5)
        weights = compositing_weights(masks, log_activations, background)
        for n in range(2):
            layers = [math.e ** background.numpy()]
            layers += [math.e ** float(log_activations[n, k]) * masks[n, k].numpy() for k in range(3)]
            np.testing.assert_allclose(weights[n], np.array(layers) / sum(layers))

    @pytest.mark.parametrize("activation", [-1e4, -200.0, 0.0, 90.0, 1e4])
    @pytest.mark.parametrize("background", [-1e3, 11.0, 1e3])
    def test_extreme_activations(self, activation: float, background: float) -> None:
        masks = random(1, 2, 4, 4).float()
        masks[..., :2] = 0
        masks.requires_grad_()
        log_activations = torch.tensor([[activation, activation - 3]], requires_grad=True)
        log_background = torch.full((1, 1), background, requires_grad=True)
        weights = compositing_weights(masks, log_activations, log_background)
        torch.testing.assert_close(weights.sum(1), torch.ones(1, 4, 4))
        assert (weights >= 0).all()
        assert (weights[..., :2].argmax(1) == 0).all(), "where no mask reaches, the background shows"
        (weights * torch.arange(3.0)[:, None, None]).sum().backward()
        for tensor in (masks, log_activations, log_background):
            assert tensor.grad is not None
            assert tensor.grad.isfinite().all()

    def test_huge_activation_takes_the_pixels_of_its_mask(self) -> None:
        masks = torch.zeros(1, 2, 1, 2)
        masks[0, 1, 0, 0] = 0.5
        weights = compositing_weights(masks, torch.tensor([[0.0, 500.0]]), torch.full((1, 1), 11.0))
        torch.testing.assert_close(weights[0, :, 0, 0], torch.tensor([0.0, 0.0, 1.0]))
        torch.testing.assert_close(weights[0, :, 0, 1], torch.tensor([1.0, 0.0, 0.0]))

    def test_gradients(self) -> None:
        arguments = (random(1, 2, 2, 2), random(1, 2, seed=1), random(2, 2, seed=2) + 2)
        for argument in arguments:
            argument.requires_grad_()
        assert torch.autograd.gradcheck(compositing_weights, arguments)

    def test_gradients_where_an_object_is_the_strongest(self) -> None:
        arguments = (random(1, 2, 2, 2), random(1, 2, seed=1) + 3, random(1, 1, seed=2))
        for argument in arguments:
            argument.requires_grad_()
        assert torch.autograd.gradcheck(compositing_weights, arguments)


def test_composite_is_equation_18() -> None:
    weights, background, layers = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1), random(2, 2, 3, 4, 5, seed=2)
    expected = np.zeros((2, 3, 4, 5))
    for k, layer in enumerate([background, layers[:, 0], layers[:, 1]]):
        for channel in range(3):
            expected[:, channel] += weights[:, k].numpy() * layer[:, channel].numpy()
    np.testing.assert_allclose(composite(weights, background, layers), expected)


class TestShaded:
    def test_equals_the_formula(self) -> None:
        background, shadows = random(2, 3, 4, 5), random(2, 6, 4, 5, seed=1)
        found = shaded(background, shadows)
        for n, c, j, i in np.ndindex(2, 3, 4, 5):
            light = math.prod(1 - DEEPEST_SHADOW * shadow for shadow in shadows[n, :, j, i].tolist())
            assert found[n, c, j, i].item() == pytest.approx(light * background[n, c, j, i].item(), abs=1e-12)

    def test_no_shadow_leaves_the_background(self) -> None:
        background = random(1, 3, 2, 2)
        assert (shaded(background, torch.zeros(1, 3, 2, 2, dtype=torch.float64)) == background).all()

    def test_gradients(self) -> None:
        arguments = (random(1, 3, 2, 3).requires_grad_(), random(1, 2, 2, 3, seed=1).requires_grad_())
        assert torch.autograd.gradcheck(shaded, arguments)


class TestPosteriorWeights:
    def rendering(self) -> Rendering:
        weights = random(2, 4, 3, 5)
        weights = weights / weights.sum(1, keepdim=True)
        layers, background = random(2, 3, 3, 3, 5, seed=1), random(2, 3, 3, 5, seed=2)
        empty = torch.zeros(2, 3, 2, dtype=torch.float64)
        latents = ObjectLatents(empty, empty, empty[..., 0], empty)
        image = composite(weights, background, layers)
        return Rendering(image, weights, layers, random(2, 3, 3, 5, seed=3), background, latents)

    def test_equals_the_formula(self) -> None:
        rendering, images = self.rendering(), random(2, 3, 3, 5, seed=4)
        found = posterior_weights(rendering, images, LabelRule(2.0, 9.0, 0.7, 0))
        for n, j, i in np.ndindex(2, 3, 5):
            pixel = images[n, :, j, i].numpy()
            background = rendering.background[n, :, j, i].numpy()
            shades = np.linspace(1 - DEEPEST_SHADOW, 1, 100_001)
            nearest = shades[np.argmin(((pixel[:, None] - shades * background[:, None]) ** 2).sum(0))]
            errors = [9.0 * np.abs(pixel - nearest * background).sum() + 0.7]
            errors += [2.0 * np.abs(pixel - layer[:, j, i].numpy()).sum() for layer in rendering.layers[n]]
            expected = rendering.weights[n, :, j, i].numpy() * np.exp(-np.array(errors))
            np.testing.assert_allclose(found[n, :, j, i].numpy(), expected / expected.sum(), atol=1e-3)

    def test_no_evidence_leaves_the_weights(self) -> None:
        rendering = self.rendering()
        found = posterior_weights(rendering, random(2, 3, 3, 5, seed=4), LabelRule(0.0, 0.0, 0.0, 0))
        torch.testing.assert_close(found, rendering.weights)

    def test_a_shade_of_the_background_counts_as_background(self) -> None:
        rendering = self.rendering()
        rule = LabelRule(object_error=0.0, fewest_pixels=0)
        lit, dim = (posterior_weights(rendering, light * rendering.background, rule) for light in (1.0, 0.5))
        torch.testing.assert_close(lit, dim)
        too_dark = posterior_weights(rendering, 0.05 * rendering.background, rule)
        assert (too_dark[:, 0] < dim[:, 0]).all()

    def test_a_layer_without_weight_stays_without(self) -> None:
        rendering = self.rendering()
        rendering.weights[:, 1] = 0
        found = posterior_weights(rendering, torch.ones(2, 3, 3, 5, dtype=torch.float64), LabelRule())
        assert found[:, 1].max() < 1e-9
        torch.testing.assert_close(found.sum(1), torch.ones(2, 3, 5, dtype=torch.float64))

    @pytest.mark.parametrize(("fewest", "left"), [(0, True), (3, True), (4, False)])
    def test_crumbs_go_to_the_others(self, fewest: int, left: bool) -> None:
        rendering = self.rendering()
        rendering.weights[:] = torch.tensor([0.1, 0.2, 0.6, 0.1]).view(4, 1, 1)
        rendering.weights[:, :, 0, :3] = torch.tensor([0.1, 0.6, 0.2, 0.1]).view(4, 1)  # three pixels of slot 1
        found = posterior_weights(rendering, random(2, 3, 3, 5), LabelRule(0.0, 0.0, 0.0, fewest))
        owners = found.argmax(1)
        assert (owners == 1).any() == left
        assert (owners == 2).sum() == 2 * (12 if left else 15)
        torch.testing.assert_close(found.sum(1), torch.ones(2, 3, 5, dtype=torch.float64))

    def test_a_picture_of_crumbs_is_background(self) -> None:
        found = posterior_weights(self.rendering(), random(2, 3, 3, 5), LabelRule(0.0, 0.0, 0.0, 16))
        assert (found.argmax(1) == 0).all()

    def test_black_pictures_are_no_exception(self) -> None:
        black = torch.zeros(2, 3, 3, 5, dtype=torch.float64)
        rendering = self.rendering()._replace(background=black)
        assert posterior_weights(rendering, black, LabelRule()).isfinite().all()

    def test_refuses_negative_values(self) -> None:
        with pytest.raises(ValueError, match="no negative values"):
            LabelRule(background_error=-1.0)
