import math

import pytest
import torch

from astseg.model.latents import ObjectLatents
from astseg.model.rendering import Rendering
from astseg.training.diagnostics import measure_diagnostics


def test_signs_of_a_known_rendering() -> None:
    # Two images of four pixels, three slots. In the second, slot 1 owns one pixel and slot 3 two.
    weights = torch.zeros(2, 4, 2, 2)
    weights[0, 0] = 1
    weights[1, 0, 0, 0] = 1
    weights[1, 1, 0, 1] = 1
    weights[1, 3, 1] = 0.75
    weights[1, 2, 1] = 0.25
    log_activations = torch.tensor([[1.0, 3.0, 2.0], [5.0, -1.0, 0.0]])
    nothing = torch.zeros(2, 3, 2)
    latents = ObjectLatents(nothing, nothing, log_activations, nothing)
    image, layers, masks = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    signs = measure_diagnostics(Rendering(image, weights, layers, masks, image, latents), 2.5)
    assert signs.background_share == pytest.approx(5 / 8)
    assert signs.active_slots == pytest.approx((0 + 2) / 2)
    mixed = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert signs.entropy == pytest.approx(mixed * 2 / 8)
    assert signs.activation == pytest.approx((3 + 5) / 2 - 2.5)
