import csv
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from astseg._core.errors import AstSegError
from astseg.data.store import Split
from astseg.evaluation import metrics
from astseg.evaluation.evaluator import (
    Evaluation,
    evaluate,
    write_per_image,
)
from astseg.evaluation.protocol import LARGEST_WEIGHT_RULE
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.static import StaticBackground
from astseg.model.label_rule.settings import LabelRule
from astseg.model.resizing import resized

SLOTS = 3


class RedChannelModel(AstSeg):
    """Reads the label of a pixel from its red value and paints every image a tenth too dark."""

    num_slots = SLOTS
    image_size = (8, 8)
    label_rule = LabelRule()
    slow_features: Any = None

    def __init__(self, paints_background: bool = True) -> None:
        nn.Module.__init__(self)
        self.nothing = nn.Parameter(torch.zeros(()))
        self.background = StaticBackground((32, 32)) if paints_background else None
        self.batches: list[int] = []

    def segment_with_rendering(
        self, images: Tensor, *, use_label_rule: bool = True, paint_background: bool = True
    ) -> Any:
        assert paint_background == (self.background is not None)
        self.batches.append(len(images))
        labels = (images[:, 0] * 255).round().long()
        rendering = SimpleNamespace(image=resized(images, self.image_size) - 0.1)
        return SimpleNamespace(labels=labels if use_label_rule else 0 * labels), rendering


def block_labels(rng: np.random.Generator, count: int, highest: int) -> np.ndarray:
    return np.kron(rng.integers(0, highest + 1, (count, 4, 4), dtype=np.uint8), np.ones((1, 2, 2), np.uint8))


def split_of(predicted: np.ndarray, masks: np.ndarray | None, shadows: np.ndarray | None = None) -> Split:
    """A split for which RedChannelModel predicts `predicted`."""
    images = np.full((*predicted.shape, 3), 128, np.uint8)
    images[..., 0] = predicted
    return Split("test", images, masks, shadows)


@pytest.fixture
def masks() -> np.ndarray:
    """Seven images: without an object, with one, with two and more."""
    rng = np.random.default_rng(0)
    return np.concatenate([block_labels(rng, 1, highest) for highest in (0, 1, 2, 3, 3, 3, 3)])


@pytest.fixture
def split(masks: np.ndarray) -> Split:
    """A split where four of five pixels are predicted correctly, the others as background."""
    kept = np.random.default_rng(1).random(masks.shape) < 0.8
    return split_of(np.where(kept, masks, 0).astype(np.uint8), masks)


@pytest.fixture
def evaluation(split: Split) -> Evaluation:
    return evaluate(RedChannelModel(), split)


class TestEvaluate:
    @pytest.mark.parametrize("batch_size", [0, -1])
    def test_refuses_an_empty_batch(self, split: Split, batch_size: int) -> None:
        with pytest.raises(ValueError, match="batch size"):
            evaluate(RedChannelModel(), split, batch_size)

    @pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
    def test_every_image_counts_exactly_once(self, split: Split, masks: np.ndarray, batch_size: int) -> None:
        model, calls = RedChannelModel(), []
        found = evaluate(model, split, batch_size, lambda done, total: calls.append((done, total)))
        assert sum(model.batches) == 7
        assert calls[-1] == (7, 7)
        assert found.index.tolist() == list(range(7))
        expected = metrics.score_segmentations(split.images[..., 0], masks, SLOTS + 1)
        for field in fields(expected):
            np.testing.assert_array_equal(getattr(found.scores, field.name), getattr(expected, field.name))

    def test_error_of_the_reconstruction(self, evaluation: Evaluation) -> None:
        assert evaluation.mse == pytest.approx(8 * 8 * 3 * 0.01, rel=1e-5)

    def test_a_non_finite_reconstruction_is_an_error(self, split: Split) -> None:
        class Broken(RedChannelModel):
            def segment_with_rendering(self, images: Tensor, **options: bool) -> Any:
                found, rendering = super().segment_with_rendering(images, **options)
                rendering.image[3, 0, 0, 0] = torch.nan
                return found, rendering

        with pytest.raises(AstSegError, match="non-finite"):
            evaluate(Broken(), split)

    def test_objects_are_labels_with_a_pixel(self, masks: np.ndarray, evaluation: Evaluation) -> None:
        expected = [len(set(mask.ravel().tolist()) - {0}) for mask in masks]
        assert evaluation.objects.tolist() == expected
        assert evaluation.objects[0] == 0

    def test_background_everywhere(self, masks: np.ndarray, evaluation: Evaluation) -> None:
        nothing = metrics.mean_iou(np.zeros_like(masks), masks, SLOTS + 1)
        np.testing.assert_array_equal(evaluation.background_everywhere.miou, nothing)

    def test_another_size_is_resized_back(self, masks: np.ndarray, evaluation: Evaluation) -> None:
        large = np.kron(masks, np.ones((1, 2, 2), np.uint8))
        found = evaluate(RedChannelModel(), split_of(large, large))
        assert "resized to 8 x 8" in found.protocol
        assert "own edges and colors" in found.protocol
        assert "own edges" not in evaluate(RedChannelModel(), split_of(large, large), use_label_rule=False).protocol
        assert "own edges" not in evaluate(RedChannelModel(), split_of(masks[:, ::2], masks[:, ::2])).protocol
        assert "resized" not in evaluation.protocol
        np.testing.assert_allclose(found.scores.miou, 1)

    def test_shares_of_shadow_and_lit_pixels(self) -> None:
        masks, shadows, predicted = np.zeros((3, 2, 8, 8), np.uint8)
        masks[:, 0] = 1
        shadows[0, 0:3] = 1  # 8 of these pixels belong to an object and do not count: 16 do
        predicted[0, 2, :4] = 2  # a quarter of them
        predicted[0, 7] = 3  # and 8 of the 40 lit pixels
        found = evaluate(RedChannelModel(), split_of(predicted, masks, shadows))
        assert found.shadow_claimed == pytest.approx([0.25, np.nan], nan_ok=True)
        assert found.lit_claimed == pytest.approx([0.2, 0])
        assert found.summary().overall.shadow_claimed == 0.25
        assert found.summary().overall.lit_claimed == pytest.approx(0.1)

    def test_a_model_without_a_background_network(self, split: Split) -> None:
        found = evaluate(RedChannelModel(paints_background=False), split)
        assert found.mse is None
        assert found.summary().overall.mse is None

    def test_refuses_a_split_without_masks_or_images(self, split: Split, masks: np.ndarray) -> None:
        with pytest.raises(AstSegError, match="no masks"):
            evaluate(RedChannelModel(), replace(split, masks=None))
        with pytest.raises(AstSegError, match="no images"):
            evaluate(RedChannelModel(), split_of(masks[:0], masks[:0]))

    @pytest.mark.parametrize("given", [np.zeros((2, 8, 8, 3), np.uint8), "data", None])
    def test_refuses_what_is_no_split_or_no_model(self, split: Split, given: Any) -> None:
        with pytest.raises(TypeError, match=r"a split of a store such as store\['test'\], not a "):
            evaluate(RedChannelModel(), given)
        with pytest.raises(TypeError, match=r"takes a model, .*, not a "):
            evaluate(given, split)

    def test_the_real_model(self) -> None:
        torch.manual_seed(0)
        model = AstSeg(Architecture((32, 32), 2, "compact-unet", "none", background_network="region")).train()
        rng = np.random.default_rng(3)
        images = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        found = evaluate(model, Split("test", images, block_labels(rng, 3, 2).repeat(4, 1).repeat(4, 2)), 2)
        assert model.training
        assert np.isfinite(found.scores.miou).all()
        alone = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        errors = (model.reconstruct(alone).image - alone).square().sum((1, 2, 3))
        assert found.mse == pytest.approx(errors.numpy(), rel=1e-4)

    def test_the_protocol_names_dropped_and_merged_slots(self, split: Split) -> None:
        model = RedChannelModel()
        model.label_rule = LabelRule(background_likeness=0.2, duplicate_likeness=0.0, histogram_pull=0.0)
        protocol = evaluate(model, split).protocol
        assert "each layer owns" not in protocol
        assert "each layer owns in the image (1)" in evaluate(RedChannelModel(), split).protocol
        assert "slots dropped whose median pixel is within 0.2 of a shade" in protocol
        assert "touching slots" not in protocol
        assert "touching slots" in evaluate(RedChannelModel(), split).protocol

    def test_the_protocol_of_slow_features(self, split: Split) -> None:
        model = RedChannelModel()
        model.label_rule = LabelRule(
            split_parts=True,
            background_likeness=0.45,
            duplicate_likeness=2.3,
            division_likeness=2.8,
            border_exponent=0.5,
        )
        model.slow_features = object()
        protocol = evaluate(model, split).protocol
        assert "less than 2.3 times the part of the border in common to the power of 0.5," in protocol
        assert "halves differ by 2.8 times the part of the border in common to the power of 0.5 or more," in protocol
        assert "distances in slow features" in protocol
        assert "objects of their own, but for those whose median pixel is within 0.45 of the ground" in protocol
        assert "slots dropped whose" not in protocol
        assert "in a shade" not in protocol
        assert "in a shade" in evaluate(RedChannelModel(), split).protocol

    def test_the_papers_rule_can_be_used(self, split: Split) -> None:
        own, plain = (evaluate(RedChannelModel(), split, use_label_rule=own) for own in (True, False))
        assert "25 for the background's" in own.protocol
        assert LARGEST_WEIGHT_RULE not in own.protocol
        assert LARGEST_WEIGHT_RULE in plain.protocol
        np.testing.assert_array_equal(plain.scores.miou, plain.background_everywhere.miou)
        assert own.scores.miou.mean() > plain.scores.miou.mean()


class TestSummary:
    def test_means_by_number_of_objects(self, evaluation: Evaluation) -> None:
        summary = evaluation.summary()
        assert summary.overall.miou == pytest.approx(evaluation.scores.miou.mean())
        assert summary.overall.images == sum(means.images for means in summary.by_objects.values()) == 7
        assert summary.by_objects[1].ari_fg == pytest.approx(evaluation.scores.ari_fg[1])
        several = [i for i, count in enumerate(evaluation.objects) if count >= 2]
        assert summary.two_or_more_objects is not None
        assert summary.two_or_more_objects.ari_fg == pytest.approx(evaluation.scores.ari_fg[several].mean())
        assert summary.images_without_foreground == 1
        assert summary.by_objects[0].ari_fg == 1

    def test_more_objects_than_slots_are_counted(self) -> None:
        masks = np.concatenate([block_labels(np.random.default_rng(5), 4, 9), np.zeros((1, 8, 8), np.uint8)])
        summary = evaluate(RedChannelModel(), split_of(np.minimum(masks, SLOTS), masks)).summary()
        assert summary.images_with_more_objects_than_slots == 4
        assert summary.overall.miou < 1

    def test_no_image_with_two_objects(self, masks: np.ndarray) -> None:
        assert evaluate(RedChannelModel(), split_of(masks[:1], masks[:1])).summary().two_or_more_objects is None


def test_scores_per_image_are_written(tmp_path: Path, evaluation: Evaluation) -> None:
    shares = np.array([0.5, *[np.nan] * 6])
    names = ("café", "caf\udce9", *"abcde")  # the second is not valid UTF-8
    write_per_image(tmp_path / "per_image.csv", replace(evaluation, shadow_claimed=shares, names=names))
    with (tmp_path / "per_image.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(7))
    assert [float(row["miou"]) for row in rows] == evaluation.scores.miou.tolist()
    assert [row["foreground_empty"] for row in rows] == ["1", *["0"] * 6]
    assert [row["shadow_claimed"] for row in rows[:2]] == ["0.5", ""]
    assert "lit_claimed" not in rows[0]
    assert [row["name"] for row in rows[:3]] == ["café", "caf\\udce9", "a"]


def test_ignored_pixels_do_not_count() -> None:
    masks = block_labels(np.random.default_rng(1), 4, 2)
    masks[:, :2] = 255
    predicted = np.where(masks == 255, 1, masks)
    split = replace(split_of(predicted, masks), ignored_label=255)
    found = evaluate(RedChannelModel(), split)
    assert found.scores.miou.tolist() == found.scores.ari.tolist() == [1.0] * 4
    assert found.objects.max() <= 2
    assert "255 are not scored" in found.protocol
    everything = evaluate(RedChannelModel(), replace(split, ignored_label=None))
    assert (everything.scores.miou < 1).all()
    assert "not scored" not in everything.protocol
