from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from astseg._core.errors import AstSegError, MemoryShortageError, NonFiniteWeightsError, RunExistsError
from astseg._core.settings_io import override
from astseg.data.store import Bytes, Store
from astseg.model.ast_seg import AstSeg
from astseg.training import batches
from astseg.training import state as training_state
from astseg.training.batches import Batch, TrainingImages, TrainingSet
from astseg.training.callbacks import Callback, RestartPhase, StepMetrics
from astseg.training.complexity import ComplexityCheck
from astseg.training.config import OptimizerName, Recipe, Scenario
from astseg.training.dead_slots import DeadSlotReset
from astseg.training.execution import Execution
from astseg.training.loop import Trainer
from astseg.training.phases import BackgroundPhase, Losses, Schedule, phases
from astseg.training.recipe_callbacks import recipe_callbacks
from astseg.training.run_folder import RunSettings
from astseg.training.state import TrainState

CPU = torch.device("cpu")


class Recorder(Callback):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.steps: list[tuple[str, int]] = []
        self.metrics: list[StepMetrics] = []

    def on_phase_start(self, state: TrainState) -> None:
        self.started.append((state.phase.name, state.step))

    def on_step_end(self, state: TrainState) -> None:
        self.steps.append((state.phase.name, state.step))

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        self.metrics.append(metrics)


class BackgroundAgain(Callback):
    """Has a run of one recipe begin again after two steps of the background, by a changed one."""

    def __init__(self, recipe: Recipe, changes: Mapping[str, Any]) -> None:
        self.recipe, self.changes = recipe, changes

    def on_step_end(self, state: TrainState) -> RestartPhase | None:
        if (state.phase.name, state.step, state.recipe) != ("background", 2, self.recipe):
            return None
        return RestartPhase(override(state.recipe, self.changes))


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
    return override(tiny_recipe, {"architecture.refinement": "residual"})


@pytest.fixture(scope="module")
def whole(dropout_recipe: Recipe, tiny_images: Bytes, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run with dropout that never stopped."""
    return trained(dropout_recipe, tiny_images, tmp_path_factory.mktemp("whole") / "run")


class TestRun:
    @pytest.mark.parametrize("scenario", ["curriculum", "baseline", "frozen", "background"])
    def test_every_scenario(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, scenario: Scenario) -> None:
        recipe = override(tiny_recipe, {"foreground.scenario": scenario})
        recorder = Recorder()
        trainer = trained(recipe, tiny_images, tmp_path / "run", recorder)
        expected = [(phase.name, step) for phase in phases(recipe) for step in range(1, phase.steps + 1)]
        assert recorder.steps == expected
        assert recorder.started == [(phase.name, 0) for phase in phases(recipe)]
        assert set(trainer.state.seconds) == {phase.name for phase in phases(recipe)}
        assert states_equal(AstSeg.from_pretrained(tmp_path / "run/model"), trainer.model)

    @pytest.mark.parametrize(
        ("when", "last_good"), [("report", 1), ("stop", 1), ("checkpoint", 1), ("end of a phase", 3)]
    )
    def test_weights_that_are_no_numbers_are_not_saved_over_those_that_were(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, when: str, last_good: int
    ) -> None:
        class Poison(Callback):
            def on_step_end(self, state: TrainState) -> None:
                if state.step == last_good:  # its loss was a number
                    state.phase.parameters(state.model)[0].data.fill_(torch.nan)

        trainer = Trainer(tiny_recipe, tiny_images, tmp_path, CPU, callbacks=[Poison()])
        trainer.report_every = 2 if when == "report" else 100
        trainer.save_every = -1.0 if when == "checkpoint" else 1_000.0
        trainer.save()
        before = (tmp_path / "checkpoint.pt").read_bytes()
        with pytest.raises(NonFiniteWeightsError, match="diverged"):
            trainer.run((lambda: True) if when == "stop" else lambda: False)
        assert (tmp_path / "checkpoint.pt").read_bytes() == before
        assert trainer.state.step == (2 if when == "report" else 0 if when == "end of a phase" else 1)
        assert not (tmp_path / "model").exists()

    def test_a_loss_that_is_no_number_stops_though_the_weights_are_finite(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        learned = BackgroundPhase.losses

        def losses(phase: BackgroundPhase, model: AstSeg, batch: Batch, schedule: Schedule) -> Losses:
            found = learned(phase, model, batch, schedule)
            return found._replace(total=found.total + (torch.inf if schedule == phase.schedule(1) else 0))

        monkeypatch.setattr(BackgroundPhase, "losses", losses)
        trainer = Trainer(tiny_recipe, tiny_images, tmp_path, CPU, report_every=1)
        with pytest.raises(NonFiniteWeightsError, match=r"loss is no longer finite.*'background', step 2.*seed"):
            trainer.run()
        assert not (tmp_path / "checkpoint.pt").exists()

    def test_same_seed_same_result(
        self, dropout_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, whole: Trainer
    ) -> None:
        torch.rand(5)
        again = Trainer(dropout_recipe, tiny_images, tmp_path / "again", CPU)
        torch.rand(5)
        again.run()
        assert states_equal(again.model, whole.model)
        assert not states_equal(trained(dropout_recipe, tiny_images, tmp_path / "other", seed=1).model, whole.model)

    def test_learns(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        recipe = override(
            tiny_recipe,
            {"background.steps": 40, "background.exponent_ramp_steps": 10_000, "foreground.scenario": "background"},
        )
        recorder = Recorder()
        (tmp_path / "run").mkdir()
        Trainer(recipe, tiny_images, tmp_path / "run", CPU, callbacks=[recorder], report_every=1).run()
        losses = [metrics.losses["background"] for metrics in recorder.metrics]
        assert np.mean(losses[-5:]) < 0.5 * losses[0]

    def test_reports(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        recorder = Recorder()
        Trainer(tiny_recipe, tiny_images, tmp_path, CPU, callbacks=[recorder], report_every=2).run()
        assert [(metrics.phase.name, metrics.step) for metrics in recorder.metrics] == [
            *(("background", 2), ("background", 3)),
            *(("objects", 2), ("objects", 3)),
            *(("joint", 2), ("joint", 3)),
        ]
        background, *_, joint = recorder.metrics
        assert set(background.losses) == {"total", "background"}
        assert background.diagnostics == {}
        assert set(joint.losses) == {"total", "reconstruction", "entropy", "slot_use"}
        assert 0 <= joint.diagnostics["background_share"] <= 1
        # Step 3 of the joint phase is the sixth of the foreground, counted from 0.
        assert joint.learning_rates == {"learning_rate": tiny_recipe.foreground.learning_rate.at(5, 6)}

    def test_images_of_another_size(self, tiny_recipe: Recipe, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"\(2, 32, 40, 3\)"):
            Trainer(tiny_recipe, np.zeros((2, 32, 40, 3), np.uint8), tmp_path, CPU)

    @pytest.mark.parametrize(
        "images", [np.zeros((2, 32, 32, 3)), np.zeros((2, 32, 32), np.uint8), np.zeros((0, 32, 32, 3), np.uint8)]
    )
    def test_no_images(self, tiny_recipe: Recipe, tmp_path: Path, images: np.ndarray) -> None:
        with pytest.raises(ValueError, match="uint8"):
            Trainer(tiny_recipe, images, tmp_path, CPU)

    @pytest.mark.parametrize("seed", [-1, 2**64, 0.5])
    def test_seeds_that_there_are_not(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, seed: Any) -> None:
        with pytest.raises(ValueError, match=r"^seed should be"):
            Trainer(tiny_recipe, tiny_images, tmp_path, CPU, seed)
        with pytest.raises(ValueError, match=r"^seed should be"):
            RunSettings("", tiny_recipe, "", seed)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("device", ["cuda:99", "toaster", torch.device("xpu:7"), None])
    def test_devices_that_there_are_not(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, device: Any
    ) -> None:
        with pytest.raises(AstSegError, match=f"There is no device '{device}' here; there is .*cpu"):
            Trainer(tiny_recipe, tiny_images, tmp_path, device)
        with pytest.raises(AstSegError, match=f"There is no device '{device}' here; there is .*cpu"):
            Trainer.resume(tiny_images, tmp_path, device)

    def test_arguments_of_another_kind(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tiny_store: Store, tmp_path: Path
    ) -> None:
        with pytest.raises(TypeError, match=r"array of images, such as store\['train'\]\.images, not a Split"):
            Trainer(tiny_recipe, tiny_store["train"], tmp_path, CPU)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not a str"):
            Trainer("demo", tiny_images, tmp_path, CPU)  # type: ignore[arg-type]

    def test_folder_and_device_by_their_names(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        assert Trainer(tiny_recipe, tiny_images, str(tmp_path), "cpu").run()
        assert Trainer.resume(tiny_images, str(tmp_path), "cpu", save_every=1.0).run()
        assert (tmp_path / "model" / "model.safetensors").is_file()

    def test_a_folder_is_for_one_run(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        first, second = (Trainer(tiny_recipe, tiny_images, tmp_path, CPU, seed) for seed in (1, 2))
        assert not first.run(after(1))
        before = (tmp_path / "checkpoint.pt").read_bytes()
        for begin in (second.run, second.save, lambda: Trainer(tiny_recipe, tiny_images, tmp_path, CPU, seed=3)):
            with pytest.raises(RunExistsError, match=r"already \(checkpoint\.pt, model\).*Trainer\.resume"):
                begin()
        assert (tmp_path / "checkpoint.pt").read_bytes() == before
        assert first.run(), "its own files are in nobody's way"
        assert Trainer.resume(tiny_images, tmp_path, CPU).run()

    def test_a_backbone_is_loaded_once(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        monkeypatch.setattr(
            training_state, "load_backbone", lambda model, source: asked.append((model.num_slots, source))
        )
        recipe = override(tiny_recipe, {"architecture.feature_network": "segformer-b0", "backbone": "./weights"})
        Trainer(recipe, tiny_images, tmp_path, CPU)
        assert asked == [(2, "./weights")]

    def test_a_callback_need_not_listen(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        trained(tiny_recipe, tiny_images, tmp_path / "run", Callback())

    def test_a_callback_may_have_the_first_phase_begin_again(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path
    ) -> None:
        recorder = Recorder()
        again = BackgroundAgain(tiny_recipe, {"architecture.num_slots": 1})
        trainer = trained(tiny_recipe, tiny_images, tmp_path / "run", again, recorder)
        assert recorder.steps[:5] == [("background", step) for step in (1, 2, 1, 2, 3)]
        assert len(recorder.steps) == 2 + 9
        assert trainer.model.num_slots == trainer.recipe.architecture.num_slots == 1

    def test_a_recipe_that_begins_again_has_its_own_callbacks(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path
    ) -> None:
        class Again(Callback):
            def on_step_end(self, state: TrainState) -> RestartPhase | None:
                until = state.recipe.foreground.reinitialize_slots_until
                changed = override(state.recipe, {"foreground.reinitialize_slots_until": 8})
                return None if until == 8 else RestartPhase(changed)

        recipe = override(tiny_recipe, {"foreground.reinitialize_slots_until": 0})
        trainer = trained(recipe, tiny_images, tmp_path / "run", Again())
        assert [type(callback).__name__ for callback in trainer.callbacks] == ["DeadSlotReset", "Again"]

    def test_random_numbers_between_two_runs_change_nothing(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path
    ) -> None:
        """With a transformer, whose dropout draws them."""
        recipe = override(tiny_recipe, {"architecture.refinement": "transformer"})
        expected = trained(recipe, tiny_images, tmp_path / "whole").model.state_dict()
        trainer = Trainer(recipe, tiny_images, tmp_path / "parts", CPU)
        assert not trainer.run(lambda: trainer.state.steps_done == 5)
        torch.randn(7)
        assert trainer.run()
        for name, value in trainer.model.state_dict().items():
            assert torch.equal(value, expected[name])

    def test_a_trained_model_stays_when_its_background_begins_again(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path
    ) -> None:
        first = trained(tiny_recipe, tiny_images, tmp_path / "first").model
        again = BackgroundAgain(tiny_recipe, {"architecture.background_network": "static"})
        trainer = Trainer(tiny_recipe, tiny_images, tmp_path / "run", CPU, callbacks=[again], model=first)
        trainer.run(stop=lambda: trainer.recipe != tiny_recipe)
        assert (trainer.recipe.architecture.background_network, trainer.state.step) == ("static", 0)
        begun = trainer.model.state_dict()
        for name, value in first.state_dict().items():
            assert name.startswith("background.") or torch.equal(value, begun[name]), name

    def test_two_callbacks_cannot_both_have_their_way(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path
    ) -> None:
        class Again(Callback):
            def on_step_end(self, state: TrainState) -> RestartPhase:
                return RestartPhase(state.recipe)

        trainer = Trainer(tiny_recipe, tiny_images, tmp_path, CPU, callbacks=[Again(), Again()])
        with pytest.raises(AstSegError, match="2 callbacks ask for a restart after one step"):
            trainer.run()

    def test_a_later_phase_does_not_begin_again_without_what_is_learned(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path
    ) -> None:
        class Again(Callback):
            def on_step_end(self, state: TrainState) -> RestartPhase | None:
                return RestartPhase(state.recipe) if state.phase.name == "objects" and state.step == 2 else None

        trainer = Trainer(tiny_recipe, tiny_images, tmp_path, CPU, callbacks=[Again()])
        with pytest.raises(ValueError, match="only the first phase can start again with a new model, not 'objects'"):
            trainer.run()
        assert trainer.state.step == 2
        assert Trainer.resume(tiny_images, tmp_path, CPU).run(), "what was saved is kept"

    def test_a_recipe_has_the_callbacks_that_it_asks_for(self, tiny_recipe: Recipe, tiny_images: Bytes) -> None:
        images = TrainingImages(tiny_images, CPU)
        plain = override(tiny_recipe, {"foreground.reinitialize_slots_until": 0})
        assert recipe_callbacks(plain, images) == []
        reviving = override(plain, {"foreground.reinitialize_slots_until": 9})
        assert recipe_callbacks(reviving, images) == [DeadSlotReset(until=9)]
        unsure = override(plain, {"background.automatic_complexity": True, "architecture.background_network": "simple"})
        assert recipe_callbacks(unsure, images) == [ComplexityCheck(images)]
        assert Trainer(unsure, tiny_images, Path(), CPU).callbacks == (ComplexityCheck(images),)

    def test_the_next_batch_is_read_ahead(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        np.save(tmp_path / "images.npy", tiny_images)
        fetched: list[tuple[int, list[int]]] = []
        read: list[list[int]] = []
        batch = TrainingSet.__getitem__

        def record(training_set: TrainingSet, indices: np.ndarray) -> Batch:
            read.append(indices.tolist())
            return batch(training_set, indices)

        def fetch(array: np.ndarray, rows: np.ndarray) -> None:
            fetched.append((len(read), rows.tolist()))

        monkeypatch.setattr(TrainingSet, "__getitem__", record)
        monkeypatch.setattr(batches, "fetch_rows", fetch)
        Trainer(tiny_recipe, np.load(tmp_path / "images.npy", mmap_mode="r"), tmp_path, "cpu").run()
        first, then = (phase.steps for phase in phases(tiny_recipe)[:2])
        arrays = [1] * first + [2] * then + [1] * (len(read) - first - then)  # with the frozen backgrounds
        assert len(fetched) == sum(arrays)
        ends = {first, first + then, len(read)}
        for number, rows in fetched:
            assert number in ends or rows == read[number]


class TestBeginsWithATrainedModel:
    @pytest.mark.parametrize("scenario", ["curriculum", "baseline"])
    def test_places_and_projection_stay(
        self, scenario: str, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path
    ) -> None:
        """Nothing learns here, so that what is placed or fitted anew shows."""
        settings = {
            "architecture.slot_position_prior": True,
            "architecture.slow_features": {"backbone": "filters", "directions": 4},
            "architecture.shadows": False,
            "foreground.scenario": scenario,
            "foreground.baseline.placement_step": 2,
            "foreground.reinitialize_slots_until": 0,
        }
        recipe = override(tiny_recipe, settings)
        first = Trainer(recipe, tiny_images, tmp_path / "first", "cpu")
        first.run()
        assert first.model.places is not None
        assert bool(first.model.places.centres.any())
        still = override(recipe, {"foreground.learning_rate.peak": 1e-12})
        again = Trainer(still, tiny_images[::-1].copy(), tmp_path / "again", "cpu", seed=9, model=first.model)
        again.run(lambda: again.state.steps_done == 4)  # in the objects' phase, whose preparation is not repeated
        resumed = Trainer.resume(tiny_images[::-1].copy(), tmp_path / "again", "cpu")
        resumed.run()
        assert resumed.model.places is not None
        torch.testing.assert_close(resumed.model.places.centres, first.model.places.centres)
        assert resumed.model.slow_features is not None
        assert first.model.slow_features is not None
        assert torch.equal(resumed.model.slow_features.matrix, first.model.slow_features.matrix)


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
        numbers = []
        for run in (folder, whole.folder):
            TrainState.load(run / "checkpoint.pt", CPU)
            numbers.append(torch.rand(4))
        assert torch.equal(*numbers)

    def test_is_identical_while_images_are_drawn(
        self, dropout_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, whole: Trainer
    ) -> None:
        class Looker(Callback):
            def on_step_end(self, state: TrainState) -> None:
                images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
                state.model.segment(images)
                state.model.reconstruct(images)

        assert states_equal(trained(dropout_recipe, tiny_images, tmp_path / "run", Looker()).model, whole.model)

    @pytest.mark.parametrize("optimizer", ["adam", "muon"])
    def test_after_every_step(
        self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, optimizer: OptimizerName
    ) -> None:
        recipe = replace(tiny_recipe, foreground=replace(tiny_recipe.foreground, optimizer=optimizer))
        whole = trained(recipe, tiny_images, tmp_path / "whole")
        folder = tmp_path / "stopped"
        folder.mkdir()
        trainer, rounds = Trainer(recipe, tiny_images, folder, CPU), 1
        while not trainer.run(after(1)):
            trainer, rounds = Trainer.resume(tiny_images, folder, CPU), rounds + 1
        assert rounds == 9
        assert states_equal(trainer.model, whole.model)
        assert all(seconds > 0 for seconds in trainer.state.seconds.values())

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
            def on_step_end(self, state: TrainState) -> None:
                if (state.phase.name, state.step) == ("joint", 2):
                    raise KeyboardInterrupt

        folder = tmp_path / "crashed"
        folder.mkdir()
        with pytest.raises(KeyboardInterrupt):
            Trainer(dropout_recipe, tiny_images, folder, CPU, callbacks=[Crash()], save_every=0.0).run()
        resumed = Trainer.resume(tiny_images, folder, CPU)
        assert resumed.state.step == 1
        resumed.run()
        assert states_equal(resumed.model, whole.model)

    def test_needs_no_backbone(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        recipe = override(tiny_recipe, {"architecture.feature_network": "segformer-b0"})
        Trainer(recipe, tiny_images, tmp_path, CPU).run(after(1))
        state = TrainState.load(tmp_path / "checkpoint.pt", CPU)
        state.recipe = replace(recipe, backbone="./gone")
        state.save(tmp_path / "checkpoint.pt")
        trainer = Trainer.resume(tiny_images, tmp_path, CPU)
        assert trainer.recipe.backbone == "./gone", "what was asked for stays known"

    @pytest.mark.parametrize("there", [True, False])
    def test_backgrounds_are_painted_again_only_where_they_are_missing(
        self, dropout_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, whole: Trainer, there: bool
    ) -> None:
        Trainer(dropout_recipe, tiny_images, tmp_path, CPU).run(after(4))
        file = tmp_path / "backgrounds.npy"
        written = file.stat().st_mtime_ns
        if not there:
            file.unlink()
        resumed = Trainer.resume(tiny_images, tmp_path, CPU)
        assert resumed.run()
        assert (file.stat().st_mtime_ns == written) == there
        assert states_equal(resumed.model, whole.model)

    def test_no_checkpoint(self, tiny_images: Bytes, tmp_path: Path) -> None:
        with pytest.raises(AstSegError, match="no checkpoint"):
            Trainer.resume(tiny_images, tmp_path, CPU)

    def test_images_of_another_size(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        Trainer(tiny_recipe, tiny_images, tmp_path, CPU).run(after(1))
        with pytest.raises(AstSegError, match="40x32"):
            Trainer.resume(np.zeros((2, 40, 32, 3), np.uint8), tmp_path, CPU)

    def test_another_number_of_images(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        Trainer(tiny_recipe, tiny_images, tmp_path, CPU).run(after(1))
        with pytest.raises(AstSegError, match="these are 11"):
            Trainer.resume(tiny_images[:-1], tmp_path, CPU)

    def test_weights_of_another_configuration(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        Trainer(tiny_recipe, tiny_images, tmp_path, CPU).run(after(1))
        state = TrainState.load(tmp_path / "checkpoint.pt", CPU)
        state.recipe = override(tiny_recipe, {"architecture.num_slots": 5})
        state.save(tmp_path / "checkpoint.pt")
        with pytest.raises(AstSegError, match="another configuration"):
            Trainer.resume(tiny_images, tmp_path, CPU)

    def test_a_model_that_could_not_be_written_is_written_when_the_run_goes_on(
        self,
        dropout_recipe: Recipe,
        tiny_images: Bytes,
        tmp_path: Path,
        whole: Trainer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        folder = tmp_path / "run"
        folder.mkdir()
        written = AstSeg.save_pretrained

        def full(model: AstSeg, path: Path) -> None:
            if trainer.state.finished:
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


def test_arguments_that_are_none(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
    folder, callback, images = tmp_path / "run", cast(Any, Recorder), cast(Any, list(tiny_images))
    for number in (0, -1, 2.5):
        with pytest.raises(ValueError, match=rf"report_every should be .*, not {number}"):
            Trainer(tiny_recipe, tiny_images, folder, CPU, report_every=cast(Any, number))
    with pytest.raises(TypeError, match=r"derived from astseg\.Callback, not a type"):
        Trainer(tiny_recipe, tiny_images, folder, CPU, callbacks=[callback])
    with pytest.raises(TypeError, match=r"takes an array of images, .*, not a list"):
        Trainer(tiny_recipe, images, folder, CPU)
    with pytest.raises(TypeError, match=r"takes an array of images, .*, not a list"):
        Trainer.resume(images, folder, CPU)


def test_batches_that_no_machine_holds(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
    Trainer(tiny_recipe, tiny_images, tmp_path, CPU).run(stop=lambda: True)
    (tmp_path / "checkpoint.previous.pt").unlink(missing_ok=True)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    content["recipe"]["foreground"]["batch_size"] = 2**31 - 1
    torch.save(content, tmp_path / "checkpoint.pt")
    message = r"A batch of 2147483647 images at \d+x\d+ takes about \d+ GB of memory, and this machine has"
    with pytest.raises(MemoryShortageError, match=message):
        Trainer.resume(tiny_images, tmp_path, CPU)
    large = override(tiny_recipe, {"foreground.batch_size": 2**31 - 1})
    with pytest.raises(MemoryShortageError, match=message):
        Trainer(large, tiny_images, tmp_path / "new", CPU)
    Trainer(large, tiny_images, tmp_path / "new", CPU, execution=Execution(parts=2**30))


class Darkness(Callback):
    """Wants dark layers, and remembers when it was asked."""

    def __init__(self, weight: float, name: str = "darkness") -> None:
        self.weight, self.name = weight, name
        self.asked: list[tuple[str, int, int]] = []
        self.metrics: list[StepMetrics] = []

    def more_losses(self, state: TrainState, batch: Batch, losses: Losses) -> dict[str, Tensor]:
        self.asked.append((state.phase.name, state.step, len(batch.images)))
        if losses.rendering is None:
            return {}
        return {self.name: self.weight * losses.rendering.layers.mean()}

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        self.metrics.append(metrics)


class TestMoreLosses:
    def test_are_learned_from_and_reported(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        plain = trained(tiny_recipe, tiny_images, tmp_path / "plain")
        dark = Darkness(10.0)
        trainer = Trainer(tiny_recipe, tiny_images, tmp_path / "dark", CPU, callbacks=[dark], report_every=1)
        trainer.run()
        assert [asked[:2] for asked in dark.asked] == [
            *(("background", step) for step in range(3)),
            *(("objects", step) for step in range(3)),
            *(("joint", step) for step in range(3)),
        ]
        for metrics in dark.metrics[3:]:
            schedule = metrics.phase.schedule(metrics.step - 1)
            weights = {"reconstruction": 1.0, "entropy": schedule.entropy_weight, "darkness": 1.0}
            weights |= {"slot_use": schedule.slot_use_weight}
            terms = sum(weights[name] * value for name, value in metrics.losses.items() if name != "total")
            assert metrics.losses["total"] == pytest.approx(terms, rel=1e-5)
        images = torch.from_numpy(tiny_images.copy()).permute(0, 3, 1, 2) / 255
        layers = [float(one.model.reconstruct(images).layers.mean()) for one in (trainer, plain)]
        assert layers[0] < layers[1]

    def test_of_no_weight_change_nothing(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        plain = trained(tiny_recipe, tiny_images, tmp_path / "plain")
        other = trained(tiny_recipe, tiny_images, tmp_path / "other", Darkness(0.0))
        assert states_equal(plain.model, other.model)

    def test_a_run_resumes_with_them(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        whole = trained(tiny_recipe, tiny_images, tmp_path / "whole", Darkness(1.0))
        Trainer(tiny_recipe, tiny_images, tmp_path / "parts", CPU, callbacks=[Darkness(1.0)]).run(after(7))
        resumed = Trainer.resume(tiny_images, tmp_path / "parts", CPU, callbacks=[Darkness(1.0)])
        resumed.run()
        assert states_equal(whole.model, resumed.model)

    def test_of_a_batch_in_parts(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        dark = Darkness(1.0)
        execution = Execution(parts=2)
        trainer = Trainer(tiny_recipe, tiny_images, tmp_path / "run", CPU, callbacks=[dark], execution=execution)
        trainer.run(after(1))
        assert dark.asked == [("background", 0, 2), ("background", 0, 2)]

    @pytest.mark.parametrize("name", ["total", "entropy", "active_slots", "learning_rate"])
    def test_a_name_that_is_taken(self, name: str, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=f"'{name}' already"):
            trained(tiny_recipe, tiny_images, tmp_path / "run", Darkness(1.0, name))

    def test_more_than_a_number(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        class PerImage(Callback):
            def more_losses(self, state: TrainState, batch: Batch, losses: Losses) -> dict[str, Tensor]:
                return {"mine": torch.zeros(len(batch.images))}

        with pytest.raises(ValueError, match=r"'mine' should be a single number, not of shape \(4,\)"):
            trained(tiny_recipe, tiny_images, tmp_path / "run", PerImage())

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (None, "should return terms by name, {} for none, not None"),
            ({"mine": 1.0}, "'mine' should be a tensor, not 1"),
        ],
    )
    def test_no_terms(self, given: Any, message: str, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        class Forgetful(Callback):
            def more_losses(self, state: TrainState, batch: Batch, losses: Losses) -> Any:
                return given

        with pytest.raises(ValueError, match=message):
            trained(tiny_recipe, tiny_images, tmp_path / "run", Forgetful())

    def test_are_not_compiled(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        execution = Execution(compiled=True)
        trainer = Trainer(
            tiny_recipe, tiny_images, tmp_path / "run", CPU, callbacks=[Darkness(1.0)], execution=execution
        )
        with pytest.raises(AstSegError, match="cannot be compiled"):
            trainer.run()
