"""A run's folder: its settings and its results.

::

    run.json          the recipe, the data, the seed, and the version of the program
    checkpoint.pt     all that resuming needs; checkpoint.previous.pt is the one before, in case the newest is damaged
                      (which is then kept as checkpoint.damaged.pt)
    backgrounds.npy   the training images' backgrounds, painted once for phase 2; their checksums in backgrounds.crc32
    residuals.npy     their ground residuals, of a model of slow features; residuals.json and .crc32 say of what
    data/             the prepared images, if the run was given others; it may be the largest
    metrics.jsonl     losses and diagnostics; the same in tensorboard/
    images/           the reconstruction of the same few images, at intervals
    model/            the model: config.json, model.safetensors, and progress.json: how far it was trained
    scores.json       the scores on held-out images, if their masks are known; per_image.csv beside it
    page.html         all of it to look at; diagnosis.html shows problems, where they were asked for
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from astseg._core import processes
from astseg._core.atomic_io import atomic_write, lock_folder, remove_leftovers
from astseg._core.checksums import unseal
from astseg._core.devices import find_device
from astseg._core.errors import (
    AstSegError,
    InvalidRecipeError,
    RunNotFoundError,
    UnhealthyTrainingError,
)
from astseg._core.file_names import RUN_FILE
from astseg._core.input_files import parse_json, read_json
from astseg._core.progress import Progress
from astseg._core.provenance import provenance
from astseg._core.settings_io import SEED, check_values, from_builtins, to_builtins
from astseg.data.store import Split, Store
from astseg.evaluation.evaluator import PER_IMAGE_FILE, ScoreSummary, evaluate, write_per_image
from astseg.evaluation.scores_file import SCORES_FILE, ScoreRecord, describe_data, write_scores
from astseg.model.ast_seg import AstSeg
from astseg.training.callbacks import Callback, has_losses
from astseg.training.checkpoints import MODEL_FOLDER, check_new_run, has_checkpoint
from astseg.training.config import Recipe
from astseg.training.execution import PLAIN, Execution
from astseg.training.health import Judgment
from astseg.training.health_check import HealthCheck
from astseg.training.image_grid import IMAGES_FOLDER, ImageGridCallback
from astseg.training.loggers import METRICS_FILE, TENSORBOARD_FOLDER, MetricsLogger, read_metrics
from astseg.training.loop import PROGRESS_FILE, Trainer
from astseg.training.residuals import RESIDUALS_FILE
from astseg.training.state import TrainingProgress, TrainState
from astseg.visualization.gallery import sample
from astseg.visualization.page import Page, write_page
from astseg.visualization.training_curve import CurvePoint

PAGE_FILE = "page.html"
GRID_IMAGES = 8
PAGE_IMAGES = 24


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run.

    Raises:
        ValueError: the seed is out of range.
    """

    title: str
    """A title for people."""
    recipe: Recipe
    data: str
    """The path of the prepared data."""
    seed: int = 0
    preset: str | None = None
    """The name of the preset that the recipe started from, if any."""
    execution: Execution = PLAIN
    """How the steps are computed."""
    model: str | None = None
    """The trained model that the run began with, if any: its folder or name."""
    images_sha256: str = field(default="", compare=False)
    """Of the file of the training images; empty if unknown."""

    def __post_init__(self) -> None:
        check_values(self, seed=SEED)


def is_run(folder: Path) -> bool:
    """Tell whether a folder holds a training run."""
    return (folder / RUN_FILE).is_file()


def read_run(folder: Path) -> RunSettings:
    """Read the settings of a run.

    Raises:
        AstSegError: the folder holds no run of this version.
    """
    try:
        content = read_json(folder / RUN_FILE)
        content.pop("provenance", None)
        if "precision" in content:  # by an older astseg
            content["execution"] = {"precision": content.pop("precision")}
        return from_builtins(RunSettings, content)
    except OSError as error:
        raise RunNotFoundError(f"{folder} holds no training run: it has no {RUN_FILE}.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise AstSegError(f"{folder / RUN_FILE} cannot be understood: {error}") from error


def read_recipe(file: Path) -> Recipe:
    """Read a recipe from a file of its own, from a ``run.json``, or from the folder of a run.

    Raises:
        AstSegError: the file cannot be read, or holds no recipe.
    """
    file = file / RUN_FILE if file.is_dir() else file
    try:
        content = parse_json(file.read_text())  # which may be a pipe: the user named it
        if isinstance(content, dict) and "recipe" in content:
            content = content["recipe"]
        return from_builtins(Recipe, content)
    except OSError as error:
        raise AstSegError(f"Cannot read the recipe {file}: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidRecipeError(f"{file} is not a recipe: {error}.") from error


def write_run(folder: Path, settings: RunSettings, device: torch.device) -> None:
    """Write the settings of a run, and the version of the program."""
    content = {**to_builtins(settings), "provenance": to_builtins(provenance(device))}
    with atomic_write(folder / RUN_FILE) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


def read_run_with_data(folder: Path, *, to_resume: bool = False) -> RunSettings:
    """Read the settings of a run, with the path of its data, which is in the run's folder or where it was.

    Args:
        folder: of the run.
        to_resume: whether other data is left for `Trainer.resume` to refuse, which knows what differs.

    Raises:
        AstSegError: the folder holds no run of this version, or the data is in neither place, or other data is.
    """
    settings = read_run(folder)
    for place in (folder / "data", Path(settings.data)):  # a copied run brings its own
        if Store.is_store(place):
            if not to_resume and settings.images_sha256 not in ("", _images_sha256(Store(place))):
                raise AstSegError(f"The run in {folder} was trained on other images than {place} holds now.")
            return replace(settings, data=str(place.resolve()))
    raise AstSegError(f"The data of this run is no longer in {settings.data}. Put it back there.")


def _images_sha256(store: Store) -> str:
    return store.manifest.splits["train"].arrays["images"].sha256


def lock_run(folder: Path) -> AbstractContextManager[None]:
    """Make a run's folder, if it is missing, and lock it until the block ends.

    Raises:
        AstSegError: it cannot be written, or another process has locked it.
    """
    return lock_folder(folder, folder)


def train_run(
    folder: Path,
    settings: RunSettings,
    device: torch.device,
    *,
    model: AstSeg | None = None,
    resume: bool = False,
    strict: bool = False,
    callbacks: Sequence[Callback] = (),
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train by the settings, from the start or from the checkpoint; return whether the end was reached.

    Use `lock_run` if another process might train the same run. A new run that fails before anything is done leaves its
    folder free for the next one. Of several processes that have joined, the first writes
    and runs the callbacks, which judge whether training goes well; the others run those that have losses.

    Args:
        folder: of the run.
        settings: of the run.
        device: where to train.
        model: the trained model that the settings name, if they do; needed where there is no checkpoint yet.
        resume: go on from the checkpoint, if there is one.
        strict: stop at the first problem.
        callbacks: run beside the training.
        stop: tells after each step whether to stop.

    Raises:
        UnhealthyTrainingError: ``strict`` is set, and a problem was found; everything learned is saved.
        RunExistsError: the folder holds a run already, and ``resume`` is not set.
        AstSegError: the run cannot be resumed.
    """
    store, device = Store(settings.data), find_device(device)
    first = processes.is_first()
    if first and not resume:
        check_new_run(folder)
    for place in (folder, folder / IMAGES_FOLDER) if first else ():
        remove_leftovers(place)
    shown = store[store.default_split]
    logger = MetricsLogger(folder)
    truths = shown.masks_to_show(slice(GRID_IMAGES))
    watchers = (logger, ImageGridCallback(folder, shown.images[:GRID_IMAGES], truths), *callbacks)

    def tell(problem: Judgment) -> None:
        for watcher in watchers:
            watcher.on_problem(problem)

    health = HealthCheck(tell, folder)
    callbacks = (*watchers, health) if first else tuple(filter(has_losses, callbacks))
    images, sha256 = store["train"].images, _images_sha256(store)
    settings = replace(settings, images_sha256=sha256)
    with ExitStack() as stack:
        if processes.from_first(resume and has_checkpoint(folder)):
            trainer = Trainer.resume(images, folder, device, callbacks, images_sha256=sha256)
        else:
            # Of a state, for which the folder is its own: a run that was killed early goes on without a checkpoint.
            state = TrainState.begin(settings.recipe, len(images), device, settings.seed, settings.execution, model)
            trainer = Trainer(state, images, folder, device, callbacks=callbacks, images_sha256=sha256)
            if first and not resume:
                stack.enter_context(_withdrawn_if_nothing_is_done(folder, trainer))
            if first:
                write_run(folder, settings, device)
        stack.callback(logger.close)
        finished = trainer.run(lambda: stop() or (strict and bool(health.problems)))
    if first and trainer.recipe != settings.recipe:  # the backgrounds needed the larger network
        write_run(folder, replace(settings, recipe=trainer.recipe), device)
    if strict and health.problems:
        problem = next(iter(health.problems.values()))
        raise UnhealthyTrainingError(f"Training was stopped at a problem, with everything saved. {problem}")
    return finished


@contextmanager
def _withdrawn_if_nothing_is_done(folder: Path, trainer: Trainer) -> Iterator[None]:
    """Remove a new run's files if the block fails before the first step is done and anything is kept to resume from.

    A run that is killed, or stopped by Ctrl-C, stays: nothing was wrong with it.
    """
    try:
        yield
    except Exception:
        if not (trainer.state.steps_done or has_checkpoint(folder) or (folder / RESIDUALS_FILE).exists()):
            with suppress(OSError):
                (folder / RUN_FILE).unlink()
            shutil.rmtree(folder / TENSORBOARD_FOLDER, ignore_errors=True)
        raise


def scored_split(store: Store) -> Split | None:
    """Return the held-out images, if there are any with masks."""
    return store["test"] if "test" in store and store["test"].masks is not None else None


def check_scored(store: Store) -> None:
    """Refuse data without anything to score, before hours of training.

    Raises:
        AstSegError: it has no held-out images with masks.
    """
    if scored_split(store) is None:
        raise AstSegError(f"{store.path} has no split 'test' with masks, so there would be nothing to score.")


def finish_run(
    folder: Path,
    model: AstSeg,
    settings: RunSettings,
    seconds: dict[str, float],
    device: torch.device,
    progress: Progress | None = None,
) -> ScoreSummary | None:
    """Score the model on held-out images, if they have masks, and write the page.

    Returns:
        The scores; None without masks.
    """
    store = Store(settings.data)
    shown, scored = store[store.default_split], scored_split(store)
    data, origin = describe_data(store), provenance(device)
    summary = by_weights = None
    if scored is not None:
        evaluation = evaluate(model, scored, progress=progress)
        summary = evaluation.summary()
        if model.label_rule is not None:
            by_weights = evaluate(model, scored, progress=progress, use_label_rule=False).summary()
        write_per_image(folder / PER_IMAGE_FILE, evaluation)
    truths = shown.masks_to_show(slice(PAGE_IMAGES))
    shown_settings = {"data": data, "recipe": settings.recipe, "program": origin}
    page = Page(
        title=settings.title,
        summary=summary,
        curve=training_points(folder),
        samples=sample(model, np.array(shown.images[:PAGE_IMAGES]), truths),
        seconds=seconds,
        seeds={"training": settings.seed},
        commit=origin.commit,
        settings={name: to_builtins(part) for name, part in shown_settings.items()},
    )
    write_page(folder / PAGE_FILE, page)
    if summary is not None and scored is not None:  # last, because a run with scores counts as finished
        record = ScoreRecord(summary, str(folder), data, scored.name, origin, True, by_weights, settings.seed, seconds)
        write_scores(folder / SCORES_FILE, record)
    return summary


def training_points(folder: Path) -> list[CurvePoint]:
    """Return the training curve of a run, from its metrics; empty if it has none."""
    return [
        CurvePoint(entry["phase"], entry["phase_step"], entry["total"], entry.get("active_slots"))
        for entry in _read_metrics(folder)
    ]


def phase_seconds(folder: Path) -> dict[str, float]:
    """Return the seconds that each phase of a run took, from its metrics; empty if it has none."""
    return {entry["phase"]: entry["seconds"] for entry in _read_metrics(folder)}  # a phase's last entry wins


def where_stopped(folder: Path) -> str | None:
    """Return in words how far a run's model was trained; None if to the end, or if it is unknown."""
    progress = read_progress(folder)
    if progress is None or progress.finished:
        return None
    return f"step {progress.step} of {progress.steps} of the phase '{progress.phase}'"


def has_trained_objects(folder: Path) -> bool:
    """Tell whether a run's model has learned anything about objects; True if it is unknown."""
    progress = read_progress(folder)
    if progress is None or progress.phase == "joint":
        return True
    return progress.phase == "objects" and progress.step > 0


def read_progress(folder: Path) -> TrainingProgress | None:
    """Return how far a model was trained, by the file beside it; None without a valid one."""
    for place in (folder, folder / MODEL_FOLDER):  # as `load_model` looks for the model
        try:
            return from_builtins(TrainingProgress, unseal(read_json(place / PROGRESS_FILE)))
        except (OSError, ValueError, TypeError, AttributeError):
            continue
    return None


def _read_metrics(folder: Path) -> list[dict[str, Any]]:
    path = folder / METRICS_FILE
    return read_metrics(path) if path.is_file() else []


def trained_model(folder: Path) -> AstSeg:
    """Load the model of a run.

    Raises:
        AstSegError: it has none yet.
    """
    if not (folder / MODEL_FOLDER).is_dir():
        raise AstSegError(f"{folder} has no model yet: let the run reach the end of its first phase.")
    model: AstSeg = AstSeg.from_pretrained(folder / MODEL_FOLDER)
    return model
