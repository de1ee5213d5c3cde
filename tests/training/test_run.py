import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import count as counted
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from astseg import __version__
from astseg._core.errors import AstSegError, MemoryShortageError, RunExistsError
from astseg.data.store import Bytes, Store
from astseg.data.store_writer import StoreWriter
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import TrainingImages
from astseg.training.callbacks import Callback
from astseg.training.complexity import ComplexityCheck
from astseg.training.config import Recipe
from astseg.training.loggers import read_metrics
from astseg.training.loop import Trainer
from astseg.training.run import finish_run, train_run
from astseg.training.run_folder import (
    RunSettings,
    has_trained_objects,
    is_run,
    lock_run,
    read_run,
    trained_model,
    training_points,
    where_stopped,
    write_run,
)
from astseg.training.state import TrainState

CPU = torch.device("cpu")


@pytest.fixture
def settings(tiny_recipe: Recipe, tiny_store: Store) -> RunSettings:
    return RunSettings("a test", tiny_recipe, str(tiny_store.path), seed=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


class Counter(Callback):
    def __init__(self) -> None:
        self.steps = 0

    def on_step_end(self, state: TrainState) -> None:
        self.steps += 1


def stop_after(steps: int) -> Callable[[], bool]:
    asked = counted(1)
    return lambda: next(asked) == steps


def black_store(path: Path, *splits: str, size: tuple[int, int] = (32, 32), masks: bool = False, count: int = 3) -> str:
    with StoreWriter(path, size, "s", "p") as writer:
        for name in splits:
            with writer.split(name) as split:
                split.append(
                    np.zeros((count, *size, 3), np.uint8), np.ones((count, *size), np.uint8) if masks else None
                )
    return str(path)


class TestSettings:
    def test_round_trip(self, settings: RunSettings, folder: Path) -> None:
        assert not is_run(folder)
        write_run(folder, settings, CPU)
        assert is_run(folder)
        assert read_run(folder) == settings

    def test_say_where_the_program_came_from(self, settings: RunSettings, folder: Path) -> None:
        write_run(folder, settings, CPU)
        origin = json.loads((folder / "run.json").read_text())["provenance"]
        assert origin["astseg"] == __version__
        assert origin["torch"] == torch.__version__

    def test_no_run(self, folder: Path) -> None:
        with pytest.raises(AstSegError, match=r"no run\.json"):
            read_run(folder)

    @pytest.mark.parametrize("content", ["{", "[]", "3", "{}", '{"title": "a", "recipe": {}, "data": "d"}'])
    def test_damaged(self, folder: Path, content: str) -> None:
        folder.mkdir()
        (folder / "run.json").write_text(content)
        with pytest.raises(AstSegError, match="understood"):
            read_run(folder)

    def test_a_value_of_a_wrong_type(self, settings: RunSettings, folder: Path) -> None:
        write_run(folder, settings, CPU)
        content = json.loads((folder / "run.json").read_text())
        content["recipe"]["architecture"]["num_slots"] = "three"
        (folder / "run.json").write_text(json.dumps(content))
        with pytest.raises(AstSegError, match="understood"):
            read_run(folder)


class TestTraining:
    def test_leaves_what_it_should(self, settings: RunSettings, folder: Path) -> None:
        counter = Counter()
        assert train_run(folder, settings, CPU, callbacks=[counter])
        assert counter.steps == 9
        names = {path.name for path in folder.iterdir()}
        checkpoints, backgrounds = {"checkpoint.pt", "checkpoint.previous.pt"}, {"backgrounds.npy", "backgrounds.crc32"}
        others = {"run.json", "metrics.jsonl", "tensorboard", "images", "model"}
        assert names == checkpoints | backgrounds | others
        assert not list(folder.rglob("*.partial*"))

    def test_stops_and_goes_on_to_the_identical_result(
        self, settings: RunSettings, folder: Path, tmp_path: Path
    ) -> None:
        train_run(folder, settings, CPU)
        stopped = tmp_path / "stopped"
        assert not train_run(stopped, settings, CPU, stop=stop_after(5))
        counter = Counter()
        assert train_run(stopped, read_run(stopped), CPU, resume=True, callbacks=[counter])
        assert counter.steps == 4
        weights = [(run / "model/model.safetensors").read_bytes() for run in (folder, stopped)]
        assert weights[0] == weights[1]
        # Reports come every twenty steps and at the end of each phase.
        for run in (folder, stopped):
            assert [entry["step"] for entry in read_metrics(run / "metrics.jsonl")] == [3, 6, 9]

    def test_a_checkpoint_of_batches_that_no_machine_holds(self, settings: RunSettings, folder: Path) -> None:
        train_run(folder, settings, CPU, stop=stop_after(5))
        (folder / "checkpoint.previous.pt").unlink()
        content = torch.load(folder / "checkpoint.pt", weights_only=True)
        content["recipe"]["foreground"]["batch_size"] = 2**31 - 1
        torch.save(content, folder / "checkpoint.pt")
        with pytest.raises(MemoryShortageError, match=r"takes about \d+ GB of memory, and this machine has"):
            train_run(folder, settings, CPU, resume=True)

    def test_does_not_write_over_a_run(self, settings: RunSettings, folder: Path) -> None:
        write_run(folder, settings, CPU)
        with pytest.raises(RunExistsError, match=r"already \(run\.json\)"):
            train_run(folder, settings, CPU)

    def test_a_trainer_does_not_write_over_a_run(self, settings: RunSettings, folder: Path, tiny_images: Bytes) -> None:
        train_run(folder, settings, CPU)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with pytest.raises(RunExistsError, match=r"run\.json, checkpoint\.pt.*Resume it.*Trainer\.resume"):
            Trainer(settings.recipe, tiny_images, folder, CPU)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    def test_a_run_that_fails_before_its_first_step_leaves_its_folder_free(
        self, settings: RunSettings, folder: Path, tmp_path: Path
    ) -> None:
        class Broken(Callback):
            def on_phase_start(self, state: TrainState) -> None:
                raise ValueError("no data")

        with pytest.raises(ValueError, match="no data"):
            train_run(folder, settings, CPU, callbacks=[Broken()])
        assert not list(folder.iterdir())
        other_size = replace(settings, data=black_store(tmp_path / "other", "train", size=(40, 32)))
        with pytest.raises(ValueError, match="32 x 32"):
            train_run(folder, other_size, CPU)
        assert train_run(folder, settings, CPU)

    @pytest.mark.parametrize(("steps", "error"), [(1, ValueError), (0, KeyboardInterrupt)])
    def test_a_run_that_fails_later_or_is_interrupted_can_be_resumed(
        self, settings: RunSettings, folder: Path, steps: int, error: type[BaseException]
    ) -> None:
        class Broken(Callback):
            def on_step_end(self, state: TrainState) -> None:
                if steps:
                    raise error

            def on_phase_start(self, state: TrainState) -> None:
                if not steps:
                    raise error

        with pytest.raises(error):
            train_run(folder, settings, CPU, callbacks=[Broken()])
        with pytest.raises(RunExistsError):
            train_run(folder, settings, CPU)
        assert train_run(folder, settings, CPU, resume=True)

    def test_what_is_prepared_is_kept_when_the_first_step_fails(self, settings: RunSettings, folder: Path) -> None:
        class Broken(Callback):
            def on_phase_start(self, state: TrainState) -> None:
                (folder / "residuals.npy").write_bytes(b"hours of work")
                raise ValueError

        with pytest.raises(ValueError, match=r"^$"):
            train_run(folder, settings, CPU, callbacks=[Broken()])
        assert is_run(folder)

    def test_says_how_far_the_model_has_come(self, settings: RunSettings, folder: Path) -> None:
        assert where_stopped(folder) is None
        assert has_trained_objects(folder), "as far as anybody knows"
        train_run(folder, settings, CPU, stop=stop_after(2))
        assert where_stopped(folder) == where_stopped(folder / "model") == "step 2 of 3 of the phase 'background'"
        assert not has_trained_objects(folder)
        train_run(folder, settings, CPU, resume=True, stop=stop_after(1))
        assert where_stopped(folder) == "step 0 of 3 of the phase 'objects'"
        assert not has_trained_objects(folder)
        train_run(folder, settings, CPU, resume=True, stop=stop_after(1))
        assert has_trained_objects(folder)
        train_run(folder, settings, CPU, resume=True)
        assert where_stopped(folder) is None
        assert has_trained_objects(folder)

    @pytest.mark.parametrize("change", [{"step": "x"}, {"step": -1}, {"steps": None}, {"more": 1}])
    def test_progress_that_makes_no_sense(self, settings: RunSettings, folder: Path, change: dict[str, Any]) -> None:
        train_run(folder, settings, CPU, stop=stop_after(2))
        file = folder / "model" / "progress.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        assert where_stopped(folder) is None
        assert has_trained_objects(folder)

    def test_two_commands_do_not_train_one_run(self, settings: RunSettings, folder: Path) -> None:
        with lock_run(folder):
            with pytest.raises(AstSegError, match="Another command"), lock_run(folder):
                pytest.fail("the run is taken")
            assert train_run(folder, settings, CPU)
        assert is_run(folder)
        assert not (folder / ".lock").exists()

    def test_a_place_that_cannot_be_written(self, settings: RunSettings, folder: Path) -> None:
        folder.write_text("a file")
        with pytest.raises(AstSegError, match="Cannot write"), lock_run(folder):
            pytest.fail("no run can be here")

    def test_resumes_a_run_that_was_stopped_before_its_first_checkpoint(
        self, settings: RunSettings, folder: Path
    ) -> None:
        write_run(folder, settings, CPU)
        counter = Counter()
        assert train_run(folder, settings, CPU, resume=True, callbacks=[counter])
        assert counter.steps == 9

    def test_the_logger_is_closed_when_training_breaks_off(self, settings: RunSettings, folder: Path) -> None:
        class Broken(Callback):
            def on_step_end(self, state: TrainState) -> None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_run(folder, settings, CPU, callbacks=[Broken()])
        assert is_run(folder)

    def test_records_the_background_that_the_images_needed(
        self, settings: RunSettings, folder: Path, tiny_images: Bytes
    ) -> None:
        recipe = settings.recipe
        recipe = replace(
            recipe,
            architecture=replace(recipe.architecture, background_network="simple"),
            background=replace(recipe.background, steps=2, complex_steps=1),
            foreground=replace(recipe.foreground, scenario="background"),
        )
        check = ComplexityCheck(TrainingImages(tiny_images, CPU), threshold=-1.0)
        train_run(folder, replace(settings, recipe=recipe), CPU, callbacks=[check])
        written = read_run(folder)
        assert written.recipe.architecture.background_network == "complex"
        assert written.recipe.background.steps == 1
        assert replace(written, recipe=recipe) == replace(settings, recipe=recipe)

    def test_what_a_killed_process_left_is_removed(self, settings: RunSettings, folder: Path) -> None:
        (folder / "images").mkdir(parents=True)
        leftovers = (
            folder / ".backgrounds.4711.partial.npy",
            folder / "images" / ".0-background-000001.4711.partial.png",
        )
        for leftover in leftovers:
            leftover.write_bytes(b"half")
        train_run(folder, settings, CPU)
        assert not any(leftover.exists() for leftover in leftovers)

    def test_a_finished_run_whose_model_is_gone_writes_it_again(self, settings: RunSettings, folder: Path) -> None:
        train_run(folder, settings, CPU)
        files = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
        checkpoint = (folder / "checkpoint.pt").read_bytes()
        shutil.rmtree(folder / "model")
        assert train_run(folder, settings, CPU, resume=True)
        assert {path.name: path.read_bytes() for path in (folder / "model").iterdir()} == files
        assert (folder / "checkpoint.pt").read_bytes() == checkpoint

    def test_exchanged_data_is_refused_by_its_file(self, settings: RunSettings, folder: Path, tmp_path: Path) -> None:
        train_run(folder, settings, CPU, stop=stop_after(1))
        other = replace(settings, data=black_store(tmp_path / "other", "train", count=12))
        with pytest.raises(AstSegError, match="other images of the same number and size"):
            train_run(folder, other, CPU, resume=True)

    def test_resumes_from_the_checkpoint_before(self, settings: RunSettings, folder: Path) -> None:
        train_run(folder, settings, CPU, stop=stop_after(5))
        (folder / "checkpoint.pt").rename(folder / "checkpoint.previous.pt")
        assert train_run(folder, settings, CPU, resume=True)

    def test_data_of_another_size(self, settings: RunSettings, folder: Path, tmp_path: Path) -> None:
        train_run(folder, settings, CPU, stop=stop_after(1))
        other = replace(settings, data=black_store(tmp_path / "other", "train", size=(40, 32)))
        with pytest.raises(AstSegError, match="own data"):
            train_run(folder, other, CPU, resume=True)


class TestFinishing:
    def test_scores_and_page(self, settings: RunSettings, folder: Path, model: AstSeg) -> None:
        calls = []
        summary = finish_run(folder, model, settings, {"joint": 2.0}, CPU, lambda *done: calls.append(done))
        assert summary is not None
        assert calls[-1] == (4, 4)
        scores = json.loads((folder / "scores.json").read_text())
        text = json.dumps(scores)
        for part in ('"seed": 3', '"joint": 2.0', "a protocol", __version__):
            assert part in text
        assert scores["summary_by_weights"]["overall"]["images"] == 4
        assert scores["summary_by_weights"]["protocol"] != scores["summary"]["protocol"]
        assert len((folder / "per_image.csv").read_text().splitlines()) == 5
        assert "a test" in (folder / "page.html").read_text()

    def test_without_truth_there_are_no_scores(
        self, settings: RunSettings, folder: Path, model: AstSeg, tmp_path: Path
    ) -> None:
        plain = replace(settings, data=black_store(tmp_path / "plain", "train", "test"))
        assert finish_run(folder, model, plain, {}, CPU) is None
        assert [path.name for path in folder.iterdir()] == ["page.html"]

    def test_masks_of_training_images_are_not_scored(
        self, settings: RunSettings, folder: Path, model: AstSeg, tmp_path: Path
    ) -> None:
        masked = replace(settings, data=black_store(tmp_path / "masked", "train", masks=True))
        assert finish_run(folder, model, masked, {}, CPU) is None

    def test_curve(self, settings: RunSettings, folder: Path) -> None:
        assert training_points(folder) == []
        train_run(folder, settings, CPU)
        points = training_points(folder)
        assert [point.phase for point in points] == ["background", "objects", "joint"]

    def test_the_model_that_a_run_left(self, settings: RunSettings, folder: Path) -> None:
        folder.mkdir()
        with pytest.raises(AstSegError, match="no model"):
            trained_model(folder)
        train_run(folder, settings, CPU, stop=stop_after(1))
        assert trained_model(folder).num_slots == 2
