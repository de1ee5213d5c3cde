from dataclasses import replace

import pytest
import torch
from tests.tensors import random

import astseg
from astseg.data.scenes import render
from astseg.model.label_rule import enlarging, sharpening, windowed_sharpening
from astseg.model.label_rule.settings import LabelRule
from astseg.model.label_rule.sharpening import sharpen_weights
from astseg.model.label_rule.windowed_sharpening import sharpen_in_windows

RULE = LabelRule(histogram_pull=2.0, neighbor_pull=1.5)


class TestSharpenInWindows:
    @pytest.mark.parametrize("size", [(37, 50), (9, 60), (40, 5)])
    @pytest.mark.parametrize("limit", [2**17, 500])
    @pytest.mark.parametrize(
        "rule",
        [
            RULE,
            replace(RULE, between_objects=False),
            replace(RULE, histogram_pull=0.0),
            replace(RULE, neighbor_pull=0.0),
            LabelRule(neighbor_pull=500.0),
        ],
        ids=["all", "one histogram of objects", "no histograms", "no neighbors", "a pull that exp cannot hold"],
    )
    def test_in_windows_as_large_as_the_image_it_sharpens_all_layers(
        self, rule: LabelRule, size: tuple[int, int], limit: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(windowed_sharpening, "WINDOW_MARGIN", 100)
        monkeypatch.setattr(sharpening, "MAX_SHARPENED_PIXELS", limit)
        weights, image = (3 * random(4, 10, 12)).softmax(0), random(3, *size, seed=1).sigmoid()
        expected = sharpen_weights(weights[None], image[None], rule)[0]
        torch.testing.assert_close(sharpen_in_windows(weights, image, rule), expected, rtol=0, atol=1e-9)

    def test_an_object_reaches_no_farther_than_its_window(self) -> None:
        """It owns one cell; its color is found nearby, where it may own pixels, and far away, where it may not."""
        weights = torch.zeros(2, 16, 16, dtype=torch.float64)
        weights[1, 4, 4] = 0.9
        weights[0] = 1 - weights[1]
        image = torch.zeros(3, 64, 64, dtype=torch.float64)
        image[0, 16:26, 16:20] = 1  # the cell and what is below it
        image[0, 52:56, 52:56] = 1
        rule = LabelRule(neighbor_pull=0.0, histogram_pull=5.0)
        everywhere = sharpen_weights(weights[None], image[None], rule)[0].argmax(0)
        found = sharpen_in_windows(weights, image, rule).argmax(0)
        assert torch.equal(everywhere, image[0].long())
        everywhere[52:56, 52:56] = 0
        assert torch.equal(found, everywhere)

    def test_an_owner_by_a_small_share_has_a_window(self) -> None:
        """Of thirty layers, each may own a cell by less than a tenth."""
        weights = torch.full((30, 8, 8), 0.95 / 29, dtype=torch.float64)
        weights[7] = 0.05
        silent = LabelRule(neighbor_pull=0.0, histogram_pull=0.0)
        assert (sharpen_in_windows(weights, random(3, 16, 16).sigmoid(), silent).argmax(0) == 7).all()

    @pytest.mark.parametrize("layers", [1, 3])
    def test_without_objects_all_is_background(self, layers: int) -> None:
        weights = torch.zeros(layers, 8, 8)
        weights[0] = 1
        sharp = sharpen_in_windows(weights, torch.rand(3, 20, 24), LabelRule())
        assert (sharp[0] == 1).all()
        assert not sharp[1:].any()

    @pytest.mark.parametrize("name", ["rooms", "clevr"])
    def test_labels_are_those_of_all_layers_everywhere(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of ten thousand pixels, at most one differs."""
        scenes = torch.from_numpy(render(name, 3, range(3), 200).images).movedim(-1, 1) / 255
        model = astseg.load_model(name)
        in_windows = model.segment(scenes).labels
        monkeypatch.setattr(
            enlarging,
            "sharpen_in_windows",
            lambda weights, image, rule: sharpen_weights(weights[None], image[None], rule)[0],
        )
        everywhere = model.segment(scenes).labels
        assert (everywhere > 0).any()
        assert (in_windows != everywhere).double().mean() < 1e-4
