import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tensors import random

from astseg.model.label_rule.color_histograms import (
    BINS_PER_CHANNEL,
    HISTOGRAM_PRIOR,
    color_bins,
    color_log_likelihoods,
)


class TestColorBins:
    @pytest.mark.parametrize(
        ("color", "index"),
        [
            ((0.0, 0.0, 0.0), 0),
            ((1.0, 1.0, 1.0), BINS_PER_CHANNEL**3 - 1),
            ((0.0, 0.0, 0.126), 1),
            ((0.0, 0.126, 0.0), BINS_PER_CHANNEL),
            ((0.126, 0.0, 0.124), BINS_PER_CHANNEL**2),
        ],
    )
    def test_corners_and_steps(self, color: tuple[float, ...], index: int) -> None:
        assert color_bins(torch.tensor(color).view(1, 3, 1, 1)).item() == index

    @given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
    def test_every_color_has_a_bin(self, red: float, green: float, blue: float) -> None:
        index = color_bins(torch.tensor([red, green, blue], dtype=torch.float64).view(1, 3, 1, 1)).item()
        assert 0 <= index < BINS_PER_CHANNEL**3


class TestColorLogLikelihoods:
    def test_equals_a_loop_over_pixels(self) -> None:
        weights = random(2, 3, 4, 5).softmax(1)
        bins = color_bins(random(2, 3, 4, 5, seed=1).round(decimals=0))  # eight colors, each of several pixels
        found = color_log_likelihoods(weights, bins)
        prior = HISTOGRAM_PRIOR * 20
        for n, layer, j, i in np.ndindex(2, 3, 4, 5):
            mine = [bins[n, y, x] for y, x in np.ndindex(4, 5) if weights[n, :, y, x].argmax() == layer]
            alike = sum(int(other == bins[n, j, i]) for other in mine)
            share = float((bins[n] == bins[n, j, i]).double().mean())
            expected = np.log((alike + prior * share) / (len(mine) + prior))
            assert found[n, layer, j, i].item() == pytest.approx(expected, abs=1e-12)

    def test_likelihoods_of_all_colors_sum_to_one(self) -> None:
        weights = random(1, 3, 8, 8).softmax(1)
        bins = color_bins(random(1, 3, 8, 8, seed=1).round(decimals=0))
        found = color_log_likelihoods(weights, bins).exp()[0].flatten(1)
        _, first = np.unique(bins.flatten().numpy(), return_index=True)
        torch.testing.assert_close(found[:, first].sum(1), torch.ones(3, dtype=torch.float64))

    def test_a_layer_without_pixels_has_the_colors_of_the_image(self) -> None:
        weights = torch.zeros(1, 2, 1, 4)
        weights[:, 0] = 1
        bins = torch.tensor([[[0, 0, 0, 7]]])
        found = color_log_likelihoods(weights, bins).exp()
        torch.testing.assert_close(found[0, 1], torch.tensor([[0.75, 0.75, 0.75, 0.25]]))
