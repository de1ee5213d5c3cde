import pytest
import torch
from torch import Tensor

from astseg.data.scenes.description import Texture
from astseg.data.scenes.textures import DOT_RADIUS, second_color_share


def places(count: int) -> Tensor:
    return torch.rand(3, count, generator=torch.Generator().manual_seed(0)) * 20 - 10


@pytest.mark.parametrize("texture", Texture)
def test_shares_stay_between_0_and_1(texture: Texture) -> None:
    for width in (0.0, 0.1, 0.7, 5.0):
        share = second_color_share(texture, places(2000), torch.full((2000,), width))
        assert share.shape == (2000,)
        assert share.min() >= -1e-4
        assert share.max() <= 1 + 1e-4


@pytest.mark.parametrize("texture", [texture for texture in Texture if texture is not Texture.PLAIN])
def test_every_texture_shows_both_colors_near_by_and_an_even_mixture_far_away(texture: Texture) -> None:
    near = second_color_share(texture, places(5000), torch.zeros(5000))
    assert near.std() > 0.15
    assert near.min() < 0.1
    assert near.max() > 0.9
    far = second_color_share(texture, places(5000), torch.full((5000,), 40.0))
    assert far.std() < 0.05


def test_plain_shows_one_color() -> None:
    assert second_color_share(Texture.PLAIN, places(100), torch.zeros(100)).abs().max() == 0


@pytest.mark.parametrize("texture", [Texture.CHECKER, Texture.TILES])
@pytest.mark.parametrize("width", [0.1, 0.6, 1.7])
def test_regular_patterns_are_averaged_over_a_cube(texture: Texture, width: float) -> None:
    """Against the mean of many sharp samples in the cube."""
    middle = places(20).double()
    step = ((torch.arange(40, dtype=torch.float64) + 0.5) / 40 - 0.5) * width
    cube = torch.stack(torch.meshgrid(step, step, step, indexing="ij")).flatten(1)
    inside = (middle[:, :, None] + cube[:, None]).flatten(1)
    sharp = second_color_share(texture, inside, torch.zeros(inside.shape[1], dtype=torch.float64)).view(20, -1).mean(1)
    smooth = second_color_share(texture, middle, torch.full((20,), width, dtype=torch.float64))
    torch.testing.assert_close(smooth, sharp, atol=0.06, rtol=0)


@pytest.mark.parametrize("width", [0.1, 0.6, 1.7])
def test_stripes_are_averaged_across(width: float) -> None:
    middle = places(20).double()
    step = ((torch.arange(2000, dtype=torch.float64) + 0.5) / 2000 - 0.5) * width
    across = middle[:, :, None] + torch.stack((step, step * 0, step * 0))[:, None]
    sharp = second_color_share(Texture.STRIPES, across.flatten(1), torch.zeros(40_000, dtype=torch.float64))
    smooth = second_color_share(Texture.STRIPES, middle, torch.full((20,), width, dtype=torch.float64))
    torch.testing.assert_close(smooth, sharp.view(20, -1).mean(1), atol=0.03, rtol=0)


def test_dots_lie_about_whole_numbers() -> None:
    center = torch.tensor([[2.0], [-1.0], [0.0]])
    assert second_color_share(Texture.DOTS, center, torch.zeros(1)) == 1
    beside = center + torch.tensor([[DOT_RADIUS + 0.05], [0.0], [0.0]])
    assert second_color_share(Texture.DOTS, beside, torch.zeros(1)) == 0


def test_checker_changes_at_every_half_period() -> None:
    x = torch.tensor([0.25, 0.75, 1.25])
    row = second_color_share(Texture.CHECKER, torch.stack((x, x * 0 + 0.25, x * 0)), torch.zeros(3))
    expected = torch.tensor([0.0, 1.0, 0.0])
    torch.testing.assert_close(row, expected, atol=1e-5, rtol=0)
