import itertools
import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

from astseg.model.backgrounds.ae_ne import (
    BackgroundAutoencoder,
    Complexity,
    PositionalBlock,
    conv_geometries,
    positional_channels,
)
from astseg.model.backgrounds.build import BackgroundNetwork, build_background
from astseg.model.backgrounds.light import estimate_light
from astseg.model.backgrounds.product_convolution import (
    CELLS_AT_A_TIME,
    ProductConvTranspose2d,
    keep_product_layout,
)
from astseg.model.backgrounds.region import RegionBackground, edges, smooth_noise
from astseg.model.backgrounds.static import StaticBackground

# Kernel and stride of the blocks that reduce a side, computed by hand from the published rule.
GEOMETRIES = {
    (64, False): [(5, 2)] * 4 + [(4, 2), (2, 1)],
    (128, False): [(5, 2)] * 5 + [(4, 2), (2, 1)],
    (32, False): [(5, 2)] * 3 + [(4, 2), (2, 1)],
    (96, False): [(5, 2)] * 5 + [(3, 1)],  # 96 48 24 12 6 3 1
    (65, False): [(5, 2)] * 4 + [(4, 2), (2, 1)],  # 65 33 17 9 5 2 1
    (200, True): [(5, 3)] * 4 + [(3, 1)],  # 200 67 23 8 3 1
    (240, True): [(5, 3)] * 4 + [(3, 1)],  # 240 80 27 9 3 1
    (320, True): [(5, 3)] * 4 + [(4, 1)],  # 320 107 36 12 4 1
    (480, True): [(5, 3)] * 5 + [(2, 1)],  # 480 160 54 18 6 2 1
    (64, True): [(5, 3)] * 3 + [(3, 1)],  # 64 22 8 3 1
}

# Output and input channels of every convolution, the two positional channels left out.
CHANNELS = {
    ("simple", 32): ((3, 64, 160, 160, 32, 16), (16, 32, 256, 256, 144, 4)),
    ("complex", 32): ((3, 64, 160, 160, 16, 16), (16, 16, 640, 640, 144, 4)),
    ("simple", 64): ((3, 64, 160, 320, 160, 32, 16), (16, 32, 256, 512, 256, 144, 4)),
    ("complex", 64): ((3, 64, 160, 320, 160, 16, 16), (16, 16, 640, 1280, 640, 144, 4)),
    ("simple", 128): ((3, 64, 160, 320, 160, 160, 32, 16), (16, 32, 256, 256, 512, 256, 144, 4)),
    ("complex", 128): ((3, 64, 320, 640, 640, 320, 16, 16), (16, 16, 320, 640, 1280, 640, 144, 4)),
}


def on_meta(complexity: Complexity, size: tuple[int, int]) -> BackgroundAutoencoder:
    with torch.device("meta"):
        return BackgroundAutoencoder(size, complexity)


class TestConvGeometries:
    @pytest.mark.parametrize(("side", "large"), GEOMETRIES)
    def test_known_sides(self, side: int, large: bool) -> None:
        assert [(step.kernel, step.stride) for step in conv_geometries(side, large=large)] == GEOMETRIES[side, large]

    @pytest.mark.parametrize("large", [False, True])
    def test_every_side_ends_at_one(self, large: bool) -> None:
        for side in range(32, 500):
            steps = conv_geometries(side, large=large)
            assert steps[0].size == side
            assert all(before.output == after.size for before, after in itertools.pairwise(steps))
            assert steps[-1].output == 1

    @pytest.mark.parametrize(
        ("size", "blocks"),
        [((32, 32), 5), ((64, 64), 6), ((128, 128), 7), ((200, 320), 5), ((240, 320), 5), ((320, 480), 6)],
    )
    def test_blocks(self, size: tuple[int, int], blocks: int) -> None:
        network = on_meta("simple", size)
        assert len(network.encoder) == len(network.decoder) == blocks


class TestAutoencoder:
    @pytest.mark.parametrize(("complexity", "side"), CHANNELS)
    def test_channels(self, complexity: Complexity, side: int) -> None:
        encoder, decoder = CHANNELS[complexity, side]
        layers = list(on_meta(complexity, (side, side)).modules())
        shapes = [tuple(layer.weight.shape[:2]) for layer in layers if isinstance(layer, nn.Conv2d)]
        assert shapes == [(outputs, inputs + 2) for inputs, outputs in itertools.pairwise(encoder)]
        shapes = [tuple(layer.weight.shape[:2]) for layer in layers if isinstance(layer, nn.ConvTranspose2d)]
        assert shapes == [(inputs + 2, outputs) for inputs, outputs in itertools.pairwise(decoder)]

    def test_layers(self) -> None:
        blocks = [
            list(block.layers) for block in on_meta("simple", (64, 64)).modules() if isinstance(block, PositionalBlock)
        ]
        for convolution, norm, activation in blocks[:-1]:
            assert convolution.bias is None
            assert isinstance(norm, nn.GroupNorm)
            assert norm.num_groups == max(1, norm.num_channels // 16)
            assert isinstance(activation, nn.CELU)
        assert [type(layer) for layer in blocks[-1]] == [nn.ConvTranspose2d, nn.Sigmoid]
        assert blocks[-1][0].bias is None

    @pytest.mark.parametrize("network", get_args(BackgroundNetwork))
    @pytest.mark.parametrize(
        "size",
        [
            *((32, 32), (32, 57), (33, 47), (64, 64), (65, 64), (100, 99), (128, 96), (128, 128), (197, 193)),
            *((199, 32), (200, 320), (240, 320), (201, 333), (320, 480), (480, 320), (32, 320), (319, 479)),
        ],
    )
    def test_any_size_goes_through(self, network: BackgroundNetwork, size: tuple[int, int]) -> None:
        with torch.device("meta"):
            model = build_background(network, size).eval()
            found = model(torch.empty(2, 3, *size))
        assert found.image.shape == (2, 3, *size)
        assert found.error.shape == (2, 1, *size)

    @pytest.mark.parametrize("network", ["simple", "region"])
    def test_the_latent_has_sixteen_dimensions(self, network: BackgroundNetwork) -> None:
        model = build_background(network, (32, 40)).eval()
        assert isinstance(model, BackgroundAutoencoder | RegionBackground)
        images = torch.rand(2, 3, 32, 40)
        found = model(images)
        seen = torch.cat((images, edges(images)), 1) if network == "region" else images
        latent = model.encoder(seen).flatten(1)
        assert latent.shape == (2, 16)
        for values in found:
            assert values.min() >= 0
            assert values.max() <= 1

    @pytest.mark.parametrize("network", get_args(BackgroundNetwork))
    def test_too_small(self, network: BackgroundNetwork) -> None:
        with pytest.raises(ValueError, match="31x64"):
            build_background(network, (31, 64))

    @pytest.mark.parametrize("size", [(32, 32), (57, 40)])
    def test_products_stand_for_transposed_convolutions(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        model = BackgroundAutoencoder(size, "simple").double()
        images = torch.rand(2, 3, *size).double()
        assert any(isinstance(layer, ProductConvTranspose2d) for layer in model.modules())
        found = model(images)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ProductConvTranspose2d, "forward", nn.ConvTranspose2d.forward)
            plain = model(images)
        torch.testing.assert_close(found.image, plain.image, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(found.error, plain.error, rtol=1e-10, atol=1e-10)

    def test_the_encoder_sees_bytes_as_in_ae_ne(self) -> None:
        model = BackgroundAutoencoder((32, 32), "simple")
        images = torch.rand(2, 3, 32, 32)
        with torch.no_grad():
            expected = model.decoder(model.encoder(255 * images))
            found = model(images)
        assert torch.equal(found.image, expected[:, :3])
        assert torch.equal(found.error, expected[:, 3:])


class TestProductConvolution:
    @pytest.mark.parametrize(
        ("size", "geometry"),
        [
            ((32, 33), (5, 2, 2, 1)),
            ((8, 8), (5, 2, 2, 1)),
            ((7, 5), (5, 2, 2, (0, 1))),
            ((5, 4), (5, 3, 2, (1, 2))),
            ((2, 3), (4, 2, 1)),
            ((1, 1), (2, 1)),
            ((1, 1), ((3, 2), 1)),
        ],
    )
    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_equals_torchs_own_and_learns_alike(
        self, size: tuple[int, int], geometry: tuple[Any, ...], memory_format: torch.memory_format
    ) -> None:
        kind: Any = ProductConvTranspose2d
        layer = kind(6, 4, *geometry, bias=False).double()
        layer.to(memory_format=memory_format)
        count = CELLS_AT_A_TIME // math.prod(size) + 1  # the last image is in a part of its own
        images = torch.rand(count, 6, *size).double().to(memory_format=memory_format).requires_grad_()
        found, plain = layer(images), nn.ConvTranspose2d.forward(layer, images)
        torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-12)
        goal = torch.rand_like(found)
        for own, expected in zip(
            *(torch.autograd.grad((one * goal).sum(), (images, layer.weight)) for one in (found, plain)), strict=True
        ):
            torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)

    def test_of_a_size_that_is_asked_for(self) -> None:
        layer, images = ProductConvTranspose2d(6, 4, 5, 2, 2, bias=False), torch.rand(2, 6, 4, 4)
        assert layer(images).shape == (2, 4, 7, 7)
        assert layer(images, [8, 7]).shape == (2, 4, 8, 7)

    def test_keeps_its_order_of_memory(self) -> None:
        layers = nn.Sequential(nn.Conv2d(3, 6, 3), ProductConvTranspose2d(6, 4, 5, bias=False))
        layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        keep_product_layout(layers)
        assert [weight.is_contiguous() for weight in layers.state_dict().values() if weight.ndim == 4] == [False, True]


class TestEdges:
    def test_are_between_different_neighbors(self) -> None:
        images = torch.zeros(1, 3, 4, 5)
        images[0, 1, :2, 3:] = 0.5
        right, down = edges(images)[0]
        assert right.nonzero().tolist() == [[0, 2], [1, 2]]
        assert down.nonzero().tolist() == [[1, 3], [1, 4]]
        assert edges(images).max() > 0.99

    def test_do_not_depend_on_the_colors(self) -> None:
        images = torch.rand(2, 3, 6, 6)
        torch.testing.assert_close(edges(1 - images), edges(images))
        torch.testing.assert_close(edges(images.flip(1)), edges(images))


class TestRegionBackground:
    def test_is_composed_of_regions_of_one_color(self) -> None:
        model = RegionBackground((32, 40), regions=3).eval()
        images = torch.rand(2, 3, 32, 40)
        with torch.no_grad():
            latents = model.encoder(torch.cat((images, edges(images)), 1))
            outlines, colors = model.outlines(latents).view(2, 3, 32, 40), model.colours(latents).view(2, 3, 3)
            found = model(images).image
        for n, j, i in ((0, 0, 0), (0, 31, 39), (1, 7, 20)):
            shares = outlines[n, :, j, i].exp() / outlines[n, :, j, i].exp().sum()
            expected = sum(share * color for share, color in zip(shares, colors[n], strict=True)).sigmoid()
            torch.testing.assert_close(found[n, :, j, i], expected)

    @pytest.mark.parametrize("size", [(32, 32), (64, 96), (33, 130)])
    def test_outlines_begin_without_dots(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        model = RegionBackground(size, regions=3)
        # For each region and number of the latent, a map; the last axis of the weights is the latent.
        outlines = model.outlines.weight.detach().view(3, *size, -1)
        assert outlines.std() == pytest.approx(0.2, rel=1e-3)
        assert outlines.mean((1, 2)).std() < 0.1  # each map has low and high values
        for axis, side in enumerate(size, 1):
            assert outlines.diff(dim=axis).std() < 2 * 4 * 0.2 / side  # at most twice up and down between four points


def test_smooth_noise() -> None:
    torch.manual_seed(0)
    first, second = smooth_noise(2, (64, 64), 0.3)
    assert torch.stack((first, second)).std() == pytest.approx(0.3)
    assert np.corrcoef(first.flatten(), second.flatten())[0, 1] < 0.5
    at_points = first[::16, ::16]  # hardly any value repeats
    assert at_points.std() > 0.2


class TestStaticBackground:
    @pytest.fixture
    def model(self) -> StaticBackground:
        torch.manual_seed(0)
        model = StaticBackground((33, 40))
        nn.init.uniform_(model.static, 0.1, 0.9)
        return model.eval()

    @torch.no_grad()
    def test_is_its_image_in_the_light_of_each(self, model: StaticBackground) -> None:
        tint = torch.tensor([0.9, 1.1, 0.4])[:, None, None]
        images = torch.stack((model.static, 0.3 * model.static, tint * model.static))
        found = model(images)
        torch.testing.assert_close(found.image, images)
        assert 0.1 < found.error.mean() < 0.2

    @torch.no_grad()
    def test_multiplies_its_image_by_the_light(self, model: StaticBackground) -> None:
        images = torch.rand(2, 3, 33, 40)
        static = model.static * 0.5 / model.static.mean((1, 2), keepdim=True)
        expected = static * estimate_light(images, static).exp()
        torch.testing.assert_close(model(images).image, expected.clamp(0, 1))
        torch.testing.assert_close(model.train()(images).image, expected)

    @torch.no_grad()
    def test_stays_within_the_range_of_images(self, model: StaticBackground) -> None:
        nn.init.uniform_(model.error_logits, -20, 20)
        image, error = model(torch.ones(2, 3, 33, 40))
        assert 0 <= error.min() < error.max() <= 1
        assert 0 <= image.min() < image.max() == 1

    def test_dark_objects_do_not_darken_it(self, model: StaticBackground) -> None:
        images = model.static.detach().repeat(4, 1, 1, 1)
        for n, image in enumerate(images):
            image[:, 8 * n : 8 * n + 8] = 0
        (model.train()(images).image - images).abs().mean().backward()
        assert model.static.grad is not None
        assert model.static.grad.abs().min() > 0
        along = (model.static * model.static.grad).sum((1, 2))
        torch.testing.assert_close(along, torch.zeros(3), atol=1e-6, rtol=0)

    @pytest.mark.parametrize(("darkest", "brightest"), [(0.3, 0.7), (0.92, 0.98)])
    def test_learns_the_background_under_changing_light_and_no_object(self, darkest: float, brightest: float) -> None:
        torch.manual_seed(0)
        static = darkest + (brightest - darkest) * torch.rand(3, 32, 32)
        clear = (static * (1 + 0.1 * torch.rand(200, 1, 1, 1))).clamp(0, 1)
        images, objects = clear.clone(), torch.zeros(200, 1, 32, 32, dtype=torch.bool)
        for n, (i, j) in enumerate(torch.randint(0, 24, (200, 2)).tolist()):
            images[n, :, i : i + 8, j : j + 8] = 0.9 * torch.rand(3, 1, 1)
            objects[n, :, i : i + 8, j : j + 8] = True
        model = StaticBackground((32, 32))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for step in range(400):
            batch = images[step * 20 % 200 :][:20]
            loss = (model(batch).image - batch).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            difference = (model.eval()(images).image - clear).abs().mean(1, keepdim=True)
        assert difference[~objects].mean() < 0.02
        assert difference[objects].mean() < 0.03
        assert (images - clear).abs().mean(1, keepdim=True)[objects].mean() > 0.15


class TestPositionalChannels:
    @pytest.mark.parametrize(("height", "width"), [(4, 3), (1, 5), (5, 1), (1, 1)])
    def test_equal_the_formula(self, height: int, width: int) -> None:
        found = positional_channels(height, width)
        assert found.shape == (1, 2, height, width)
        for i in range(height):
            for j in range(width):
                down = i / (height - 1) - 0.5 if height > 1 else 1
                across = j / (width - 1) - 0.5 if width > 1 else 1
                assert found[0, :, i, j].tolist() == pytest.approx([down, across], abs=1e-6)

    def test_are_not_saved(self) -> None:
        model = build_background("simple", (32, 32))
        assert not [name for name in model.state_dict() if "positions" in name]
