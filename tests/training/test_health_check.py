from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from astseg._core.errors import UnhealthyTrainingError
from astseg.data.store import Bytes, Store
from astseg.data.store_writer import StoreWriter
from astseg.training.batches import TrainingImages, TrainingSet
from astseg.training.callbacks import Callback
from astseg.training.config import Recipe
from astseg.training.health import Judgment
from astseg.training.health_check import HealthCheck, health_batches, loss_courses, slots_are_settled, watched_loss
from astseg.training.loop import Trainer
from astseg.training.phases import phases
from astseg.training.run import train_run
from astseg.training.run_folder import RunSettings, read_progress
from astseg.training.state import TrainState

CPU = torch.device("cpu")


class Listener(Callback):
    def __init__(self) -> None:
        self.problems: list[Judgment] = []
        self.steps: list[int] = []

    def on_problem(self, judgment: Judgment) -> None:
        self.problems.append(judgment)

    def on_step_end(self, state: TrainState) -> None:
        self.steps.append(state.steps_done)


@pytest.fixture
def still(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> RunSettings:
    """A run on one image over and over, by a background of a single image."""
    with StoreWriter(tmp_path / "still", (32, 32), "squares", "a protocol") as writer, writer.split("train") as split:
        split.append(np.repeat(tiny_images[:1], 8, 0))
    recipe = replace(
        tiny_recipe,
        architecture=replace(tiny_recipe.architecture, background_network="static"),
        background=replace(
            tiny_recipe.background,
            steps=120,
            learning_rate=replace(tiny_recipe.background.learning_rate, peak=2e-2, warmup_steps=0),
            exponent_ramp_start=120,
        ),
    )
    return RunSettings("a test", recipe, str(tmp_path / "still"))


def test_a_background_that_learns_what_stands_still_is_told_once(still: RunSettings, tmp_path: Path) -> None:
    listener = Listener()
    assert train_run(tmp_path / "run", still, CPU, callbacks=[listener])
    assert [one.aspect for one in listener.problems] == ["background"]
    assert "leaves nothing to the slots" in listener.problems[0].finding


def test_strict_stops_at_the_problem_with_a_whole_checkpoint(still: RunSettings, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train_run(whole, still, CPU)
    listener = Listener()
    with pytest.raises(UnhealthyTrainingError, match=r"with everything saved.*background explains"):
        train_run(stopped, still, CPU, strict=True, callbacks=[listener])
    assert listener.steps[-1] < 126  # of 126 steps
    progress = read_progress(stopped)
    assert progress is not None
    assert not progress.finished
    assert train_run(stopped, still, CPU, resume=True)
    for name in ("model.safetensors", "config.json"):
        assert (stopped / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()


def test_strict_ends_in_an_error_even_if_the_last_step_was_done(
    tiny_recipe: Recipe, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RunSettings("a test", tiny_recipe, str(tiny_store.path))
    late = Judgment("reconstruction", False, "All is the same.", "Try another.")
    monkeypatch.setattr(
        "astseg.training.health_check.judge_measures",
        lambda measures, *, objects: [late] if objects else [],
    )
    monkeypatch.setattr(
        "astseg.training.health_check.slots_are_settled",
        lambda phase, step: phase.name == "joint" and step == phase.steps,
    )
    with pytest.raises(UnhealthyTrainingError, match=r"All is the same. Try another.$"):
        train_run(tmp_path / "run", settings, CPU, strict=True)
    progress = read_progress(tmp_path / "run")
    assert progress is not None
    assert progress.finished


def test_a_loss_that_rises_is_told_in_its_phase(
    tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(
        tiny_recipe,
        background=replace(tiny_recipe.background, steps=30),
        foreground=replace(tiny_recipe.foreground, steps=30, frozen_steps=25),
    )
    values = iter([*[1.0] * 30, *[3.0] * 20, *[9.0] * 10])  # each phase has a loss of its own: the jumps do not count
    monkeypatch.setattr("astseg.training.health_check.watched_loss", lambda terms: next(values))
    told: list[Judgment] = []
    Trainer(recipe, tiny_images, tmp_path, CPU, callbacks=[HealthCheck(told.append)], report_every=1).run()
    assert [one.finding for one in told if one.aspect == "loss"] == [
        "The loss rises: it is 2.2 times as large as it was at its lowest."  # said as soon as it is above 2
    ]


def test_a_resumed_run_is_judged_by_all_losses_of_its_phase(
    tiny_recipe: Recipe, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(tiny_recipe, foreground=replace(tiny_recipe.foreground, steps=90, frozen_steps=3))
    settings = RunSettings("a test", recipe, str(tiny_store.path))
    judged: list[list[float]] = []
    monkeypatch.setattr("astseg.training.health_check.judge_loss", lambda losses: judged.append(list(losses)))
    assert train_run(tmp_path / "whole", settings, CPU)
    whole, judged[:] = judged[-1], []
    assert len(whole) == 5, "a report each 20 steps, and at the end of 87"
    listener = Listener()
    assert not train_run(tmp_path / "run", settings, CPU, callbacks=[listener], stop=lambda: len(listener.steps) == 56)
    assert len(judged[-1]) == 2
    # As after a kill: of the later steps there are metrics, but no checkpoint.
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines(keepends=True)[-2])
    assert train_run(tmp_path / "run", settings, CPU, resume=True)
    assert judged[-1] == whole
    assert loss_courses(tmp_path / "run")["joint"] == whole


@pytest.mark.parametrize("refinement", ["none", "transformer"])
def test_watching_changes_no_bit(
    tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, refinement: Literal["none", "transformer"]
) -> None:
    """Dropout draws random numbers while training; looking must draw none."""
    shape = replace(tiny_recipe.architecture, refinement=refinement)
    weights = []
    for name, callbacks in (("watched", [HealthCheck(lambda judgment: None)]), ("alone", [])):
        trainer = Trainer(replace(tiny_recipe, architecture=shape), tiny_images, tmp_path / name, CPU, 3, callbacks)
        assert trainer.run()
        weights.append(trainer.model.state_dict())
    watched, alone = weights
    assert all(torch.equal(watched[name], value) for name, value in alone.items())


def test_the_robust_loss_of_the_background_may_rise() -> None:
    assert watched_loss({"total": 1.0, "background": 1.0}) is None
    assert watched_loss({"total": 3.0, "reconstruction": 1.0, "features": 2.0}) == 2.0


def test_slots_are_judged_from_half_of_the_objects_steps_on(tiny_recipe: Recipe) -> None:
    background, objects, joint = phases(tiny_recipe)  # three steps each
    assert not slots_are_settled(background, 3)
    assert [slots_are_settled(objects, step) for step in range(4)] == [False, False, False, True]
    assert slots_are_settled(joint, 0)


def test_the_images_are_spread_over_all(tiny_images: Bytes) -> None:
    many = np.repeat(np.arange(200, dtype=np.uint8)[:, None, None, None], 3, 3).repeat(32, 1).repeat(32, 2)
    batches = list(health_batches(TrainingSet(TrainingImages(many, CPU)), (32, 32)))
    seen = torch.cat([batch.images[:, 0, 0, 0] for batch in batches]).mul(255).round().int().tolist()
    assert seen == np.linspace(0, 199, 64).astype(int).tolist()
    assert max(len(batch.images) for batch in batches) == 16
    few = list(health_batches(TrainingSet(TrainingImages(tiny_images, CPU)), (32, 32)))
    assert [len(batch.images) for batch in few] == [12]
