"""The whole network against the plain transcription that the benchmarks measure it by."""

import pytest
import torch
from benchmarks.plain_networks import (
    PlainBackground,
    PlainObjects,
    copy_parameters,
    plain_background_loss,
    plain_objects_loss,
)
from torch import Tensor

from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.build import build_background
from astseg.model.features.build import FeatureNetwork
from astseg.model.latents import LatentLayout
from astseg.training.batches import Batch
from astseg.training.config import ForegroundTraining
from astseg.training.losses import background_loss
from astseg.training.phases import ObjectsPhase

SIDE, SLOTS = 64, 4


def assert_close_but_at_edges(found: Tensor, expected: Tensor) -> None:
    """At the edge of a small glimpse, the last bit of a position shows a hundredfold."""
    difference = (found - expected).abs()
    assert (difference > 1e-5).float().mean() < 0.001
    assert difference.max() < 1e-3


@pytest.mark.parametrize("network", ["segformer-b3", "unet"])
def test_objects(network: FeatureNetwork) -> None:
    torch.manual_seed(0)
    latents = LatentLayout(anisotropic=True)
    model = AstSeg(
        Architecture((SIDE, SIDE), SLOTS, feature_network=network, latents=latents, background_network="static")
    ).eval()
    with torch.no_grad():
        model.background_log_activation.fill_(-1.0)  # 11 would leave nothing of the objects to compare
    images, backgrounds = torch.rand(2, 2, 3, SIDE, SIDE).unbind()
    phase = ObjectsPhase(ForegroundTraining(), 10)
    loss = phase.losses(model, Batch(images, backgrounds), phase.schedule(5_000))
    model.background = None
    plain = PlainObjects(SIDE, SLOTS, network).eval()
    copy_parameters(model, plain)
    painted, weights = plain(images, backgrounds)
    assert loss.rendering is not None
    assert_close_but_at_edges(loss.rendering.image, painted)
    assert_close_but_at_edges(loss.rendering.weights, weights)
    labels = weights.argmax(1)
    assert len(labels.unique()) > 1
    assert (loss.rendering.weights.argmax(1) == labels).float().mean() > 0.999
    expected = plain_objects_loss(plain, images, backgrounds, 5_000)
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("side", [64, 128])
def test_background(side: int) -> None:
    torch.manual_seed(0)
    model = build_background("complex", (side, side))
    plain = PlainBackground(side)
    copy_parameters(model, plain)
    images = torch.rand(2, 3, side, side)
    with torch.no_grad():
        loss, expected = background_loss(images, model(images)), plain_background_loss(plain, images)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
