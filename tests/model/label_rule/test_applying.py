"""The rule as a whole; its steps have tests of their own."""

import pytest
import torch

from astseg.model.label_rule.applying import apply_label_rule
from astseg.model.label_rule.settings import LabelRule
from astseg.model.latents import ObjectLatents
from astseg.model.layer_owners import layer_owners
from astseg.model.rendering import Rendering


@pytest.mark.parametrize("split_parts", [False, True])
def test_a_single_odd_pixel_before_a_static_background_is_no_object(*, split_parts: bool) -> None:
    background = torch.full((1, 3, 32, 32), 0.5)
    images = background.clone()
    images[:, :, 24, 24] = torch.tensor([0.1, 0.9, 0.1])
    weights = torch.full((1, 3, 32, 32), 0.01)
    weights[:, 0] = 0.98
    places = torch.zeros(1, 2, 2)
    latents = ObjectLatents(places, places + 1, torch.zeros(1, 2), torch.zeros(1, 2, 4))
    layers, masks = torch.zeros(1, 2, 3, 32, 32), torch.ones(1, 2, 32, 32)
    rendering = Rendering(background, weights, layers, masks, background, latents)
    rule = LabelRule(noise_multiple=7.0, split_parts=split_parts)
    found, _ = apply_label_rule(rendering, images, rule, noise=torch.full((32, 32), 1 / 255))
    assert not layer_owners(found).any()
