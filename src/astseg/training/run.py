"""A run from its settings to its scores: it is trained, scored on held-out images, and shown on a page."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from astseg._core import processes
from astseg._core.atomic_io import remove_leftovers, unlink_link
from astseg._core.devices import find_device
from astseg._core.errors import AstSegError, UnhealthyTrainingError
from astseg._core.file_names import RUN_FILE
from astseg._core.progress import Progress
from astseg._core.provenance import provenance
from astseg._core.settings_io import to_builtins
from astseg.data.store import Bytes, Split, Store
from astseg.evaluation.evaluator import PER_IMAGE_FILE, ScoreSummary, evaluate, write_per_image
from astseg.evaluation.scores_file import SCORES_FILE, ScoreRecord, describe_data, write_scores
from astseg.model.ast_seg import AstSeg
from astseg.training.callbacks import Callback, may_change_training
from astseg.training.checkpoints import check_new_run, has_checkpoint
from astseg.training.health import Judgment
from astseg.training.health_check import HealthCheck
from astseg.training.image_grid import IMAGES_FOLDER, ImageGridCallback
from astseg.training.loggers import TENSORBOARD_FOLDER, MetricsLogger
from astseg.training.loop import Trainer
from astseg.training.recipe_reasons import memory_reason
from astseg.training.residuals import RESIDUALS_FILE
from astseg.training.run_folder import PAGE_FILE, RunSettings, training_images_sha256, training_points, write_run
from astseg.training.state import TrainState
from astseg.visualization.gallery import sample
from astseg.visualization.page import Page, write_page

GRID_IMAGES = 8
PAGE_IMAGES = 24


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

    Use `lock_run` if another process might train the same run. A new run that fails before its first step is done
    leaves the folder free for the next one. If several processes have joined, the first writes files and judges the
    training's health. Callbacks that may change training (`may_change_training`) run in all processes, others in the
    first.

    Args:
        folder: the run's folder.
        settings: the run's settings.
        device: where to train.
        model: the trained model that the settings name, if any; it is used only if there is no checkpoint yet.
        resume: whether to continue from the checkpoint, if there is one.
        strict: whether to stop at the first problem.
        callbacks: what runs beside the training.
        stop: called after each step; training stops when it returns True.

    Raises:
        UnhealthyTrainingError: ``strict`` is set, and a problem was found; everything learned is saved.
        RunExistsError: the folder holds a run already, and ``resume`` is not set.
        AstSegError: the run cannot be resumed, or takes more memory than the machine has.
    """
    store, device = Store(settings.data), find_device(device)
    first = processes.is_first()
    if first:
        _clear_folder(folder, resume)
    logger = MetricsLogger(folder)
    watchers = (logger, _image_grids(folder, store), *callbacks)

    def tell(problem: Judgment) -> None:
        for watcher in watchers:
            watcher.on_problem(problem)

    health = HealthCheck(tell, folder)
    callbacks = (*watchers, health) if first else tuple(filter(may_change_training, callbacks))
    settings = replace(settings, images_sha256=training_images_sha256(store))
    from_checkpoint = processes.from_first(resume and has_checkpoint(folder))
    trainer = _trainer(folder, settings, store["train"].images, device, callbacks, from_checkpoint, model)
    withdrawn = _withdrawn_if_nothing_is_done(folder, trainer) if first and not resume else nullcontext()
    with withdrawn, closing(logger):
        if first and not from_checkpoint:
            write_run(folder, settings, device)
        finished = trainer.run(lambda: stop() or (strict and bool(health.problems)))
    if first and trainer.recipe != settings.recipe:  # the backgrounds needed the larger network
        write_run(folder, replace(settings, recipe=trainer.recipe), device)
    if strict and health.problems:
        problem = next(iter(health.problems.values()))
        raise UnhealthyTrainingError(f"Training was stopped at a problem, with everything saved. {problem}")
    return finished


def _clear_folder(folder: Path, resume: bool) -> None:
    """Refuse the folder of another run; remove what a killed one left, and a link in the place of the images' folder.

    Raises:
        RunExistsError: the folder holds a run already, and ``resume`` is not set.
    """
    if not resume:
        check_new_run(folder)
    unlink_link(folder / IMAGES_FOLDER)
    for place in (folder, folder / IMAGES_FOLDER):
        remove_leftovers(place)


def _image_grids(folder: Path, store: Store) -> ImageGridCallback:
    """Return the callback that draws the first of the images that are shown."""
    shown = store[store.default_split]
    return ImageGridCallback(folder, shown.images[:GRID_IMAGES], shown.masks_to_show(slice(GRID_IMAGES)))


def _trainer(
    folder: Path,
    settings: RunSettings,
    images: Bytes,
    device: torch.device,
    callbacks: Sequence[Callback],
    from_checkpoint: bool,
    model: AstSeg | None,
) -> Trainer:
    """Return the trainer of a run, at its checkpoint or at its start.

    Raises:
        AstSegError: the run cannot be resumed, or takes more memory than the machine has.
    """
    if from_checkpoint:
        trainer = Trainer.resume(images, folder, device, callbacks, images_sha256=settings.images_sha256)
        memory_reason(trainer.recipe, device, len(images), trainer.state.execution.parts)
        return trainer
    # A state makes the folder its own, whatever it holds: a run that was killed early goes on without a checkpoint.
    state = TrainState.begin(settings.recipe, len(images), device, settings.seed, settings.execution, model)
    return Trainer(state, images, folder, device, callbacks=callbacks, images_sha256=settings.images_sha256)


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
