"""Under autocast, what follows the large networks is computed as without it, to the last bit."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.build import BackgroundNetwork, build_background
from astseg.model.features.build import FeatureNetwork
from astseg.model.rendering import Rendering
from astseg.model.slow_features.features import SlowFeatureLayout
from astseg.training.losses import feature_loss, pixel_entropy_loss, reconstruction_loss

SIZE = (32, 32)
PLAIN = Architecture(SIZE, 3, feature_network="compact-unet", background_network="region")
LEAST_BITS = 2.0**-8
ARCHITECTURES = {
    "the paper's": PLAIN,
    "small": replace(PLAIN, refinement="none", residual_attention_bias=4.0, slot_position_prior=True, shadows=True),
    "textures": replace(
        PLAIN, refinement="residual", slow_features=SlowFeatureLayout("filters", directions=12), glimpse_channels=(8,)
    ),
}


class FixedMaps(nn.Module):
    """Returns the same maps whatever it is shown."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, images: Tensor) -> Tensor:
        return self.maps


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def losses(rendering: Rendering, images: Tensor) -> list[Tensor]:
    found = [reconstruction_loss(rendering.image, images), pixel_entropy_loss(rendering.weights)]
    if rendering.vectors is not None:
        found.append(feature_loss(rendering.weights, rendering.vectors, torch.ones(2, 12, *images.shape[-2:])))
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_that_follows_the_maps_is_exact(name: str) -> None:
    architecture = ARCHITECTURES[name]
    torch.manual_seed(0)
    model = AstSeg(architecture).eval()
    columns = architecture.num_slots + architecture.latents.columns
    model.feature_maps = FixedMaps(4 * torch.randn(2, columns, 8, 8))
    images, backgrounds, goal = torch.rand(2, 3, *SIZE), torch.rand(2, 3, *model.grid), torch.rand(2, 3, *model.grid)
    residuals = torch.rand(2, 12, *model.grid) if model.slow_features else None
    with torch.no_grad():
        exact = model(images, backgrounds, residuals)
        with autocast():
            found = model(images, backgrounds, residuals)
            found_losses = losses(found, goal)
    for part, expected in zip(flattened(found), flattened(exact), strict=True):
        assert torch.equal(part, expected)
    for loss, expected in zip(found_losses, losses(exact, goal), strict=True):
        assert torch.equal(loss, expected)


def flattened(rendering: Rendering) -> list[Tensor]:
    parts = [*rendering[:5], *rendering.latents, rendering.vectors]
    return [part for part in parts if part is not None]


@pytest.mark.parametrize("network", ["region", "static"])
def test_small_backgrounds_are_exact(network: BackgroundNetwork) -> None:
    torch.manual_seed(0)
    model, images = build_background(network, SIZE), torch.rand(2, 3, *SIZE)
    with torch.no_grad(), autocast():
        found = model(images)
    assert all(torch.equal(part, expected) for part, expected in zip(found, model(images), strict=True))


def test_ae_ne_paints_with_all_bits() -> None:
    torch.manual_seed(0)
    model, images = build_background("simple", SIZE), torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        exact = model(images)
        with autocast():
            found = model(images)
    assert found.image.dtype == found.error.dtype == torch.float32
    assert not torch.equal(found.image, exact.image), "its other layers have fewer"
    assert (found.image - exact.image).abs().max() < 8 * LEAST_BITS
    assert len(found.image.unique()) > len(found.image.bfloat16().unique())


@pytest.mark.parametrize("network", ["segformer-b0", "unet"])
def test_maps_have_all_bits_in_their_last_layer(network: FeatureNetwork) -> None:
    torch.manual_seed(0)
    model = AstSeg(replace(PLAIN, feature_network=network)).eval()
    images = torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        exact = model.feature_maps(images)
        with autocast():
            found = model.feature_maps(images)
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact), "its other layers have fewer"
    assert (found - exact).abs().max() < 8 * LEAST_BITS * exact.abs().max()
