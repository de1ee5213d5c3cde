"""A run's folder: what was asked for, and what it leaves behind.

::

    run.json          the recipe, the data, the seed, and where the program came from
    checkpoint.pt     all that resuming needs
    backgrounds.npy   the training images' backgrounds, painted once for phase 2
    metrics.jsonl     losses and health; the same in tensorboard/
    images/         how the same few images came along
    model/            the model: config.json, model.safetensors, and progress.json: how far it was trained
    scores.json       the scores on held-out images, where the truth is known; per_image.csv beside it
    page.html         all of it to look at
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from astseg._core.atomic_io import atomic_write, lock_folder, remove_leftovers
from astseg._core.errors import AstSegError, RunExistsError
from astseg._core.file_names import RUN_FILE
from astseg._core.progress import Progress
from astseg._core.provenance import provenance
from astseg._core.settings_io import from_builtins, to_builtins
from astseg.data.store import Split, Store
from astseg.evaluation.evaluator import PER_IMAGE_FILE, ScoreSummary, evaluate, write_per_image
from astseg.evaluation.scores_file import SCORES_FILE, ScoreRecord, describe_data, write_scores
from astseg.model.ast_seg import AstSeg
from astseg.training.callbacks import Callback
from astseg.training.config import Recipe
from astseg.training.image_grid import ImageGridCallback
from astseg.training.loggers import METRICS_FILE, MetricsLogger, read_metrics
from astseg.training.loop import CHECKPOINT_FILE, MODEL_FOLDER, PROGRESS_FILE, Trainer
from astseg.training.state import TrainingProgress
from astseg.visualization.gallery import sample
from astseg.visualization.page import Page, write_page
from astseg.visualization.training_curve import CurvePoint

PAGE_FILE = "page.html"
GRID_IMAGES = 8
PAGE_IMAGES = 24


@dataclass(frozen=True)
class RunSettings:
    """What a run was asked to do."""

    title: str
    """What is trained on what, in words."""
    recipe: Recipe
    data: str
    """The path of the prepared data."""
    seed: int = 0
    preset: str | None = None
    """The named recipe that it began with, if any."""


def is_run(folder: Path) -> bool:
    """Tell whether a folder holds a training run."""
    return (folder / RUN_FILE).is_file()


def read_run(folder: Path) -> RunSettings:
    """Read what a run was asked to do.

    Raises:
        AstSegError: the folder holds no run of this version.
    """
    try:
        content = json.loads((folder / RUN_FILE).read_text())
        content.pop("provenance", None)
        return from_builtins(RunSettings, content)
    except OSError as error:
        raise AstSegError(f"{folder} holds no training run: it has no {RUN_FILE}.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise AstSegError(f"{folder / RUN_FILE} cannot be understood: {error}") from error


def read_recipe(file: Path) -> Recipe:
    """Read a recipe from a file of its own, or from a run's.

    Raises:
        AstSegError: it cannot be read, or is no recipe.
    """
    try:
        content = json.loads(file.read_text())
        if isinstance(content, dict) and "recipe" in content:
            content = content["recipe"]
        return from_builtins(Recipe, content)
    except OSError as error:
        raise AstSegError(f"Cannot read the recipe {file}: {error.strerror}.") from error
    except ValueError as error:
        raise AstSegError(f"{file} is no recipe: {error}. 'astseg presets NAME' prints one.") from error


def write_run(folder: Path, settings: RunSettings, device: torch.device) -> None:
    """Write what a run is asked to do, and where the program comes from."""
    content = {**to_builtins(settings), "provenance": to_builtins(provenance(device))}
    with atomic_write(folder / RUN_FILE) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


def read_run_with_data(folder: Path) -> RunSettings:
    """Read what a run was asked to do, and find its data: where the run says, or in its own folder if both have moved.

    Raises:
        AstSegError: the folder holds no run of this version, or the data is in neither place.
    """
    settings = read_run(folder)
    for place in (Path(settings.data), folder / "data"):
        if Store.is_store(place):
            return replace(settings, data=str(place.resolve()))
    raise AstSegError(f"The data of this run is no longer in {settings.data}. Put it back there.")


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Make a run's folder, if it is not there, and keep it to this process until the block ends.

    Raises:
        AstSegError: it cannot be written, or another process keeps it.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock_folder(folder, folder))
        except OSError as error:
            raise AstSegError(f"Cannot write {folder}: {error.strerror}.") from error
        yield


def train_run(
    folder: Path,
    settings: RunSettings,
    device: torch.device,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train as the settings say, from the beginning or from the checkpoint; returns whether the end was reached.

    Where another process might train the same run, `lock_run` keeps the folder.

    Raises:
        RunExistsError: the folder holds a run already.
        AstSegError: it holds none to resume.
    """
    store = Store(settings.data)
    if is_run(folder) and not resume:
        raise RunExistsError(f"{folder} holds a training run already. Go on with it, or choose another folder.")
    remove_leftovers(folder)
    shown = shown_split(store)
    journal = MetricsLogger(folder)
    truths = shown.masks_to_show(slice(GRID_IMAGES))
    watching = (journal, ImageGridCallback(folder, shown.images[:GRID_IMAGES], truths), *callbacks)
    images = store["train"].images
    try:
        if resume and (folder / CHECKPOINT_FILE).is_file():
            trainer = Trainer.resume(images, folder, device, watching)
        else:
            write_run(folder, settings, device)
            trainer = Trainer(settings.recipe, images, folder, device, settings.seed, watching)
        finished = trainer.run(stop)
    finally:
        journal.close()
    if trainer.recipe != settings.recipe:  # the backgrounds turned out to need the larger network
        write_run(folder, replace(settings, recipe=trainer.recipe), device)
    return finished


def shown_split(store: Store) -> Split:
    """Return the images to look at: held-out ones if there are any."""
    return store["test" if "test" in store else "train"]


def scored_split(store: Store) -> Split | None:
    """Return the held-out images whose truth is known, if there are any."""
    return store["test"] if "test" in store and store["test"].masks is not None else None


def check_scored(store: Store) -> None:
    """Refuse data on which nothing could be scored, before hours of training.

    Raises:
        AstSegError: it has no held-out images whose truth is known.
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
    """Score the model on the held-out images where their truth is known, and write the page of images.

    Returns:
        The scores; None where there is no truth to compare with.
    """
    store = Store(settings.data)
    shown, scored = shown_split(store), scored_split(store)
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
    if summary is not None and scored is not None:  # last: a run that has scores is finished
        record = ScoreRecord(summary, str(folder), data, scored.name, origin, True, by_weights, settings.seed, seconds)
        write_scores(folder / SCORES_FILE, record)
    return summary


def training_points(folder: Path) -> list[CurvePoint]:
    """Return the training curve of a run, from its journal; empty if it kept none."""
    return [
        CurvePoint(entry["phase"], entry["phase_step"], entry["total"], entry.get("active_slots"))
        for entry in _journal(folder)
    ]


def phase_seconds(folder: Path) -> dict[str, float]:
    """Return the time that each phase of a run took, from its journal; empty if it kept none."""
    return {entry["phase"]: entry["seconds"] for entry in _journal(folder)}  # the last entry of a phase stays


def where_stopped(folder: Path) -> str | None:
    """Return how far a run's model has come, in words, if it was not trained to its end.

    None if it was, or nobody knows.
    """
    progress = read_progress(folder)
    if progress is None or progress.finished:
        return None
    return f"step {progress.step} of {progress.steps} of the phase '{progress.phase}'"


def has_trained_objects(folder: Path) -> bool:
    """Tell whether a run's model has learned anything of objects; True if nobody knows."""
    progress = read_progress(folder)
    if progress is None or progress.phase == "joint":
        return True
    return progress.phase == "objects" and progress.step > 0


def read_progress(folder: Path) -> TrainingProgress | None:
    """Return what is said beside a model of how far it was trained.

    None where nothing is, or nothing that makes sense.
    """
    for place in (folder, folder / MODEL_FOLDER):  # as `load_model` looks for the model
        try:
            return from_builtins(TrainingProgress, json.loads((place / PROGRESS_FILE).read_text()))
        except (OSError, ValueError, TypeError, AttributeError):
            continue
    return None


def _journal(folder: Path) -> list[dict[str, Any]]:
    path = folder / METRICS_FILE
    return read_metrics(path) if path.is_file() else []


def trained_model(folder: Path) -> AstSeg:
    """Return the model that a run left.

    Raises:
        AstSegError: it left none yet.
    """
    if not (folder / MODEL_FOLDER).is_dir():
        raise AstSegError(f"{folder} has no model yet: let the run reach the end of its first phase.")
    model: AstSeg = AstSeg.from_pretrained(folder / MODEL_FOLDER)
    return model
