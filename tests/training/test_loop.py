from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from astseg.config import Recipe
from astseg.data.store import Bytes
from astseg.errors import AstSegError, NonFiniteWeightsError
from astseg.model import background
from astseg.model.ast_seg import AstSeg
from astseg.training import curriculum, loop
from astseg.training.batches import Pictures
from astseg.training.checkpoints import load_checkpoint
from astseg.training.curriculum import Phase, phases
from astseg.training.loop import Callback, Report, Trainer, paint_backgrounds

CPU = torch.device("cpu")


class Recorder(Callback):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.steps: list[tuple[str, int]] = []
        self.reports: list[Report] = []

    def phase_started(self, trainer: Trainer, phase: Phase, done: int) -> None:
        self.started.append((phase.name, done))

    def step_done(self, trainer: Trainer, phase: Phase, done: int) -> None:
        self.steps.append((phase.name, done))

    def reported(self, trainer: Trainer, report: Report) -> None:
        self.reports.append(report)


def after(steps: int) -> Callable[[], bool]:
    """Says stop after so many steps."""
    count = 0

    def stop() -> bool:
        nonlocal count
        count += 1
        return count == steps

    return stop


def trained(recipe: Recipe, images: Bytes, folder: Path, *callbacks: Callback, seed: int = 0) -> Trainer:
    folder.mkdir()
    trainer = Trainer(recipe, images, folder, CPU, seed, callbacks)
    assert trainer.run()
    return trainer


def states_equal(first: AstSeg, second: AstSeg) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.fixture(scope="module")
def dropout_recipe(tiny_recipe: Recipe) -> Recipe:
    """With a transformer, whose dropout draws random numbers in every step."""
    return replace(tiny_recipe, architecture=replace(tiny_recipe.architecture, refinement="residual"))


@pytest.fixture(scope="module")
def whole(dropout_recipe: Recipe, tiny_images: Bytes, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run with dropout that never stopped."""
    return trained(dropout_recipe, tiny_images, tmp_path_factory.mktemp("whole") / "run")


class TestRun:
    @pytest.mark.parametrize("scenario", ["curriculum", "baseline", "frozen", "background"])
    def test_every_scenario(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, scenario: str) -> None:
        recipe = replace(tiny_recipe, foreground=replace(tiny_recipe.foreground, scenario=scenario))
        recorder = Recorder()
        trainer = trained(recipe, tiny_images, tmp_path / "run", recorder)
        expected = [(phase.name, step) for phase in phases(recipe) for step in range(1, phase.steps + 1)]
        assert recorder.steps == expected
        assert recorder.started == [(phase.name, 0) for phase in phases(recipe)]
        assert set(trainer.seconds) == {phase.name for phase in phases(recipe)}
        assert states_equal(AstSeg.from_pretrained(tmp_path / "run/model"), trainer.model)

    @pytest.mark.parametrize("when", ["at a report", "at a stop", "at a checkpoint", "at the end of a phase"])
    def test_weights_that_are_no_numbers_are_not_saved_over_those_that_were(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        trainer = Trainer(tiny_recipe, tiny_images, tmp_path, CPU, report_every=2 if when == "at a report" else 100)
        trainer.save_every = -1.0 if when == "at a checkpoint" else 1_000.0
        trainer.save(None)
        before = (tmp_path / "checkpoint.pt").read_bytes()
        if when == "at a report":
            original = curriculum.background_loss
            monkeypatch.setattr(curriculum, "background_loss", lambda *given: original(*given) * torch.nan)
        else:  # the loss does not tell that its gradients are no numbers
            parameter = next(trainer.model.background.parameters())
            parameter.register_hook(lambda gradient: gradient * torch.nan)
        with pytest.raises(NonFiniteWeightsError, match="Training ran away: the weights are no numbers"):
            trainer.run((lambda: True) if when == "at a stop" else lambda: False)
        assert (tmp_path / "checkpoint.pt").read_bytes() == before
        assert not (tmp_path / "model").exists()

    def test_same_seed_same_result(
        self, dropout_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, whole: Trainer
    ) -> None:
        torch.rand(5)
        assert states_equal(trained(dropout_recipe, tiny_images, tmp_path / "again").model, whole.model)
        assert not states_equal(trained(dropout_recipe, tiny_images, tmp_path / "other", seed=1).model, whole.model)

    def test_learns(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        recipe = replace(
            tiny_recipe,
            background=replace(tiny_recipe.background, steps=40, exponent_ramp_steps=10_000),
            foreground=replace(tiny_recipe.foreground, scenario="background"),
        )
        recorder = Recorder()
        (tmp_path / "run").mkdir()
        Trainer(recipe, tiny_images, tmp_path / "run", CPU, callbacks=[recorder], report_every=1).run()
        losses = [report.losses["background"] for report in recorder.reports]
        assert np.mean(losses[-5:]) < 0.5 * losses[0]

    def test_reports(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        recorder = Recorder()
        Trainer(tiny_recipe, tiny_images, tmp_path, CPU, callbacks=[recorder], report_every=2).run()
        assert [(report.phase.name, report.step) for report in recorder.reports] == [
            *(("background", 2), ("background", 3)),
            *(("objects", 2), ("objects", 3)),
            *(("joint", 2), ("joint", 3)),
        ]
        background, *_, joint = recorder.reports
        assert set(background.losses) == {"total", "background"}
        assert background.health == {}
        assert set(joint.losses) == {"total", "reconstruction", "entropy", "slot_use"}
        assert 0 <= joint.health["background_share"] <= 1
        # Step 3 of the joint phase is the sixth of the foreground, counted from 0.
        assert joint.learning_rate == tiny_recipe.foreground.learning_rate.at(5, 6)

    def test_pictures_of_another_size(self, tiny_recipe: Recipe, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"uint8 of shape N x 32 x 32 x 3, not uint8 of shape \(2, 32, 40, 3\)"):
            Trainer(tiny_recipe, np.zeros((2, 32, 40, 3), np.uint8), tmp_path, CPU)

    @pytest.mark.parametrize(
        "images", [np.zeros((2, 32, 32, 3)), np.zeros((2, 32, 32), np.uint8), np.zeros((0, 32, 32, 3), np.uint8)]
    )
    def test_no_pictures(self, tiny_recipe: Recipe, tmp_path: Path, images: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"a Trainer takes pictures as uint8 of shape N x 32 x 32 x 3, not"):
            Trainer(tiny_recipe, images, tmp_path, CPU)

    def test_folder_and_device_by_their_names(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        assert Trainer(tiny_recipe, tiny_images, str(tmp_path), "cpu").run()
        assert Trainer.resume(tiny_images, str(tmp_path), "cpu", save_every=1.0).run()
        assert (tmp_path / "model" / "model.safetensors").is_file()

    def test_a_backbone_is_loaded_once(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        monkeypatch.setattr(loop, "load_backbone", lambda model, source: asked.append((model.slots, source)))
        shape = replace(tiny_recipe.architecture, feature_network="segformer-b0")
        Trainer(replace(tiny_recipe, architecture=shape, backbone="./weights"), tiny_images, tmp_path, CPU)
        assert asked == [(2, "./weights")]

    def test_an_observer_need_not_listen(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        trained(tiny_recipe, tiny_images, tmp_path / "run", Callback())

    def test_places_in_the_scenario(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        trainer = Trainer(tiny_recipe, tiny_images, tmp_path, CPU)
        assert [trainer.phase_number(phase) for phase in phases(tiny_recipe)] == [0, 1, 2]
        assert [trainer.steps_before(phase) for phase in phases(tiny_recipe)] == [0, 3, 6]


class TestResume:
    @pytest.mark.parametrize("stop_after", [1, 3, 5, 6, 8, 9])
    def test_is_identical_wherever_it_stopped(
        self, dropout_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, whole: Trainer, stop_after: int
    ) -> None:
        """Within each phase, and on the last step of each; nothing is left to stop after the last of all."""
        folder = tmp_path / "stopped"
        folder.mkdir()
        assert Trainer(dropout_recipe, tiny_images, folder, CPU).run(after(stop_after)) == (stop_after == 9)
        torch.rand(13)
        recorder = Recorder()
        resumed = Trainer.resume(tiny_images, folder, CPU, [recorder])
        assert resumed.run()
        assert len(recorder.steps) == 9 - stop_after
        assert states_equal(resumed.model, whole.model)
        ends = [load_checkpoint(run / "checkpoint.pt") for run in (folder, whole.folder)]
        assert torch.equal(ends[0].random["cpu"], ends[1].random["cpu"])

    def test_is_identical_while_pictures_are_drawn(
        self, dropout_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, whole: Trainer
    ) -> None:
        class Looker(Callback):
            def step_done(self, trainer: Trainer, phase: Phase, done: int) -> None:
                pictures = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
                trainer.model.segment(pictures)
                trainer.model.reconstruct(pictures)

        assert states_equal(trained(dropout_recipe, tiny_images, tmp_path / "run", Looker()).model, whole.model)

    def test_after_every_step(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        whole = trained(tiny_recipe, tiny_images, tmp_path / "whole")
        folder = tmp_path / "stopped"
        folder.mkdir()
        trainer, rounds = Trainer(tiny_recipe, tiny_images, folder, CPU), 1
        while not trainer.run(after(1)):
            trainer, rounds = Trainer.resume(tiny_images, folder, CPU), rounds + 1
        assert rounds == 9
        assert states_equal(trainer.model, whole.model)
        assert all(seconds > 0 for seconds in trainer.seconds.values())

    def test_a_finished_run_stays_finished(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        trainer = trained(tiny_recipe, tiny_images, tmp_path / "run")
        recorder = Recorder()
        resumed = Trainer.resume(tiny_images, tmp_path / "run", CPU, [recorder])
        assert resumed.run()
        assert recorder.steps == []
        assert states_equal(resumed.model, trainer.model)

    def test_after_a_crash_from_the_latest_checkpoint(
        self, dropout_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, whole: Trainer
    ) -> None:
        class Crash(Callback):
            def step_done(self, trainer: Trainer, phase: Phase, done: int) -> None:
                if (phase.name, done) == ("joint", 2):
                    raise KeyboardInterrupt

        folder = tmp_path / "crashed"
        folder.mkdir()
        with pytest.raises(KeyboardInterrupt):
            Trainer(dropout_recipe, tiny_images, folder, CPU, callbacks=[Crash()], save_every=0.0).run()
        assert load_checkpoint(folder / "checkpoint.pt").step == 1
        resumed = Trainer.resume(tiny_images, folder, CPU)
        resumed.run()
        assert states_equal(resumed.model, whole.model)

    def test_needs_no_backbone(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        shape = replace(tiny_recipe.architecture, feature_network="segformer-b0")
        recipe = replace(tiny_recipe, architecture=shape)
        Trainer(recipe, tiny_images, tmp_path, CPU).run(after(1))
        checkpoint = load_checkpoint(tmp_path / "checkpoint.pt")
        named = replace(checkpoint, recipe=replace(recipe, backbone="./gone"))
        loop.save_checkpoint(named, tmp_path / "checkpoint.pt")
        trainer = Trainer.resume(tiny_images, tmp_path, CPU)
        assert trainer.recipe.backbone == "./gone", "what was asked for stays known"

    def test_no_checkpoint(self, tiny_images: Bytes, tmp_path: Path) -> None:
        with pytest.raises(AstSegError, match="There is no checkpoint"):
            Trainer.resume(tiny_images, tmp_path, CPU)

    def test_pictures_of_another_size(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        Trainer(tiny_recipe, tiny_images, tmp_path, CPU).run(after(1))
        with pytest.raises(AstSegError, match="of a run on pictures of 32x32, but these have 40x32"):
            Trainer.resume(np.zeros((2, 40, 32, 3), np.uint8), tmp_path, CPU)

    def test_another_number_of_pictures(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        Trainer(tiny_recipe, tiny_images, tmp_path, CPU).run(after(1))
        with pytest.raises(AstSegError, match="of a run on 12 pictures, but these are 11"):
            Trainer.resume(tiny_images[:-1], tmp_path, CPU)

    def test_weights_of_another_configuration(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        Trainer(tiny_recipe, tiny_images, tmp_path, CPU).run(after(1))
        checkpoint = load_checkpoint(tmp_path / "checkpoint.pt")
        other = replace(tiny_recipe, architecture=replace(tiny_recipe.architecture, slots=5))
        loop.save_checkpoint(replace(checkpoint, recipe=other), tmp_path / "checkpoint.pt")
        with pytest.raises(AstSegError, match=r"checkpoint\.pt holds the weights of another configuration"):
            Trainer.resume(tiny_images, tmp_path, CPU)


class TestFrozenBackgrounds:
    def test_are_the_network_s_as_bytes(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        torch.manual_seed(0)
        model = AstSeg(tiny_recipe.architecture).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        paint_backgrounds(model, Pictures(tiny_images, CPU), tmp_path / "backgrounds.npy", batch_size=5)
        found = np.load(tmp_path / "backgrounds.npy")
        assert found.dtype == np.uint8
        assert found.shape == tiny_images.shape
        images = torch.from_numpy(tiny_images.transpose(0, 3, 1, 2) / np.float32(255))
        with torch.no_grad():
            expected = 255 * model.background.eval()(images).image.permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(found, expected, atol=0.501)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_are_painted_once(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []

        def count(model: AstSeg, images: Pictures, path: Path) -> None:
            calls.append(path)
            paint_backgrounds(model, images, path)

        monkeypatch.setattr(loop, "paint_backgrounds", count)
        Trainer(tiny_recipe, tiny_images, tmp_path, CPU).run(after(4))
        Trainer.resume(tiny_images, tmp_path, CPU).run()
        assert len(calls) == 1

    def test_are_painted_again_where_they_are_missing(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path
    ) -> None:
        whole = trained(tiny_recipe, tiny_images, tmp_path / "whole")
        folder = tmp_path / "stopped"
        folder.mkdir()
        Trainer(tiny_recipe, tiny_images, folder, CPU).run(after(4))
        (folder / "backgrounds.npy").unlink()
        resumed = Trainer.resume(tiny_images, folder, CPU)
        resumed.run()
        assert states_equal(resumed.model, whole.model)

    def test_a_model_that_could_not_be_written_is_written_when_the_run_goes_on(
        self, dropout_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, whole: Trainer, monkeypatch
    ) -> None:
        folder = tmp_path / "run"
        folder.mkdir()
        written = AstSeg.save_pretrained

        def full(model: AstSeg, path: Path) -> None:
            if trainer._phase == len(phases(dropout_recipe)):
                raise OSError(28, "No space left on device")
            written(model, path)

        trainer = Trainer(dropout_recipe, tiny_images, folder, CPU)
        with monkeypatch.context() as patch:
            patch.setattr(AstSeg, "save_pretrained", full)
            with pytest.raises(AstSegError, match="No space left on device"):
                trainer.run()
        assert not states_equal(AstSeg.from_pretrained(folder / "model"), whole.model)
        assert Trainer.resume(tiny_images, folder, CPU).run()
        assert states_equal(AstSeg.from_pretrained(folder / "model"), whole.model)


class TestAutomaticComplexity:
    @pytest.fixture
    def recipe(self, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Recipe:
        # Slim networks, for the test's speed: their channels are tested elsewhere.
        for table in (background._ENCODER_CHANNELS, background._DECODER_CHANNELS):
            for channels, width in (("simple", 8), ("complex", 16)):
                monkeypatch.setitem(table[channels], 5, (table[channels][5][0], width, width, width, 16, 16))
        return replace(
            tiny_recipe,
            architecture=replace(tiny_recipe.architecture, background_network="simple"),
            background=replace(tiny_recipe.background, automatic_complexity=True, steps=3, complex_steps=2),
            foreground=replace(tiny_recipe.foreground, scenario="background"),
        )

    @pytest.mark.parametrize("complex_backgrounds", [True, False])
    def test_looks_and_starts_again(
        self,
        recipe: Recipe,
        tiny_images: Bytes,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        complex_backgrounds: bool,
    ) -> None:
        looks = []
        monkeypatch.setattr(loop, "COMPLEXITY_STEPS", 2)
        monkeypatch.setattr(loop, "backgrounds_are_complex", lambda *_: looks.append(1) or complex_backgrounds)
        recorder = Recorder()
        trainer = trained(recipe, tiny_images, tmp_path / "run", recorder)
        assert len(looks) == 1
        network = trainer.recipe.architecture.background_network
        if complex_backgrounds:
            assert recorder.steps == [("background", step) for step in (1, 2, 1, 2)]
            assert network == "complex"
        else:
            assert recorder.steps == [("background", step) for step in (1, 2, 3)]
            assert network == "simple"
        assert AstSeg.from_pretrained(tmp_path / "run/model").architecture.background_network == network

    def test_looks_at_the_end_of_a_short_phase(
        self, recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "backgrounds_are_complex", lambda *_: True)
        recorder = Recorder()
        trained(recipe, tiny_images, tmp_path / "run", recorder)
        assert [step for _, step in recorder.steps] == [1, 2, 3, 1, 2]

    def test_sees_every_picture_as_often_as_it_should(
        self, recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "backgrounds_are_complex", lambda *_: True)
        often = replace(recipe, background=replace(recipe.background, batch_size=5, complex_epochs=2))
        recorder = Recorder()
        trained(often, tiny_images, tmp_path / "run", recorder)
        # Twelve pictures twice, in batches of five.
        assert [step for _, step in recorder.steps] == [1, 2, 3, 1, 2, 3, 4, 5]

    def test_resumes_with_the_complex_network(
        self, recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "backgrounds_are_complex", lambda *_: True)
        whole = trained(recipe, tiny_images, tmp_path / "whole")
        folder = tmp_path / "stopped"
        folder.mkdir()
        # One question after the first step, one after the restart, and the third after step 1 of 2 of the new network.
        assert not Trainer(recipe, tiny_images, folder, CPU).run(after(3))
        resumed = Trainer.resume(tiny_images, folder, CPU)
        assert resumed.run()
        assert resumed.recipe.architecture.background_network == "complex"
        assert states_equal(resumed.model, whole.model)

    def test_only_where_it_is_asked_for(
        self, recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "backgrounds_are_complex", lambda *_: pytest.fail("not asked for"))
        trained(
            replace(recipe, background=replace(recipe.background, automatic_complexity=False)),
            tiny_images,
            tmp_path / "run",
        )
