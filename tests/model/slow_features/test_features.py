from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.features.build import FeatureNetwork
from astseg.model.label_rule.settings import LabelRule
from astseg.model.latents import LatentLayout
from astseg.model.slow_features.features import SlowFeatureLayout, SlowFeatures, evidence_by_residuals
from astseg.model.slow_features.ground import bounded, fit_ground, ground_residual
from astseg.model.slow_features.projection import SlowProjection, project

LAYOUT = SlowFeatureLayout("filters", directions=4)
ARCHITECTURE = Architecture(
    (32, 40),
    3,
    "wide-compact-unet",
    "none",
    latents=LatentLayout(appearance_dim=6, min_inverse_scale=2.0, initial_inverse_scale=4.0),
    glimpse_channels=(8, 8, 8),
    initial_background_log_activation=0.0,
    residual_attention_bias=8.0,
    slow_features=LAYOUT,
    background_network="region",
)


def images(count: int = 2) -> Tensor:
    """Noisy grounds with a block of another color."""
    generator = torch.Generator().manual_seed(0)
    noisy = 0.3 + 0.1 * torch.rand(count, 3, 32, 40, generator=generator)
    noisy[:, 0, 8:20, 10:24] += 0.5
    return noisy


def fitted(features: SlowFeatures) -> SlowFeatures:
    """Directions of the blurred colors alone, in units of the noise."""
    matrix = torch.zeros_like(features.matrix)
    matrix[:3, :3] = 50 * torch.eye(3)
    features.projection = SlowProjection(torch.zeros_like(features.mean), matrix)
    return features


@pytest.fixture
def model() -> AstSeg:
    torch.manual_seed(0)
    model = AstSeg(ARCHITECTURE, LabelRule(4.0, background_error=4.0)).eval()
    assert model.slow_features is not None
    fitted(model.slow_features)
    return model


class TestSlowFeatures:
    def test_ground_is_near_zero_and_an_object_far(self) -> None:
        found = fitted(SlowFeatures(LAYOUT))(images())
        assert found.coarse.shape == (2, 4, 16, 20)
        assert found.fine.shape == (2, 4, 32, 40)
        lengths = found.fine.norm(dim=1)
        assert lengths[:, 10:18, 12:22].min() > 0.6
        assert lengths[:, 25:].mean() < 0.25
        assert lengths.max() < 1

    @pytest.mark.parametrize("backbone", ["filters", "efficientnet-lite0"])
    def test_projecting_first_changes_nothing(self, backbone: str) -> None:
        features = SlowFeatures(replace(LAYOUT, backbone=backbone))
        generator = torch.Generator().manual_seed(1)
        mean, matrix = (torch.rand(part.shape, generator=generator) for part in features.projection)
        features.projection = SlowProjection(mean, matrix)
        expected = project(features.backbone(images(), (32, 40)), features.projection)
        coarse = F.adaptive_avg_pool2d(expected, (16, 20))
        residual = ground_residual(expected, fit_ground(coarse))
        torch.testing.assert_close(features(images()).fine, bounded(residual, 9.0), rtol=1e-3, atol=1e-4)

    def test_the_projection_is_saved_and_the_backbone_is_not(self, model: AstSeg, tmp_path: Path) -> None:
        names = [name for name in model.state_dict() if name.startswith("slow_features")]
        assert names == ["slow_features.mean", "slow_features.matrix"]
        model.save_pretrained(tmp_path)
        loaded = AstSeg.from_pretrained(tmp_path)
        assert loaded.architecture == ARCHITECTURE
        assert torch.equal(loaded.segment(images()).labels, model.segment(images()).labels)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_weights_of_16_bits(self, model: AstSeg, dtype: torch.dtype) -> None:
        small = AstSeg(model.architecture).eval().to(dtype)
        assert small.segment(images()).labels.shape == model.segment(images()).labels.shape

    @pytest.mark.parametrize("change", [{"directions": 0}, {"stride": 0}, {"scale": 0.0}])
    def test_refuses_the_impossible(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=rf"^{next(iter(change))} should be "):
            replace(LAYOUT, **change)

    @pytest.mark.parametrize("network", ["segformer-b0", "unet"])
    def test_the_papers_networks_see_them(self, network: FeatureNetwork, tmp_path: Path) -> None:
        model = AstSeg(replace(ARCHITECTURE, image_size=(64, 64), feature_network=network)).eval()
        assert model.slow_features is not None
        fitted(model.slow_features)
        model.save_pretrained(tmp_path)
        seen = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            expected, found = model(seen), AstSeg.from_pretrained(tmp_path).eval()(seen)
        torch.testing.assert_close(found.image, expected.image)
        assert not expected.vectors.isnan().any()


def test_evidence_rises_with_the_distance_and_spares_the_ground() -> None:
    distances = torch.tensor([0.0, 3.0, 6.0, 12.0, 1e4]).view(1, 1, 1, 5)
    found = evidence_by_residuals(bounded(distances, 9.0), 9.0).flatten()
    shares = distances.flatten().square() / (36 + distances.flatten().square())
    torch.testing.assert_close(found, ((shares - 0.25) / 0.75).clamp(0, 1), rtol=1e-2, atol=5e-3)
    assert found[1] == 0


def test_residuals_without_pixels_are_ground_there() -> None:
    found = fitted(SlowFeatures(LAYOUT))(images())
    pixels = torch.zeros(2, 1, 32, 40, dtype=torch.bool)
    pixels[0, 0, 9, 10] = True
    left = found.without(pixels)
    changed = (left.fine != found.fine).any(1)
    assert changed.nonzero().tolist() == [[0, 9, 10]]
    changed_cells = (left.coarse != found.coarse).any(1)
    assert changed_cells.nonzero().tolist() == [[0, 9 // LAYOUT.stride, 10 // LAYOUT.stride]]
    assert not left.fine[0, :, 9, 10].any()
    assert not left.coarse[0, :, 9 // LAYOUT.stride, 10 // LAYOUT.stride].any()


class TestModel:
    def test_residuals_may_come_from_outside(self, model: AstSeg) -> None:
        assert model.slow_features is not None
        with torch.no_grad():
            own = model.encode(images())
            given = model.encode(images(), residuals=model.slow_features(images()).coarse)
        for found, expected in zip(given, own, strict=True):
            torch.testing.assert_close(found, expected)

    def test_renders_at_the_backgrounds_size(self, model: AstSeg) -> None:
        rendering = model(images(), torch.zeros(2, 3, 16, 20))
        assert rendering.image.shape == (2, 3, 16, 20)
        assert rendering.vectors.shape == (2, 3, 4)
        assert (rendering.vectors.norm(dim=-1) < 1).all()
        assert model.reconstruct(images()).image.shape == (2, 3, 32, 40)

    def test_colors_move_neither_masks_nor_glimpses(self, model: AstSeg) -> None:
        latents = model.encode(images())
        positions = latents.positions.detach().requires_grad_()
        rendering = model.render(latents._replace(positions=positions), torch.zeros(2, 3, 16, 20))
        by_color, by_mask = (
            torch.autograd.grad(part.square().sum(), positions, retain_graph=True, allow_unused=True)[0]
            for part in (rendering.image, rendering.weights)
        )
        assert by_color is None or not by_color.any()
        assert by_mask is not None
        assert by_mask.any()

    def test_labels_by_features(self, model: AstSeg) -> None:
        by_rule = model.segment(images()).labels
        by_weights = model.segment(images(), use_label_rule=False).labels
        assert by_rule.shape == by_weights.shape == (2, 32, 40)
        assert model.segment(torch.rand(3, 50, 60)).labels.shape == (50, 60)
