import numpy as np
import torch
from tests.tensors import random

from astseg.model.label_rule.slot_dropping import drop_shadow_slots


class TestDropShadowSlots:
    def test_equals_a_loop_over_slots(self) -> None:
        weights, errors = (6 * random(8, 5, 4, 6)).softmax(1), random(8, 1, 4, 6, seed=1)
        found = drop_shadow_slots(weights, errors, 0.45)
        gone = 0
        for own, error, result in zip(weights.numpy(), errors[:, 0].numpy(), found.numpy(), strict=True):
            labels, expected = own.argmax(0), own.copy()
            for slot in range(1, 5):
                distances = np.sort(error[labels == slot])
                if len(distances) and distances[(len(distances) - 1) // 2] < 0.45:
                    expected[slot] = 0
                    gone += 1
            np.testing.assert_allclose(result, expected / expected.sum(0), rtol=1e-9)
        assert 5 < gone < 27  # otherwise nothing is tested

    def test_zero_keeps_all(self) -> None:
        weights = random(1, 3, 4, 5).softmax(1)
        assert drop_shadow_slots(weights, torch.zeros(1, 1, 4, 5, dtype=torch.float64), 0.0) is weights

    def test_an_image_of_shades_is_background(self) -> None:
        weights = torch.nn.functional.one_hot(torch.ones(1, 4, 5, dtype=torch.long), 3).permute(0, 3, 1, 2).double()
        found = drop_shadow_slots(weights, torch.zeros(1, 1, 4, 5, dtype=torch.float64), 0.2)
        assert (found.argmax(1) == 0).all()
