import pytest
import torch
import torch.nn.functional as F
from tests.tensors import random

from astseg.model.label_rule.enlarging import majority_weights


class TestMajorityWeights:
    @pytest.mark.parametrize("size", [(4, 5), (7, 3), (20, 16)])
    def test_equals_means_over_the_pixels_around(self, size: tuple[int, int]) -> None:
        weights = random(2, 3, 20, 16).softmax(1)
        owned = F.one_hot(weights.argmax(1), 3).movedim(-1, 1).double()
        down, right = 20 // size[0], 16 // size[1]
        padded = F.pad(owned, [right, right, down, down], mode="replicate")
        expected = F.avg_pool2d(padded, (2 * down + 1, 2 * right + 1), 1)
        torch.testing.assert_close(majority_weights(weights, size), expected)
