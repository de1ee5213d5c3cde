from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SegformerForSemanticSegmentation

from astseg.model.features.build import FeatureNetwork, build_feature_maps
from astseg.model.features.compact_unet import CompactUnetMaps
from astseg.model.features.segformer import MIX_TRANSFORMER_SIZES, SegformerMaps
from astseg.model.features.segformer_convolutions import DepthwiseConv2d, PatchConv2d
from astseg.model.features.unet import UnetMaps, unet_channels

# Millions of parameters of the encoders MiT-B0 to B5, as listed in the SegFormer paper.
ENCODER_MILLIONS: dict[FeatureNetwork, float] = {
    "segformer-b0": 3.4,
    "segformer-b1": 13.1,
    "segformer-b2": 24.2,
    "segformer-b3": 44.0,
    "segformer-b4": 60.8,
    "segformer-b5": 81.4,
}


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class TestSegformer:
    @pytest.mark.parametrize("name", ENCODER_MILLIONS)
    def test_encoder_sizes(self, name: FeatureNetwork) -> None:
        with torch.device("meta"):
            network: Any = build_feature_maps(name, (64, 64), 37).network
        assert parameters(network.segformer) / 1e6 == pytest.approx(ENCODER_MILLIONS[name], abs=0.1)
        assert network.config.num_labels == 37
        assert network.decode_head.classifier.out_channels == 37
        assert network.config.decoder_hidden_size == (256 if name in ("segformer-b0", "segformer-b1") else 768)

    def test_dropouts_are_mix_transformers_own(self) -> None:
        with torch.device("meta"):
            config = SegformerMaps(MIX_TRANSFORMER_SIZES["segformer-b3"], 5).network.config
        assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0, 0)
        assert (config.drop_path_rate, config.classifier_dropout_prob) == (0.1, 0.1)

    def test_maps_are_a_quarter_of_the_image(self) -> None:
        torch.manual_seed(0)
        network = SegformerMaps(MIX_TRANSFORMER_SIZES["segformer-b0"], 9).eval()
        images = torch.rand(2, 3, 32, 48)
        with torch.no_grad():
            maps = network(images)
            torch.testing.assert_close(maps, network.network(pixel_values=images).logits)
        assert maps.shape == (2, 9, 8, 12)

    @pytest.mark.parametrize("size", [(32, 64), (48, 40)])  # the patches of the second do not fit its maps
    def test_learns_as_the_librarys_own(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        network = SegformerMaps(MIX_TRANSFORMER_SIZES["segformer-b0"], 9).double()
        torch.manual_seed(0)
        library: Any = SegformerForSemanticSegmentation(network.network.config).double()
        for one in (network.network, library):
            one.decode_head.dropout.p = 0.0  # it would drop the same share, but of values in another order
        images, goal = torch.rand(2, 3, *size).double(), torch.rand(2, 9, size[0] // 4, size[1] // 4).double()
        found = []
        own: Any = network
        for forward, weights in ((own, network.network), (lambda x: library(pixel_values=x).logits, library)):
            torch.manual_seed(1)  # for the paths that the encoder drops
            maps = forward(images)
            gradients = torch.autograd.grad((maps - goal).square().sum(), list(weights.parameters()))
            found.append((maps, *gradients))
        for own, plain in zip(*found, strict=True):
            torch.testing.assert_close(own, plain, rtol=1e-9, atol=1e-9)

    def test_convolutions_have_faster_forms(self) -> None:
        with torch.device("meta"):
            network = SegformerMaps(MIX_TRANSFORMER_SIZES["segformer-b0"], 9)
        kinds = Counter(type(layer) for layer in network.modules() if isinstance(layer, nn.Conv2d))
        assert kinds == {PatchConv2d: 6, DepthwiseConv2d: 8, nn.Conv2d: 6}  # reductions, blocks, embeddings and head

    def test_a_depthwise_convolution_of_few_cells_has_all_bits(self) -> None:
        torch.manual_seed(0)
        layer = DepthwiseConv2d(4, 4, 3, padding=1, groups=4)
        maps = torch.randn(2, 4, 2, 2).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            found = layer(maps)
        assert torch.equal(found, layer(maps.float()).bfloat16())


def batch_norm(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    return F.celu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps))


def table_8(network: UnetMaps, levels: tuple[int, ...], images: Tensor) -> Tensor:
    """The U-net as the supplement describes it, with the network's weights in the order of their definition."""
    norms = (layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))
    weights = (layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d))

    def convolved(x: Tensor, stride: int = 1) -> Tensor:
        return F.conv2d(x, next(weights), stride=stride, padding=1)

    skips = [batch_norm(convolved(images), next(norms))]
    for _ in levels[1:]:
        x = batch_norm(convolved(skips[-1], stride=2), next(norms))
        skips.append(x + batch_norm(convolved(x), next(norms)))
    x = batch_norm(convolved(skips[-1]), next(norms))
    for level in range(len(levels) - 1, 0, -1):
        x = torch.cat((x, skips[level]), 1)
        x = x + batch_norm(convolved(x), next(norms))
        odd = [skips[level - 1].shape[side] % 2 for side in (2, 3)]
        x = F.conv_transpose2d(x, next(weights), stride=2, padding=1, output_padding=odd)
        x = batch_norm(x, next(norms))
    x = batch_norm(convolved(torch.cat((x, skips[0]), 1)), next(norms))
    return F.conv2d(x + convolved(x), next(weights))


class TestUnet:
    @pytest.mark.parametrize("size", [(16, 24), (17, 27), (23, 8)])
    def test_equals_the_supplement(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        levels = (4, 6, 8, 10)
        network = UnetMaps(levels, 5)
        images = torch.rand(2, 3, *size)
        for _ in range(3):
            network(images)  # moves the running statistics away from their start
        network.eval()
        maps = network(images)
        assert maps.shape == (2, 5, *size)
        torch.testing.assert_close(maps, table_8(network, levels, images), rtol=1e-4, atol=1e-5)

    def test_channels_are_table_8(self) -> None:
        assert unet_channels((128, 128)) == unet_channels((199, 64)) == (80, 128, 192, 256, 256, 256)
        assert unet_channels((200, 64)) == unet_channels((64, 200)) == (48, 64, 96, 128, 128, 256, 256)

    def test_weights_are_table_8(self) -> None:
        with torch.device("meta"):
            network = build_feature_maps("unet", (64, 64), 37)
        found = [tuple(p.shape) for name, p in network.named_parameters() if p.ndim == 4]
        expected = [(80, 3, 3, 3)]
        for inputs, outputs in [(80, 128), (128, 192), (192, 256), (256, 256), (256, 256)]:
            expected += [(outputs, inputs, 4, 4), (outputs, outputs, 3, 3)]
        expected += [(256, 256, 3, 3)]
        for inputs, outputs in [(256, 256), (256, 256), (256, 192), (192, 128), (128, 80)]:
            expected += [(2 * inputs, 2 * inputs, 3, 3), (2 * inputs, outputs, 4, 4)]
        expected += [(37, 160, 3, 3), (37, 37, 3, 3), (37, 37, 1, 1)]
        assert found == expected
        biases = [name for name, p in network.named_parameters() if name.endswith("bias") and p.ndim == 1]
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        assert len(biases) == len(norms), "convolutions have no bias"

    @pytest.mark.parametrize("size", [(200, 320), (65, 201), (32, 32), (33, 47)])
    def test_maps_have_the_size_of_the_image(self, size: tuple[int, int]) -> None:
        with torch.device("meta"):
            network = build_feature_maps("unet", size if min(size) >= 64 else (64, 64), 7).eval()
            assert network(torch.empty(1, 3, *size)).shape == (1, 7, *size)


class TestCompact:
    @pytest.mark.parametrize("size", [(32, 32), (48, 64), (36, 52)])
    def test_maps_are_a_quarter_of_the_image(self, size: tuple[int, int]) -> None:
        network = CompactUnetMaps(9).eval()
        assert network(torch.rand(2, 3, *size)).shape == (2, 9, size[0] // 4, size[1] // 4)

    def test_sides_that_are_no_multiple_of_four(self) -> None:
        assert CompactUnetMaps(9).eval()(torch.rand(2, 3, 35, 49)).shape == (2, 9, 9, 12)

    def test_every_layer_has_a_gradient(self) -> None:
        network = CompactUnetMaps(9)
        network(torch.rand(2, 3, 32, 32)).square().sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        assert parameters(network) < 0.5e6


@pytest.mark.parametrize(
    ("network", "reduction"), [("segformer-b0", 2), ("unet", 1), ("compact-unet", 2), ("wide-compact-unet", 2)]
)
def test_every_network_takes_feature_maps(network: FeatureNetwork, reduction: int) -> None:
    maps = build_feature_maps(network, (32, 48), 5, feature_channels=7).eval()
    features = torch.rand(2, 7, 32, 48, requires_grad=True)
    found = maps(features)
    assert found.shape == (2, 5, 32 // reduction, 48 // reduction)
    found[..., 4, 4].sum().backward()
    assert features.grad is not None
    assert (features.grad.abs().sum((0, 2, 3)) > 0).all(), "every channel counts"


@pytest.mark.parametrize(
    ("network", "size", "smallest"),
    [("unet", (31, 64), 32), ("unet", (200, 63), 64), ("compact-unet", (64, 15), 16), ("segformer-b0", (15, 64), 16)],
)
def test_refuses_images_that_are_too_small(network: FeatureNetwork, size: tuple[int, int], smallest: int) -> None:
    with pytest.raises(ValueError, match=f"at least {smallest} "):
        build_feature_maps(network, size, 5)
