from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from astseg._core.settings_io import override
from astseg.data.store import Bytes
from astseg.model.ast_seg import AstSeg
from astseg.training.background_noise import measure_noise
from astseg.training.batches import Batch, TrainingImages
from astseg.training.config import Recipe, Scenario
from astseg.training.loop import Trainer
from astseg.training.losses import background_loss, pixel_entropy_loss, reconstruction_loss, slot_use_loss
from astseg.training.phases import BackgroundPhase, ObjectsPhase, Phase, phases
from astseg.training.step import train_step


def background_of(model: AstSeg) -> nn.Module:
    assert model.background is not None
    return model.background


def with_scenario(recipe: Recipe, scenario: Scenario) -> Recipe:
    return override(recipe, {"foreground.scenario": scenario})


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model(tiny_recipe: Recipe) -> AstSeg:
    torch.manual_seed(0)
    return AstSeg(tiny_recipe.architecture)


class TestPhases:
    @pytest.mark.parametrize(
        ("scenario", "expected"),
        [
            ("curriculum", [("background", 3, 0), ("objects", 3, 0), ("joint", 3, 3)]),
            ("baseline", [("joint", 6, 0)]),
            ("frozen", [("background", 3, 0), ("objects", 6, 0)]),
            ("background", [("background", 3, 0)]),
        ],
    )
    def test_of_each_scenario(
        self, tiny_recipe: Recipe, scenario: Scenario, expected: list[tuple[str, int, int]]
    ) -> None:
        found = [(phase.name, phase.steps, phase.offset) for phase in phases(with_scenario(tiny_recipe, scenario))]
        assert found == expected


class TestFinish:
    """The noise of a static background is measured whenever it was trained."""

    @pytest.mark.parametrize("scenario", ["curriculum", "baseline", "frozen", "background"])
    def test_measures_the_noise(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, scenario: Scenario
    ) -> None:
        recipe = override(with_scenario(tiny_recipe, scenario), {"architecture.background_network": "static"})
        trainer = Trainer(recipe, tiny_images, tmp_path, "cpu")
        assert trainer.model.background_noise is not None
        assert (trainer.model.background_noise == 1).all()
        trainer.run()
        saved = AstSeg.from_pretrained(tmp_path / "model")
        trained_on = TrainingImages(tiny_images, torch.device("cpu"))
        assert saved.background_noise is not None
        torch.testing.assert_close(saved.background_noise, measure_noise(saved, trained_on))

    def test_leaves_a_frozen_background_alone(self, tiny_recipe: Recipe, tiny_images: Bytes) -> None:
        recipe = override(tiny_recipe, {"architecture.background_network": "static"})
        model = AstSeg(recipe.architecture)
        background, objects, _ = phases(recipe)
        trained_on = TrainingImages(tiny_images, torch.device("cpu"))
        objects.finish(model, trained_on)
        assert model.background_noise is not None
        assert (model.background_noise == 1).all()
        background.finish(model, trained_on)
        assert (model.background_noise < 1).all()


def changed_by_a_step(model: AstSeg, phase: Phase) -> tuple[set[str], set[str]]:
    """Which parts' state a step changes, and which it leaves: parameters and buffers alike."""
    optimizer = phase.start(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_step(model, optimizer, phase, 1, Batch(images(), images() if phase.needs_backgrounds else None))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    return changed, before.keys() - changed


class TestWhatAPhaseTrains:
    def test_background(self, model: AstSeg, tiny_recipe: Recipe) -> None:
        changed, kept = changed_by_a_step(model, phases(tiny_recipe)[0])
        assert all(name.startswith("background.") for name in changed)
        assert not any(name.startswith("background.") for name in kept)

    def test_objects(self, model: AstSeg, tiny_recipe: Recipe) -> None:
        """The frozen background keeps its BatchNorm statistics too."""
        changed, kept = changed_by_a_step(model, phases(tiny_recipe)[1])
        assert {name for name in kept if not name.startswith("background.")} == set()
        assert not any(name.startswith("background.") for name in changed)

    def test_frozen_background_is_the_same_in_any_mode_of_the_rest(self, model: AstSeg, tiny_recipe: Recipe) -> None:
        phases(tiny_recipe)[1].start(model)
        model.segment(images())
        assert model.feature_maps.training
        assert not any(module.training for module in background_of(model).modules())
        before = {name: value.clone() for name, value in background_of(model).state_dict().items()}
        background_of(model)(images())
        assert all(torch.equal(value, before[name]) for name, value in background_of(model).state_dict().items())

    @pytest.mark.parametrize("scenario", ["curriculum", "baseline"])
    def test_joint(self, model: AstSeg, tiny_recipe: Recipe, scenario: Scenario) -> None:
        _, kept = changed_by_a_step(model, phases(with_scenario(tiny_recipe, scenario))[-1])
        # Nothing in the foreground's loss looks at the background's prediction of its own error.
        assert kept == {"background.error.weight", "background.error.bias"}

    def test_looking_at_images_leaves_the_background_in_training(self, model: AstSeg, tiny_recipe: Recipe) -> None:
        phases(tiny_recipe)[0].start(model)
        model.reconstruct(images())
        assert all(module.training for module in background_of(model).modules())
        assert not model.feature_maps.training

    def test_gradients_come_back_after_a_frozen_phase(self, model: AstSeg, tiny_recipe: Recipe) -> None:
        for phase in phases(tiny_recipe):
            phase.start(model)
            wanted = {"background": "background.", "objects": "", "joint": ""}[phase.name]
            for name, parameter in model.named_parameters():
                of_background = name.startswith("background.")
                frozen = of_background and phase.name == "objects"
                assert parameter.requires_grad == (name.startswith(wanted) and not frozen)


class TestBaseline:
    def test_the_background_and_the_rest_have_rates_of_their_own(self, model: AstSeg, tiny_recipe: Recipe) -> None:
        settings = {"foreground.baseline.objects_warmup_steps": 4, "foreground.learning_rate.warmup_steps": 0}
        (phase,) = phases(override(with_scenario(tiny_recipe, "baseline"), settings))
        background, others = phase.parameter_groups(model)
        assert {id(value) for value in background} == {id(value) for value in background_of(model).parameters()}
        assert {id(value) for value in background + others} == {id(value) for value in model.parameters()}
        rates = [phase.learning_rate(step) for step in range(6)]
        warmups = [1 / 16, 1 / 4, 9 / 16, 1, 1, 1]
        found = [phase.group_rates(step) for step in range(6)]
        assert found == [
            pytest.approx({"background_learning_rate": 5 * rate, "learning_rate": warmup * rate})
            for rate, warmup in zip(rates, warmups, strict=True)
        ]
        optimizer = phase.start(model)
        batch = Batch(images())
        train_step(model, optimizer, phase, 1, batch)
        assert [group["lr"] for group in optimizer.param_groups] == list(found[1].values())

    @pytest.mark.parametrize(("usual", "baseline", "expected"), [(0, 0, 0), (2, 0, 2), (2, 4, 4), (5, 4, 5)])
    def test_shadows_come_with_the_later_of_two_steps(
        self, tiny_recipe: Recipe, usual: int, baseline: int, expected: int
    ) -> None:
        settings = {"foreground.shadow_start": usual, "foreground.baseline.shadow_start": baseline}
        (phase,) = phases(override(with_scenario(tiny_recipe, "baseline"), settings))
        assert [phase.schedule(step).shadows for step in range(6)] == [step >= expected for step in range(6)]

    def test_by_default_it_is_the_papers(self, model: AstSeg, tiny_recipe: Recipe) -> None:
        (phase,) = phases(override(tiny_recipe, {"foreground.scenario": "baseline", "foreground.baseline": {}}))
        for step in range(6):
            assert list(phase.group_rates(step).values()) == [phase.learning_rate(step)] * 2


class TestLearningRate:
    def test_goes_on_through_the_foreground_phases(self, tiny_recipe: Recipe) -> None:
        _, objects, joint = phases(tiny_recipe)
        rate = tiny_recipe.foreground.learning_rate
        found = [objects.learning_rate(step) for step in range(3)]
        found += [joint.learning_rate(step) for step in range(3)]
        assert found == [rate.at(step, 6) for step in range(6)]

    def test_of_the_background(self, tiny_recipe: Recipe) -> None:
        (alone, *_) = phases(tiny_recipe)
        rate = tiny_recipe.background.learning_rate
        assert [alone.learning_rate(step) for step in range(3)] == [rate.at(step, 3) for step in range(3)]


class TestLosses:
    @pytest.mark.parametrize(
        ("changes", "exponents"),
        [
            ({}, {0: 0.0, 1: 3.0, 2: 6.0, 50: 6.0}),
            ({"background.exponent_ramp_start": 4}, {0: 0.0, 4: 0.0, 5: 3.0, 6: 6.0}),
            ({"background.exponent_ramp_steps": 0}, {0: 6.0}),
        ],
    )
    def test_background_ramps_its_exponent(
        self, model: AstSeg, tiny_recipe: Recipe, changes: dict[str, int], exponents: dict[int, float]
    ) -> None:
        model.eval()
        phase = BackgroundPhase(override(tiny_recipe, changes).background, 3)
        for step, exponent in exponents.items():
            losses = phase.losses(model, Batch(images()), phase.schedule(step))
            expected = background_loss(images(), background_of(model)(images()), exponent)
            torch.testing.assert_close(losses.total, expected)
            torch.testing.assert_close(losses.terms["background"], expected)
            assert losses.rendering is None

    def test_shadows_come_later(self, model: AstSeg, tiny_recipe: Recipe) -> None:
        settings = replace(tiny_recipe.foreground, shadow_start=2)
        model.eval()
        given = torch.full_like(images(), 0.5)
        for step, fall in ((0, False), (1, False), (2, True), (3, True)):
            phase = ObjectsPhase(settings, 3)
            rendering = phase.losses(model, Batch(images(), given), phase.schedule(step)).rendering
            assert rendering is not None
            assert (rendering.background < given).any() == fall

    @pytest.mark.parametrize(("step", "warmup"), [(0, 0.0), (5, 0.25), (10, 1.0), (99, 1.0)])
    @pytest.mark.parametrize("slot_use_weight", [0.0, 0.3])
    def test_foreground_is_equation_22(
        self, model: AstSeg, tiny_recipe: Recipe, step: int, warmup: float, slot_use_weight: float
    ) -> None:
        settings = replace(
            tiny_recipe.foreground,
            entropy_weight=0.2,
            entropy_warmup_steps=10,
            slot_use_weight=slot_use_weight,
            slot_use_warmup_steps=20,
            shadow_start=100,
        )
        model.eval()
        phase = ObjectsPhase(settings, 3)
        losses = phase.losses(model, Batch(images(), images() / 2), phase.schedule(step))
        rendering = model(images(), images() / 2, shadows=False)
        expected = reconstruction_loss(rendering.image, images())
        expected = expected + warmup * 0.2 * pixel_entropy_loss(rendering.weights)
        expected = expected + min(1, step / 20) ** 2 * slot_use_weight * slot_use_loss(rendering.weights)
        torch.testing.assert_close(losses.total, expected)
        assert set(losses.terms) == {"reconstruction", "entropy"} | ({"slot_use"} if slot_use_weight else set())
        assert losses.rendering is not None
        assert torch.equal(losses.rendering.background, images() / 2)
