import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from astseg._core.settings_io import override
from astseg.data.store import Bytes
from astseg.training.batches import TrainingImages
from astseg.training.callbacks import Callback
from astseg.training.complexity import ComplexityCheck
from astseg.training.config import Recipe
from astseg.training.loggers import MetricsLogger, read_metrics
from astseg.training.loop import Trainer
from astseg.training.state import TrainState

CPU = torch.device("cpu")
STEPS = list(range(1, 10))


def trainer(recipe: Recipe, images: Bytes, folder: Path, *callbacks: Callback) -> Trainer:
    return Trainer(recipe, images, folder, CPU, callbacks=callbacks, report_every=1, save_every=1e9)


def crash_after(steps: int) -> Callable[[], bool]:
    count = 0

    def stop() -> bool:
        nonlocal count
        count += 1
        if count == steps:
            raise KeyboardInterrupt
        return False

    return stop


def tensorboard_steps(folder: Path, tag: str) -> list[int]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [event.step for event in events.Scalars(tag)]


def test_writes_every_report(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
    logger = MetricsLogger(tmp_path)
    trainer(tiny_recipe, tiny_images, tmp_path, logger).run()
    logger.close()
    entries = read_metrics(tmp_path / "metrics.jsonl")
    assert [entry["step"] for entry in entries] == STEPS
    assert [entry["phase"] for entry in entries] == 3 * ["background"] + 3 * ["objects"] + 3 * ["joint"]
    assert [entry["phase_step"] for entry in entries] == 3 * [1, 2, 3]
    for entry in entries:
        assert entry["total"] > 0
        assert entry["learning_rate"] > 0
        assert entry["seconds"] > 0
        assert ("active_slots" in entry) == (entry["phase"] != "background")
    assert tensorboard_steps(tmp_path, "background/total") == [1, 2, 3]
    assert tensorboard_steps(tmp_path, "joint/active_slots") == [7, 8, 9]


@pytest.mark.parametrize("scenario", ["curriculum", "baseline"])
def test_the_learning_rates_are_those_of_the_optimizer(
    tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, scenario: str
) -> None:
    used: list[list[float]] = []

    class Recorder(Callback):
        def on_step_end(self, state: TrainState) -> None:
            assert state.optimizer is not None
            used.append([group["lr"] for group in state.optimizer.param_groups])

    changes = {"foreground.scenario": scenario, "foreground.baseline.objects_warmup_steps": 4}
    logger = MetricsLogger(tmp_path)
    trainer(override(tiny_recipe, changes), tiny_images, tmp_path, logger, Recorder()).run()
    logger.close()
    names = ["background_learning_rate", "learning_rate"] if scenario == "baseline" else ["learning_rate"]
    entries = read_metrics(tmp_path / "metrics.jsonl")
    assert [[entry[name] for name in names] for entry in entries] == used
    assert all(("background_learning_rate" in entry) == (scenario == "baseline") for entry in entries)


def test_takes_back_what_came_after_the_checkpoint(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
    logger = MetricsLogger(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        # The only checkpoint is that of the end of phase 1, after step 3.
        trainer(tiny_recipe, tiny_images, tmp_path, logger).run(crash_after(6))
    logger.close()
    file = tmp_path / "metrics.jsonl"
    assert [entry["step"] for entry in read_metrics(file)] == STEPS[:6]
    with file.open("a") as text:
        text.write('{"step": 7, "pha')
    logger = MetricsLogger(tmp_path)
    Trainer.resume(tiny_images, tmp_path, CPU, [logger], report_every=1).run()
    logger.close()
    assert [entry["step"] for entry in read_metrics(file)] == STEPS
    assert len(file.read_text().splitlines()) == 9
    assert tensorboard_steps(tmp_path, "objects/total") == [4, 5, 6]


def test_a_phase_that_starts_again_is_written_once(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
    recipe = replace(
        tiny_recipe,
        architecture=replace(tiny_recipe.architecture, background_network="simple"),
        background=replace(tiny_recipe.background, complex_steps=2),
        foreground=replace(tiny_recipe.foreground, scenario="background"),
    )
    logger = MetricsLogger(tmp_path)
    check = ComplexityCheck(TrainingImages(tiny_images, CPU), threshold=-1.0)
    trainer(recipe, tiny_images, tmp_path, logger, check).run()
    logger.close()
    assert [entry["step"] for entry in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]
    assert tensorboard_steps(tmp_path, "background/total") == [1, 2]


def entry(step: int, **others: object) -> dict[str, object]:
    return {"step": step, "phase": "joint", "phase_step": step, "seconds": 1.5, "total": float(step), **others}


def test_reading_leaves_out_a_line_that_was_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(json.dumps(entry(1, other="kept")) + "\n" + json.dumps(entry(2)) + '\n{"st')
    assert read_metrics(file) == [entry(1, other="kept"), entry(2)]


@pytest.mark.parametrize(
    "line",
    [b"[]", b"3", b"{}", b"\xff\xfe", b"", b"[" * 200_000]
    + [json.dumps({**entry(2), key: [1]}).encode() for key in entry(2)],
)
def test_reading_leaves_out_damaged_lines(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b"\n".join([json.dumps(entry(1)).encode(), line, json.dumps(entry(3)).encode()]))
    assert [entry["step"] for entry in read_metrics(file)] == [1, 3]


def test_closing_before_anything_began(tmp_path: Path) -> None:
    MetricsLogger(tmp_path).close()
    assert not list(tmp_path.iterdir())


def test_links_are_replaced_and_what_they_lead_to_stays(
    tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path
) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.jsonl").write_text("mine\n")
    (run / "metrics.jsonl").symlink_to(elsewhere / "a.jsonl")
    (run / "tensorboard").symlink_to(elsewhere)
    logger = MetricsLogger(run)
    trainer(tiny_recipe, tiny_images, run, logger).run()
    logger.close()
    assert [(file.name, file.read_text()) for file in elsewhere.iterdir()] == [("a.jsonl", "mine\n")]
    assert [entry["step"] for entry in read_metrics(run / "metrics.jsonl")] == STEPS
    assert tensorboard_steps(run, "background/total") == [1, 2, 3]
