import pytest
import torch
from torch import nn

from astseg.model.glimpses import GlimpseGenerator, published_glimpse_channels

# Table 7, and for larger images one stage more in front: side and channels after each stage, groups of its norm.
TABLE_7 = {
    64: [(2, 64, 4), (4, 32, 2), (8, 16, 1), (16, 8, 1), (32, 4, None)],
    128: [(2, 128, 8), (4, 64, 4), (8, 32, 2), (16, 16, 1), (32, 8, 1), (64, 4, None)],
    320: [(2, 256, 16), (4, 128, 8), (8, 64, 4), (16, 32, 2), (32, 16, 1), (64, 8, 1), (128, 4, None)],
}


@pytest.mark.parametrize("side", TABLE_7)
def test_stages_are_table_7(side: int) -> None:
    generator = GlimpseGenerator(32, published_glimpse_channels((side // 2, side)))
    x = torch.rand(2, 32, 1, 1)
    stages, norms = [], []
    for layer in generator:
        x = layer(x)
        if isinstance(layer, nn.ConvTranspose2d):
            stages.append((x.shape[-1], x.shape[1]))
        if isinstance(layer, nn.GroupNorm):
            norms.append((layer.num_groups, layer.num_channels))
    assert stages == [(size, channels) for size, channels, _ in TABLE_7[side]]
    assert norms == [(groups, channels) for _, channels, groups in TABLE_7[side] if groups]


def test_parameters_are_table_7() -> None:
    generator = GlimpseGenerator(32, (64, 32, 16, 8))
    convolutions = [layer for layer in generator if isinstance(layer, nn.ConvTranspose2d)]
    assert [tuple(layer.weight.shape) for layer in convolutions] == [
        (32, 64, 2, 2),
        (64, 32, 4, 4),
        (32, 16, 4, 4),
        (16, 8, 4, 4),
        (8, 4, 4, 4),
    ]
    assert [layer.bias is not None for layer in convolutions] == [False, False, False, False, True]
    assert sum(isinstance(layer, nn.CELU) for layer in generator) == 4


@pytest.mark.parametrize(
    ("image_size", "stages"), [((32, 32), 4), ((64, 64), 4), ((65, 64), 5), ((128, 128), 5), ((200, 320), 6)]
)
def test_stages_for_an_image(image_size: tuple[int, int], stages: int) -> None:
    assert len(published_glimpse_channels(image_size)) == stages


@pytest.mark.parametrize("shadows", [False, True])
def test_values_lie_between_zero_and_one(shadows: bool) -> None:
    painted = GlimpseGenerator(5, (8,), shadows=shadows)(10 * torch.randn(7, 5))
    assert painted.shape == (7, 5 if shadows else 4, 4, 4)
    assert painted.min() >= 0
    assert painted.max() <= 1


def test_objects_begin_with_next_to_no_shadow() -> None:
    painted = GlimpseGenerator(32, (64, 32, 16, 8), shadows=True)(torch.randn(9, 32))
    assert painted[:, 4].mean() < 0.1
    assert painted[:, :4].mean() > 0.3


def test_a_glimpse_depends_on_its_own_vector_only() -> None:
    generator = GlimpseGenerator(5, (16, 8)).eval()
    vectors = torch.randn(4, 5)
    torch.testing.assert_close(generator(vectors)[2:3], generator(vectors[2:3]))
