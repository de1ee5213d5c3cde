import pytest
import torch

from astseg.model.label_rule.shades import nearest_shade


@pytest.mark.parametrize("max_shade", [0.0, 0.3, 0.9])
def test_is_the_factor_with_the_smallest_squared_error(max_shade: float) -> None:
    torch.manual_seed(0)
    images, backgrounds = torch.rand(2, 2, 3, 5, 6, dtype=torch.float64)
    backgrounds[0, :, 0] = 0
    factors = torch.linspace(1 - max_shade, 1, 2001, dtype=torch.float64)
    errors = (images[..., None] - backgrounds[..., None] * factors).square().sum(1)
    expected = backgrounds * factors[errors.argmin(-1)][:, None]
    torch.testing.assert_close(nearest_shade(images, backgrounds, max_shade), expected, atol=5e-4, rtol=0)
