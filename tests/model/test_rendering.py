import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.tensors import random
from torch import Tensor

from astseg.model.attention import CornerConvention, soft_argmax, spatial_softmax
from astseg.model.rendering import MAX_SHADOW, apply_shadows, composite, compositing_weights, place_glimpses


def sampled(
    glimpse: Tensor, position: Sequence[float], inverse_scale: Sequence[float], image_size: tuple[int, int]
) -> np.ndarray:
    """A spatial transformer by hand: pixel centers at odd multiples of half a pixel, bilinear, zero outside."""
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
                        out[:, j, i] += glimpse[:, r, c].numpy() * (1 - abs(row - r)) * (1 - abs(column - c))
    return out


def placed_by_affine_maps(
    glimpses: Tensor, positions: Tensor, inverse_scales: Tensor, image_size: tuple[int, int]
) -> Tensor:
    """The spatial transformer as the paper has it: a grid from a matrix for each glimpse."""
    shifts = -positions * inverse_scales
    matrices = torch.cat((torch.diag_embed(inverse_scales), shifts[..., None]), -1).flatten(0, 1)
    shape = [len(matrices), glimpses.shape[2], *image_size]
    placed = F.grid_sample(glimpses.flatten(0, 1), F.affine_grid(matrices, shape, False), align_corners=False)
    return placed.view(*glimpses.shape[:3], *image_size)


def center_of_mass(mask: Tensor) -> tuple[float, float]:
    """In the frame of images: -1 and 1 are the outer borders."""
    x, y = soft_argmax(mask / mask.sum(), "consistent").tolist()
    return x, y


def with_gradients(*arguments: Tensor) -> tuple[Tensor, ...]:
    return tuple(argument.requires_grad_() for argument in arguments)


class TestPlaceGlimpses:
    @pytest.mark.parametrize("position", [(0.0, 0.0), (0.5, -0.25), (-1.0, 1.0), (0.13, 0.77)])
    @pytest.mark.parametrize("inverse_scale", [(1.0, 1.0), (1.3, 1.3), (2.0, 5.0), (24.0, 24.0)])
    def test_equals_a_sampler_by_hand(self, position: tuple[float, float], inverse_scale: tuple[float, float]) -> None:
        glimpses = random(1, 1, 2, 4, 4)
        positions, scales = (torch.tensor([[values]], dtype=torch.float64) for values in (position, inverse_scale))
        placed = place_glimpses(glimpses, positions, scales, (6, 10))
        np.testing.assert_allclose(placed[0, 0], sampled(glimpses[0, 0], position, inverse_scale, (6, 10)), atol=1e-12)

    def test_every_slot_of_every_image_gets_its_own_place(self) -> None:
        glimpses, positions, scales = random(2, 3, 1, 4, 4), 2 * random(2, 3, 2) - 1, 1 + 3 * random(2, 3, 2)
        placed = place_glimpses(glimpses, positions, scales, (8, 8))
        for n in range(2):
            for k in range(3):
                expected = sampled(glimpses[n, k], positions[n, k].tolist(), scales[n, k].tolist(), (8, 8))
                np.testing.assert_allclose(placed[n, k], expected, atol=1e-12)

    def test_a_glimpse_covers_one_over_the_inverse_scale_of_the_image(self) -> None:
        scales = torch.tensor([[[2.0, 4.0]]])
        placed = place_glimpses(torch.ones(1, 1, 1, 16, 16), torch.zeros(1, 1, 2), scales, (64, 64))[0, 0, 0]
        assert placed.sum() / 64**2 == pytest.approx(1 / 8, abs=1e-3)
        assert (placed > 0.5).any(0).sum() == 32
        assert (placed > 0.5).any(1).sum() == 16

    @pytest.mark.parametrize("cell", [(2, 3), (4, 8), (5, 6)])
    @pytest.mark.parametrize(("convention", "stretch"), [("consistent", (1, 1)), ("published", (12 / 11, 8 / 7))])
    def test_where_a_blob_is_placed(
        self, cell: tuple[int, int], convention: CornerConvention, stretch: tuple[float, float]
    ) -> None:
        """The consistent convention puts a glimpse on the blob; the published one puts it further out by w/(w - 1)."""
        logits = torch.full((8, 12), -1e3)
        logits[cell] = 0.0
        blob_x, blob_y = center_of_mass(spatial_softmax(logits))
        position = soft_argmax(spatial_softmax(logits), convention)
        placed = place_glimpses(torch.ones(1, 1, 1, 8, 8), position[None, None], torch.full((1, 1, 2), 12.0), (64, 96))
        assert center_of_mass(placed[0, 0, 0]) == pytest.approx((stretch[0] * blob_x, stretch[1] * blob_y), abs=2e-3)

    def test_equals_a_general_affine_map_with_its_gradients(self) -> None:
        """Scales along each axis, images that are not square, and glimpses that reach over every border."""
        inputs = random(2, 3, 5, 8, 8), 2 * random(2, 3, 2, seed=1) - 1, 1.3 + 5 * random(2, 3, 2, seed=2)
        glimpses, positions, scales = with_gradients(*inputs)
        placed = place_glimpses(glimpses, positions, scales, (20, 28))
        expected = placed_by_affine_maps(glimpses, positions, scales, (20, 28))
        torch.testing.assert_close(placed, expected, rtol=0, atol=1e-13)
        weights = random(2, 3, 5, 20, 28, seed=4)
        found, known = (torch.autograd.grad((weights * one).sum(), inputs) for one in (placed, expected))
        torch.testing.assert_close(found, known, rtol=1e-11, atol=1e-11)

    def test_gradients(self) -> None:
        arguments = with_gradients(random(1, 2, 1, 3, 3), random(1, 2, 2, seed=1) - 0.5, 1.5 + random(1, 2, 2, seed=2))
        assert torch.autograd.gradcheck(lambda g, p, s: place_glimpses(g, p, s, (4, 5)), arguments)


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
        arguments = with_gradients(masks, torch.tensor([[activation, activation - 3]]), torch.full((1, 1), background))
        weights = compositing_weights(*arguments)
        torch.testing.assert_close(weights.sum(1), torch.ones(1, 4, 4))
        assert (weights >= 0).all()
        assert (weights[..., :2].argmax(1) == 0).all(), "where no mask reaches, the background shows"
        for gradient in torch.autograd.grad((weights * torch.arange(3.0)[:, None, None]).sum(), arguments):
            assert gradient.isfinite().all()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_a_pixel_of_16_bits_that_no_object_has_is_the_backgrounds(self, dtype: torch.dtype) -> None:
        weights = compositing_weights(
            torch.zeros(1, 1, 2, 2, dtype=dtype), torch.full((1, 1), 20.0, dtype=dtype), torch.zeros(1, 1, dtype=dtype)
        )
        assert weights.dtype == dtype
        assert weights.flatten().tolist() == [1] * 4 + [0] * 4

    def test_huge_activation_takes_the_pixels_of_its_mask(self) -> None:
        masks = torch.zeros(1, 2, 1, 2)
        masks[0, 1, 0, 0] = 0.5
        weights = compositing_weights(masks, torch.tensor([[0.0, 500.0]]), torch.full((1, 1), 11.0))
        torch.testing.assert_close(weights[0, :, 0, 0], torch.tensor([0.0, 0.0, 1.0]))
        torch.testing.assert_close(weights[0, :, 0, 1], torch.tensor([1.0, 0.0, 0.0]))

    @pytest.mark.parametrize(
        ("activations", "background"),
        [(random(1, 2, seed=1), random(2, 2, seed=2) + 2), (random(1, 2, seed=1) + 3, random(1, 1, seed=2))],
        ids=["background strongest", "object strongest"],
    )
    def test_gradients(self, activations: Tensor, background: Tensor) -> None:
        arguments = with_gradients(random(1, 2, 2, 2), activations, background)
        assert torch.autograd.gradcheck(compositing_weights, arguments)


def test_composite_is_equation_18() -> None:
    weights, background, layers = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1), random(2, 2, 3, 4, 5, seed=2)
    expected = np.zeros((2, 3, 4, 5))
    for k, layer in enumerate([background, layers[:, 0], layers[:, 1]]):
        for channel in range(3):
            expected[:, channel] += weights[:, k].numpy() * layer[:, channel].numpy()
    np.testing.assert_allclose(composite(weights, background, layers), expected)


class TestApplyShadows:
    def test_equals_the_formula(self) -> None:
        background, shadows, visible = random(2, 3, 4, 5), random(2, 6, 4, 5, seed=1), random(2, 4, 5, seed=2)
        found = apply_shadows(background, shadows, visible)
        for n, c, j, i in np.ndindex(2, 3, 4, 5):
            seen = visible[n, j, i].item()
            light = math.prod(1 - MAX_SHADOW * shadow * seen for shadow in shadows[n, :, j, i].tolist())
            assert found[n, c, j, i].item() == pytest.approx(light * background[n, c, j, i].item(), abs=1e-12)

    def test_gradients(self) -> None:
        arguments = with_gradients(random(1, 3, 2, 3), random(1, 2, 2, 3, seed=1), random(1, 2, 3, seed=2))
        assert torch.autograd.gradcheck(apply_shadows, arguments)
