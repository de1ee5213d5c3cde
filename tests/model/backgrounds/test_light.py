import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from astseg.model.backgrounds.light import estimate_light, weighted_median
from astseg.model.resizing import resized

SIZE = (48, 64)


@pytest.fixture
def background() -> Tensor:
    torch.manual_seed(0)
    return 0.1 + 0.4 * torch.rand(3, *SIZE)


def light_by_loops(image: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the light of an image of 33x40 pixels, cell by cell."""
    rows = [slice(i * 33 // 32, -(-(i + 1) * 33 // 32)) for i in range(32)]
    columns = [slice(j * 40 // 32, -(-(j + 1) * 40 // 32)) for j in range(32)]
    exposure, ratios = np.zeros(3), np.zeros((3, 32, 32))
    for channel in range(3):
        cells = {}
        for i in range(32):
            for j in range(32):
                shown, expected = (of[channel, rows[i], columns[j]].mean() for of in (image, background))
                ratios[channel, i, j] = math.log(max(shown, 1 / 255) / max(expected, 1 / 255))
                cells[i, j] = ratios[channel, i, j], max(expected, 1 / 255)
        sums = [
            sum(weight * abs(math.exp(ratio) - math.exp(value)) for ratio, weight in cells.values())
            for value, _ in cells.values()
        ]
        exposure[channel] = list(cells.values())[int(np.argmin(sums))][0]
    left = (ratios - exposure[:, None, None]).mean(0)
    patches = np.zeros((4, 4))
    for _ in range(3):
        error = left - enlarged(patches, (32, 32))
        weights = 1 / (1 + (error / 0.1) ** 2) ** 2
        for i in range(4):
            for j in range(4):
                cell = slice(8 * i, 8 * i + 8), slice(8 * j, 8 * j + 8)
                patches[i, j] += (weights[cell] * error[cell]).mean() / (weights[cell].mean() + 0.1)
    light: np.ndarray = exposure[:, None, None] + enlarged(patches, (33, 40))
    return light


def enlarged(patches: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    found: np.ndarray = resized(torch.from_numpy(patches)[None, None], size)[0, 0].numpy()
    return found


class TestEstimateLight:
    def test_equals_the_loops(self) -> None:
        generator = np.random.default_rng(0)
        background = generator.uniform(0, 1, (3, 33, 40))
        images = generator.uniform(0, 1, (2, 3, 33, 40)) ** 3
        images[0] = 0.6 * background
        images[0, :, :10] = 0
        found = estimate_light(torch.from_numpy(images), torch.from_numpy(background))
        for light, image in zip(found, images, strict=True):
            np.testing.assert_allclose(light, light_by_loops(image, background), atol=1e-12)

    @pytest.mark.parametrize("gain", [0.3, 1.0, 1.9])
    @pytest.mark.parametrize("color", [0.0, 0.45, 1.0])
    def test_objects_on_less_than_half_of_the_image_change_nothing(
        self, gain: float, color: float, background: Tensor
    ) -> None:
        tint = gain * torch.tensor([1.0, 0.95, 1.05])[:, None, None]
        image = tint * background
        image[:, :, :24] = color
        found = estimate_light(image[None], background)[0]
        torch.testing.assert_close(found[:, :, 32:], tint.log().expand(3, 48, 32), atol=0.02, rtol=0)

    def test_follows_light_that_varies_over_the_image(self, background: Tensor) -> None:
        light = resized(0.15 * torch.rand(1, 1, 4, 4), SIZE)[0]
        image = background * light.exp()
        found = estimate_light(image[None], background)[0]
        assert (found - light).abs().mean() < 0.01
        image[:, 10:20, 20:30] = 0.9
        assert (estimate_light(image[None], background)[0] - light).abs().mean() < 0.015

    def test_a_small_object_is_no_light(self, background: Tensor) -> None:
        image = background.clone()
        image[:, 16:24, 16:24] *= 1.5
        assert estimate_light(image[None], background).abs().max() < 0.03

    def test_black_has_light_as_well(self, background: Tensor) -> None:
        found = estimate_light(torch.zeros(1, 3, *SIZE), background)
        assert found.isfinite().all()
        assert found.max() < -3
        assert estimate_light(background[None], torch.zeros(3, *SIZE)).isfinite().all()


@settings(deadline=None)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(arrays(float, n, elements=st.integers(-9, 9)), arrays(float, n, elements=st.integers(1, 9)))
    )
)
def test_weighted_median_has_the_smallest_sum_of_distances(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, weights = drawn
    found = weighted_median(torch.from_numpy(values), torch.from_numpy(weights)).item()
    assert found in values
    sums = [(weights * abs(values - value)).sum() for value in values]
    assert (weights * abs(values - found)).sum() == pytest.approx(min(sums))
