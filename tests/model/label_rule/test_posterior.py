from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.tensors import random

from astseg.model.label_rule.applying import separate_parts
from astseg.model.label_rule.posterior import posterior_weights
from astseg.model.label_rule.settings import LabelRule
from astseg.model.latents import ObjectLatents
from astseg.model.rendering import Rendering, composite

SILENT = LabelRule(
    0.0,
    background_error=0.0,
    background_margin=0.0,
    neighbor_pull=0.0,
    histogram_pull=0.0,
    min_pixels=0,
    duplicate_likeness=0.0,
)


class TestPosteriorWeights:
    def rendering(self) -> Rendering:
        weights = random(2, 4, 3, 5)
        weights = weights / weights.sum(1, keepdim=True)
        layers, background = random(2, 3, 3, 3, 5, seed=1), random(2, 3, 3, 5, seed=2)
        empty = torch.zeros(2, 3, 2, dtype=torch.float64)
        latents = ObjectLatents(empty, empty, empty[..., 0], empty)
        image = composite(weights, background, layers)
        return Rendering(image, weights, layers, random(2, 3, 3, 5, seed=3), background, latents)

    def test_equals_the_formula(self) -> None:
        rendering, images = self.rendering(), random(2, 3, 3, 5, seed=4)
        rule = replace(SILENT, object_error=2.0, background_error=9.0, background_margin=0.7, max_shade=0.3)
        found = posterior_weights(rendering, images, rule)
        for n, j, i in np.ndindex(2, 3, 5):
            pixel = images[n, :, j, i].numpy()
            background = rendering.background[n, :, j, i].numpy()
            shades = np.linspace(0.7, 1, 100_001)
            nearest = shades[np.argmin(((pixel[:, None] - shades * background[:, None]) ** 2).sum(0))]
            errors = [9.0 * np.abs(pixel - nearest * background).sum() + 0.7]
            errors += [2.0 * np.abs(pixel - layer[:, j, i].numpy()).sum() for layer in rendering.layers[n]]
            expected = rendering.weights[n, :, j, i].numpy() * np.exp(-np.array(errors))
            np.testing.assert_allclose(found[n, :, j, i].numpy(), expected / expected.sum(), atol=1e-3)

    def test_without_between_objects_only_weights_decide_between_them(self) -> None:
        rendering, images = self.rendering(), random(2, 3, 3, 5, seed=4)
        rule = replace(SILENT, object_error=2.0, background_error=9.0, between_objects=False)
        found = posterior_weights(rendering, images, rule)
        alone = posterior_weights(rendering, images, replace(rule, between_objects=True))
        objects = rendering.weights[:, 1:]
        torch.testing.assert_close(found[:, 1:] / found[:, 1:2], objects / objects[:, :1])
        # The mean error decides between objects and background.
        errors = (images[:, None] - rendering.layers).abs().sum(2)
        mean = (objects * errors).sum(1) / objects.sum(1)
        lost = found[:, 1:].sum(1) / found[:, 0] * (alone[:, 0] / (alone[:, 1:] * torch.exp(2 * errors)).sum(1))
        torch.testing.assert_close(lost, torch.exp(-2 * mean))

    def test_histograms_give_a_rim_to_the_layer_of_its_color(self) -> None:
        """Two stripes of an object's pattern: its mask ends a column too early, and the histogram finds the last."""
        images = torch.tensor([0.9, 0.9, 0.9, 0.1, 0.1, 0.1]).expand(1, 3, 6, 6).clone()
        weights = torch.full((1, 2, 6, 6), 0.02)
        weights[:, 0, :, :2] = weights[:, 1, :, 3:] = 0.98
        weights[..., 2] = torch.tensor([0.4, 0.6])[:, None]
        empty = torch.zeros(1, 1, 2)
        latents = ObjectLatents(empty, empty, empty[..., 0], empty)
        rendering = Rendering(images, weights, images[:, None], weights[:, 1:], images, latents)
        labels = [
            posterior_weights(rendering, images, replace(SILENT, histogram_pull=pull)).argmax(1)[0, 0].tolist()
            for pull in (0.0, 1.0)
        ]
        assert labels == [[0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]]

    def test_without_between_objects_histograms_do_not_decide_between_them(self) -> None:
        """A red object and a blue one: slot 2 reaches a row into the red, and both end a column too early."""
        images = torch.zeros(1, 3, 6, 6)
        images[:, 0, :3], images[:, 2, 3:] = 0.9, 0.9
        images[..., 4:] = 0.4
        weights = torch.full((1, 3, 6, 6), 0.02)
        weights[:, 1, :2], weights[:, 2, 3:], weights[:, 2, 2] = 0.96, 0.96, 0.53
        weights[:, 1, 2] = 0.45
        weights[:, :, :, 3] = weights[:, :, :, 3] * 0.4
        weights[:, 0, :, 3] = 0.6
        weights[..., 4:] = torch.tensor([0.96, 0.02, 0.02]).view(3, 1, 1)
        empty = torch.zeros(1, 2, 2)
        latents = ObjectLatents(empty, empty, empty[..., 0], empty)
        rendering = Rendering(images, weights, images[:, None].expand(1, 2, 3, 6, 6), weights[:, 1:], images, latents)
        found = [
            posterior_weights(rendering, images, replace(SILENT, histogram_pull=2.0, between_objects=between)).argmax(1)
            for between in (False, True)
        ]
        ends = [0, 0]
        assert found[0][0].tolist() == 2 * [[1, 1, 1, 1, *ends]] + 4 * [[2, 2, 2, 2, *ends]]
        assert found[1][0].tolist() == 3 * [[1, 1, 1, 1, *ends]] + 3 * [[2, 2, 2, 2, *ends]]

    def test_a_rule_of_zeros_keeps_the_weights(self) -> None:
        rendering = self.rendering()
        found = posterior_weights(rendering, random(2, 3, 3, 5, seed=4), SILENT)
        torch.testing.assert_close(found, rendering.weights)

    def test_a_shade_of_the_background_counts_as_background(self) -> None:
        rendering = self.rendering()
        rule = replace(SILENT, background_error=25.0)
        lit, dim = (posterior_weights(rendering, light * rendering.background, rule) for light in (1.0, 0.5))
        torch.testing.assert_close(lit, dim)
        too_dark = posterior_weights(rendering, 0.05 * rendering.background, rule)
        assert (too_dark[:, 0] < dim[:, 0]).all()
        strict = posterior_weights(rendering, 0.5 * rendering.background, replace(rule, max_shade=0.1))
        assert (strict[:, 0] < dim[:, 0]).all()

    def test_a_layer_without_weight_gets_none(self) -> None:
        rendering = self.rendering()
        rendering.weights[:, 1] = 0
        found = posterior_weights(rendering, torch.ones(2, 3, 3, 5, dtype=torch.float64), LabelRule())
        assert found[:, 1].max() < 1e-9
        torch.testing.assert_close(found.sum(1), torch.ones(2, 3, 5, dtype=torch.float64))

    @pytest.mark.parametrize(("min_pixels", "left"), [(0, True), (3, True), (4, False)])
    def test_small_slots_are_dropped(self, min_pixels: int, left: bool) -> None:
        rendering = self.rendering()
        rendering.weights[:] = torch.tensor([0.1, 0.2, 0.6, 0.1]).view(4, 1, 1)
        rendering.weights[:, :, 0, :3] = torch.tensor([0.1, 0.6, 0.2, 0.1]).view(4, 1)  # three pixels of slot 1
        found = posterior_weights(rendering, random(2, 3, 3, 5), replace(SILENT, min_pixels=min_pixels))
        owners = found.argmax(1)
        assert (owners == 1).any() == left
        assert (owners == 2).sum() == 2 * (12 if left else 15)
        torch.testing.assert_close(found.sum(1), torch.ones(2, 3, 5, dtype=torch.float64))

    def test_an_image_of_small_slots_is_background(self) -> None:
        found = posterior_weights(self.rendering(), random(2, 3, 3, 5), replace(SILENT, min_pixels=16))
        assert (found.argmax(1) == 0).all()

    @pytest.mark.parametrize("light", [1.0, 0.6])
    def test_a_slot_with_a_shade_of_the_background_is_dropped(self, light: float) -> None:
        rendering = self.rendering()
        rendering.weights[:] = torch.tensor([0.1, 0.2, 0.6, 0.1]).view(4, 1, 1)
        rendering.weights[..., :2] = torch.tensor([0.1, 0.8, 0.1, 0.0]).view(4, 1, 1)
        background = torch.full((2, 3, 3, 5), 0.5, dtype=torch.float64)
        images = light * background
        images[:, 0, :, 2:] = 0.0
        rendering = rendering._replace(background=background)
        owners = posterior_weights(rendering, images, replace(SILENT, background_likeness=0.2)).argmax(1)
        # Slot 2 has another color than the background; slot 1's pixels go to the next largest weight.
        assert (owners[..., 2:] == 2).all()
        assert (owners[..., :2] == 0).all()
        kept = posterior_weights(rendering, images, SILENT).argmax(1)
        assert (kept[..., :2] == 1).all()

    def test_a_slot_on_the_ground_is_dropped(self) -> None:
        rendering = self.rendering()
        rendering.weights[:] = torch.tensor([0.1, 0.2, 0.6, 0.1]).view(4, 1, 1)
        rendering.weights[..., :2] = torch.tensor([0.1, 0.8, 0.1, 0.0]).view(4, 1, 1)
        rendering = rendering._replace(vectors=torch.zeros(2, 3, 4, dtype=torch.float64))
        residuals = torch.zeros(2, 4, 3, 5, dtype=torch.float64)
        residuals[:, 0, :, :2], residuals[:, 1, :, 2:] = 0.4, 0.8  # slot 1 is nearer to the ground than slot 2
        images = torch.full((2, 3, 3, 5), 0.5, dtype=torch.float64)
        for likeness, left in ((0.3, {1, 2}), (0.45, {0, 2}), (0.9, {0})):
            rule = replace(SILENT, background_likeness=likeness)
            assert {*posterior_weights(rendering, images, rule, residuals).argmax(1).flatten().tolist()} == left

    def test_of_separate_parts_those_on_the_ground_are_dropped(self) -> None:
        rendering = self.rendering()
        rendering.weights[:] = torch.tensor([0.7, 0.1, 0.1, 0.1]).view(4, 1, 1)
        rendering.weights[..., [0, 1, 3, 4]] = torch.tensor([0.1, 0.8, 0.1, 0.0]).double().view(4, 1, 1)  # slot 1
        rendering = rendering._replace(vectors=torch.zeros(2, 3, 4, dtype=torch.float64))
        residuals = torch.zeros(2, 4, 3, 5, dtype=torch.float64)
        residuals[:, 0, :, :2], residuals[:, 0, :, 3:] = 0.4, 0.8
        images = torch.full((2, 3, 3, 5), 0.5, dtype=torch.float64)
        for likeness, left in ((0.3, [1, 1, 0, 2, 2]), (0.45, [0, 0, 0, 2, 2]), (0.9, [0, 0, 0, 0, 0])):
            rule = replace(SILENT, split_parts=True, background_likeness=likeness)
            weights = posterior_weights(rendering, images, rule, residuals)
            assert weights.argmax(1)[0, 0].tolist() == [1, 1, 0, 1, 1]  # the slot as a whole is asked nothing
            parts, origins = separate_parts(weights, rendering, images, rule, residuals)
            assert parts.argmax(1)[0, 0].tolist() == left
            assert origins[0, :2].tolist() == [0, 0]

    @pytest.mark.parametrize(("duplicate_likeness", "left"), [(0.15, {1}), (0.0, set())])
    def test_slots_are_merged_before_small_ones_are_dropped(self, duplicate_likeness: float, left: set[int]) -> None:
        rendering = self.rendering()
        rendering.weights[:] = torch.tensor([0.7, 0.1, 0.1, 0.1]).view(4, 1, 1)
        rendering.weights[..., 0] = torch.tensor([0.1, 0.7, 0.1, 0.1]).view(4, 1)  # three pixels of slot 1
        rendering.weights[..., 1] = torch.tensor([0.1, 0.1, 0.7, 0.1]).view(4, 1)  # and three of slot 2
        images = torch.full((2, 3, 3, 5), 0.5, dtype=torch.float64)
        rule = replace(SILENT, min_pixels=6, duplicate_likeness=duplicate_likeness)
        owners = posterior_weights(rendering, images, rule).argmax(1)
        assert {*owners.flatten().tolist()} == {0, *left}
        assert (owners > 0).sum() == 12 * len(left)

    def test_black_images_give_finite_weights(self) -> None:
        black = torch.zeros(2, 3, 3, 5, dtype=torch.float64)
        rendering = self.rendering()._replace(background=black)
        assert posterior_weights(rendering, black, LabelRule()).isfinite().all()

    @pytest.mark.parametrize(
        "settings",
        [{"background_error": -1.0}, {"likeness": 0.0}, {"likeness": -0.1}, {"max_shade": 1.0}, {"looks": 17}],
    )
    def test_refuses_the_impossible(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=rf"^{next(iter(settings))} should be "):
            LabelRule(**settings)

    def test_weights_are_smoothed_before_small_slots_are_dropped(self) -> None:
        rendering = self.rendering()
        rendering.weights[:] = torch.tensor([0.2, 0.6, 0.1, 0.1]).view(4, 1, 1)
        rendering.weights[:, :, 1, 2] = torch.tensor([0.6, 0.2, 0.1, 0.1])  # a hole in slot 1
        images = torch.full((2, 3, 3, 5), 0.5, dtype=torch.float64)
        alone = replace(SILENT, min_pixels=15)
        assert (posterior_weights(rendering, images, alone).argmax(1) == 0).all()
        together = posterior_weights(rendering, images, replace(alone, neighbor_pull=1.0))
        assert (together.argmax(1) == 1).all()
