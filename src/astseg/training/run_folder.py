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
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from astseg._core.atomic_io import atomic_write, lock_folder, resolve_link
from astseg._core.checksums import unseal
from astseg._core.errors import (
    AstSegError,
    InvalidRecipeError,
    RunNotFoundError,
    describe_mistake,
)
from astseg._core.file_names import RUN_FILE
from astseg._core.input_files import parse_json, read_json
from astseg._core.provenance import provenance
from astseg._core.settings_io import SEED, check_values, from_builtins, to_builtins
from astseg.data.store import Store
from astseg.model.ast_seg import AstSeg
from astseg.training.checkpoints import MODEL_FOLDER, PROGRESS_FILE
from astseg.training.config import Recipe
from astseg.training.execution import PLAIN, Execution
from astseg.training.loggers import METRICS_FILE, read_metrics
from astseg.training.state import TrainingProgress
from astseg.visualization.training_curve import CurvePoint

PAGE_FILE = "page.html"


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
        raise AstSegError(f"{folder / RUN_FILE} cannot be understood: {describe_mistake(error)}.") from error


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
            if not to_resume and settings.images_sha256 not in ("", training_images_sha256(Store(place))):
                raise AstSegError(f"The run in {folder} was trained on other images than {place} holds now.")
            return replace(settings, data=str(place.resolve()))
    raise AstSegError(f"The data of this run is no longer in {settings.data}. Put it back there.")


def training_images_sha256(store: Store) -> str:
    """Return the SHA-256 of the file of a store's training images."""
    return store.manifest.splits["train"].arrays["images"].sha256


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


def lock_run(folder: Path) -> AbstractContextManager[None]:
    """Make a run's folder, if it is missing, and lock it until the block ends.

    Raises:
        AstSegError: it cannot be written, or another process has locked it.
    """
    return lock_folder(resolve_link(folder), folder)


def trained_model(folder: Path) -> AstSeg:
    """Load the model of a run.

    Raises:
        AstSegError: it has none yet.
    """
    if not (folder / MODEL_FOLDER).is_dir():
        raise AstSegError(f"{folder} has no model yet: let the run reach the end of its first phase.")
    model: AstSeg = AstSeg.from_pretrained(folder / MODEL_FOLDER)
    return model


def read_progress(folder: Path) -> TrainingProgress | None:
    """Return how far a model was trained, by the file beside it; None without a valid one."""
    for place in (folder, folder / MODEL_FOLDER):  # as `load_model` looks for the model
        try:
            return from_builtins(TrainingProgress, unseal(read_json(place / PROGRESS_FILE)))
        except (OSError, ValueError, TypeError, AttributeError):
            continue
    return None


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


def training_points(folder: Path) -> list[CurvePoint]:
    """Return the training curve of a run, from its metrics; empty if it has none."""
    return [
        CurvePoint(entry["phase"], entry["phase_step"], entry["total"], entry.get("active_slots"))
        for entry in _read_metrics(folder)
    ]


def phase_seconds(folder: Path) -> dict[str, float]:
    """Return the seconds that each phase of a run took, from its metrics; empty if it has none."""
    return {entry["phase"]: entry["seconds"] for entry in _read_metrics(folder)}  # a phase's last entry wins


def _read_metrics(folder: Path) -> list[dict[str, Any]]:
    path = folder / METRICS_FILE
    return read_metrics(path) if path.is_file() else []
