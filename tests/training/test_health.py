import numpy as np
import pytest
import torch
from torch import Tensor

from astseg.data.store import Bytes
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import Batch, TrainingImages
from astseg.training.config import Recipe
from astseg.training.health import (
    HealthMeasures,
    Judgment,
    judge_background,
    judge_empty_slots,
    judge_loss,
    judge_measures,
    judge_reconstruction,
    judge_shared_slots,
    judge_weights,
    measure_health,
)

CPU = torch.device("cpu")
FLOOR = [1.0] * 30


@pytest.fixture
def model(tiny_recipe: Recipe) -> AstSeg:
    torch.manual_seed(0)
    return AstSeg(tiny_recipe.architecture)


@pytest.fixture
def images(tiny_images: Bytes) -> Tensor:
    return TrainingImages(tiny_images, CPU)[np.arange(len(tiny_images))]


def found(*shares: float) -> Tensor:
    """Whether slots own a pixel, each in such a share of 100 images."""
    return torch.tensor([[image < round(100 * share) for share in shares] for image in range(100)])


def test_a_judgment_reads_as_a_sentence_with_its_advice() -> None:
    assert str(Judgment("loss", False, "It rises.", "Try less.")) == "It rises. Try less."
    assert str(Judgment("loss", True, "It falls.")) == "It falls."


class TestMeasures:
    def test_equal_a_slow_computation(self, model: AstSeg, images: Tensor) -> None:
        with torch.no_grad():
            model.background_log_activation.fill_(-1)  # so that slots own some pixels
        measures = measure_health(model, [Batch(images[:5]), Batch(images[5:])])
        rendering = model.reconstruct(images)
        weights = rendering.weights.numpy()
        errors = []
        painted = model.eval().reconstruct_backgrounds(images).detach().numpy()  # without the shadows of objects
        for image, background in zip(images.numpy(), painted, strict=True):
            distance = 255 * np.abs(image - np.clip(background, 0, 1))
            smooth = np.where(distance < 3, distance**2 / 6, distance - 1.5).sum(0) / 255
            errors.append(np.quantile(smooth, 0.99))
        np.testing.assert_allclose(measures.unexplained.numpy(), errors, rtol=1e-4, atol=1e-6)
        owners = weights.argmax(1)
        expected = [[(one == slot).any() for slot in (1, 2)] for one in owners]
        assert measures.found.tolist() == expected
        assert any(map(any, expected))
        strongest = total = 0.0
        for one in weights.transpose(0, 2, 3, 1).reshape(-1, 3):
            if one[1] + one[2] > 0.5:
                strongest, total = strongest + max(one[1], one[2]), total + one[1] + one[2]
        assert measures.largest_share == pytest.approx(strongest / total, rel=1e-4)
        spreads = [np.abs(x - x.mean(0)).mean() for x in (rendering.image.numpy(), images.numpy())]
        assert measures.change == pytest.approx(spreads[0] / spreads[1], rel=1e-4)

    def test_leave_the_model_and_the_random_numbers_alone(self, model: AstSeg, images: Tensor) -> None:
        model.train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        state = torch.get_rng_state()
        measure_health(model, [Batch(images)])
        assert torch.equal(torch.get_rng_state(), state)
        assert model.training
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_without_objects_and_without_changes(self, model: AstSeg, images: Tensor) -> None:
        with torch.no_grad():
            model.background_log_activation.fill_(60)
        measures = measure_health(model, [Batch(images[:1].expand(4, -1, -1, -1))])
        assert measures.largest_share is None
        assert measures.change is None
        assert not measures.found.any()


class TestWeights:
    def test_finite_ones(self, model: AstSeg) -> None:
        assert judge_weights(model).healthy

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_others(self, model: AstSeg, value: float) -> None:
        with torch.no_grad():
            next(model.parameters()).view(-1)[0] = value
        judgment = judge_weights(model)
        assert not judgment.healthy
        assert "no longer finite" in judgment.finding
        assert "another seed" in judgment.advice


class TestLoss:
    @pytest.mark.parametrize(
        ("losses", "healthy"),
        [
            (FLOOR, True),
            ([10.0 / step for step in range(1, 100)], True),
            ([10.0] * 5 + FLOOR, True),
            (FLOOR + [1.9] * 10, True),
            (FLOOR + [2.1] * 10, False),
            ([*FLOOR, 4.0], True),  # a single batch may be hard
            ([10.0] * 20 + FLOOR + [5.0] * 10, False),
            ([0.0] * 30, True),
        ],
    )
    def test_should_not_rise(self, losses: list[float], healthy: bool) -> None:
        judgment = judge_loss(losses)
        assert judgment is not None
        assert judgment.healthy is healthy
        assert ("learning rate is too high" in judgment.advice) is not healthy

    def test_says_nothing_of_a_few(self) -> None:
        assert judge_loss([1.0] * 5 + [100.0] * 14) is None


@pytest.mark.parametrize(
    ("errors", "healthy"),
    [
        ([1.0] * 10, True),
        ([0.01] * 8 + [1.0] * 2, True),  # objects come and go
        ([0.05] * 10, False),
        ([0.14] * 100, False),
        ([0.16] * 100, True),
    ],
)
def test_a_background_should_leave_something(errors: list[float], healthy: bool) -> None:
    judgment = judge_background(torch.tensor(errors))
    assert judgment.healthy is healthy
    assert ("learned the objects" in judgment.finding) is not healthy


@pytest.mark.parametrize(
    ("shares", "finding"),
    [
        ((0.3, 0.5), "2 of 2 slots find something."),
        ((0.0, 0.5), "1 of 2 slots find something."),
        ((0.02, 0.02, 0.0), "2 of 3 slots find something."),
    ],
)
def test_slots_may_be_empty(shares: tuple[float, ...], finding: str) -> None:
    judgment = judge_empty_slots(found(*shares))
    assert judgment.healthy
    assert judgment.finding == finding


def test_most_slots_should_find_something() -> None:
    judgment = judge_empty_slots(found(0.3, 0.01, 0.0))
    assert not judgment.healthy
    assert judgment.finding == "2 of 3 slots outweigh the others next to nowhere in the 100 images that were looked at."
    assert "architecture.num_slots" in judgment.advice


def test_some_slot_should_find_something() -> None:
    judgment = judge_empty_slots(found(0.0, 0.0))
    assert not judgment.healthy
    assert "No slot outweighs the background" in judgment.finding
    assert "lower learning rate" in judgment.advice


@pytest.mark.parametrize(("share", "healthy"), [(0.95, True), (0.61, True), (0.59, False)])
def test_slots_should_not_share_objects(share: float, healthy: bool) -> None:
    judgment = judge_shared_slots(share)
    assert judgment is not None
    assert judgment.healthy is healthy
    assert f"{share:.0%}" in judgment.finding


@pytest.mark.parametrize(("change", "healthy"), [(0.9, True), (1.5, True), (0.11, True), (0.09, False)])
def test_reconstructions_should_follow_the_images(change: float, healthy: bool) -> None:
    judgment = judge_reconstruction(change)
    assert judgment is not None
    assert judgment.healthy is healthy
    assert f"{change:.0%}" in judgment.finding


def test_only_what_can_be_judged_is() -> None:
    good = HealthMeasures(torch.ones(4), torch.ones(4, 2, dtype=torch.bool), 0.9, 0.9)
    bare = HealthMeasures(torch.ones(4), torch.zeros(4, 2, dtype=torch.bool), None, 0.01)
    learned = HealthMeasures(torch.zeros(4), torch.zeros(4, 2, dtype=torch.bool), None, 0.01)
    aspects = ["background", "empty slots", "shared slots", "reconstruction"]
    assert [one.aspect for one in judge_measures(good, objects=True)] == aspects
    assert all(one.healthy for one in judge_measures(good, objects=True))
    assert [one.aspect for one in judge_measures(good, objects=False)] == aspects[:1]
    assert [one.aspect for one in judge_measures(bare, objects=True)] == aspects[:2]
    # Where nothing is left to slots, that they are empty is no news.
    assert [one.aspect for one in judge_measures(learned, objects=True)] == aspects[:1]
