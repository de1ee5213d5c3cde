import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from astseg._core.errors import AstSegError
from astseg.data.scenes.generation import render
from astseg.model.resizing import resized
from astseg.model.slow_features import efficientnet
from astseg.model.slow_features.build import build_responses
from astseg.model.slow_features.efficientnet import EfficientNetLite0, read_weights
from astseg.model.slow_features.responses import ResponseMap, gaussian_blur

# Of each block: kernel and stride, as the table of EfficientNet-B0 has them.
KERNELS = (3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1)


def reference(images: Tensor, blocks: int) -> list[Tensor]:
    """The network layer by layer, with its normalization as it was trained."""
    weights = read_weights()

    def layer(x: Tensor, name: str, norm: str, kernel: int, stride: int, *, clipped: bool, groups: int = 1) -> Tensor:
        missing = max((np.ceil(x.shape[-1] / stride) - 1) * stride + kernel - x.shape[-1], 0)
        before, after = int(missing // 2), int(missing - missing // 2)
        if missing:
            x = F.pad(x, (before, after, before, after), mode="replicate")
        x = F.conv2d(x, weights[f"{name}.weight"], stride=stride, groups=groups)
        mean, variance, scale, shift = (
            weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.batch_norm(x, mean, variance, scale, shift, eps=1e-3)
        return x.clamp(0, 6) if clipped else x

    x = layer(2 * images - 1, "_conv_stem", "_bn0", 3, 2, clipped=True)
    outputs = []
    for index in range(blocks):
        name, before = f"_blocks.{index}", x
        if index:
            x = layer(x, f"{name}._expand_conv", f"{name}._bn0", 1, 1, clipped=True)
        kernel, stride = KERNELS[index], STRIDES[index]
        x = layer(x, f"{name}._depthwise_conv", f"{name}._bn1", kernel, stride, clipped=True, groups=x.shape[1])
        x = layer(x, f"{name}._project_conv", f"{name}._bn2", 1, 1, clipped=False)
        x = x + before if x.shape == before.shape else x
        outputs.append(x)
    return outputs


class TestEfficientNet:
    def test_equals_the_network_layer_by_layer(self) -> None:
        images = torch.rand(2, 3, 64, 64)
        expected = reference(images, 11)
        with torch.no_grad():
            found = EfficientNetLite0((2, 4, 7, 10), largest_stride=16)(images)
        assert [tuple(map_.shape[1:]) for map_ in found] == [(24, 16, 16), (40, 8, 8), (80, 4, 4), (112, 4, 4)]
        for map_, block in zip(found, (2, 4, 7, 10), strict=True):
            torch.testing.assert_close(map_, expected[block], rtol=1e-3, atol=1e-3)

    def test_more_cells_respond_as_they_would_have(self) -> None:
        """Every second cell, where the right and lower border, which is repeated otherwise, does not reach."""
        images = torch.rand(1, 3, 320, 320)
        with torch.no_grad():
            sparse = EfficientNetLite0((4, 7, 10), largest_stride=16)(images)
            dense = EfficientNetLite0((4, 7, 10), largest_stride=8)(images)
        assert [map_.shape[-1] for map_ in sparse] == [40, 20, 20]
        assert [map_.shape[-1] for map_ in dense] == [40, 40, 40]
        assert torch.equal(dense[0], sparse[0])
        for many, few in zip(dense[1:], sparse[1:], strict=True):
            torch.testing.assert_close(many[..., :20:2, :20:2], few[..., :10, :10], rtol=1e-4, atol=1e-4)

    def test_neither_learns_nor_is_saved(self) -> None:
        network = EfficientNetLite0((2,), largest_stride=16)
        assert not list(network.parameters())
        assert not network.state_dict()
        assert network.to(torch.float64).stem.weight.dtype == torch.float64

    def test_without_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package")
        with pytest.raises(AstSegError, match="no-such-package"):
            read_weights()


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [
        ("efficientnet-lite0", 3 + 24 + 40 + 80 + 112),
        ("efficientnet-lite0-dense", 3 + 2 * (24 + 40 + 80 + 112)),
        ("filters", 42),
    ],
)
class TestResponses:
    def test_each_cell_has_all_channels(self, backbone: str, channels: int) -> None:
        network = build_responses(backbone)
        found = network(torch.rand(2, 3, 48, 64), (24, 32))
        assert found.shape == (2, channels, 24, 32)
        assert found.isfinite().all()
        assert not network.state_dict()

    def test_an_image_of_one_color_has_no_edges(self, backbone: str, channels: int) -> None:
        found = build_responses(backbone)(torch.full((1, 3, 32, 32), 0.3), (16, 16))
        spread = found.amax((2, 3)) - found.amin((2, 3))
        assert spread.max() < 0.05


@pytest.mark.parametrize("grid", [(64, 64), (48, 96)])
def test_mirrored_images_respond_in_mirrored_places(grid: tuple[int, int]) -> None:
    """More nearly than if cells were taken to respond to what lies at their centers, and by far for the last blocks."""
    rendered = render("clevrtex", 0, range(4), 96).images[:, : 96 * grid[0] // grid[1]]
    images = resized(torch.from_numpy(rendered).permute(0, 3, 1, 2) / 255, grid)
    network = build_responses("efficientnet-lite0")
    pairs = zip(network.responses(images, grid), network.responses(images.flip(-1, -2), grid), strict=True)

    def mismatch(one: ResponseMap, other: ResponseMap) -> float:
        difference = one.on_grid(grid) - other.on_grid(grid).flip(-1, -2)
        return float(difference[..., 8:-8, 8:-8].square().mean())

    ratios = [
        mismatch(*pair) / mismatch(*(one._replace(displacement=0.0) for one in pair))
        for pair in pairs
        if pair[0].displacement
    ]
    assert len(ratios) == 3
    assert max(ratios) < 1
    assert max(ratios[1:]) < 0.75


@pytest.mark.parametrize("deviation", [1.0, 2.0])
def test_blurs_as_scipy_does(deviation: float) -> None:
    maps = torch.rand(2, 3, 12, 15)
    expected = ndimage.gaussian_filter(maps.numpy(), (0, 0, deviation, deviation), mode="nearest", truncate=3)
    np.testing.assert_allclose(gaussian_blur(maps, deviation), expected, atol=1e-5)
