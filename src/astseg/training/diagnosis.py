"""Judge how healthy a run is, as `HealthCheck` does while it trains, and write a page that shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from astseg._core.errors import NonFiniteModelError
from astseg._core.sampling import evenly_spaced
from astseg.data.store import Store
from astseg.training.batches import TrainingImages, TrainingSet
from astseg.training.config import Recipe
from astseg.training.health import (
    DIVERGED_ADVICE,
    Aspect,
    Judgment,
    judge_loss,
    judge_measures,
    judge_weights,
    measure_health,
)
from astseg.training.health_check import health_batches, loss_courses, slots_are_settled
from astseg.training.phases import phases
from astseg.training.run_folder import read_progress, read_run_with_data, trained_model, training_points
from astseg.visualization.diagnosis_page import DIFFERENCE, DiagnosisPage, ShownFinding, write_diagnosis
from astseg.visualization.gallery import VisualizationSample, sample

DIAGNOSIS_FILE = "diagnosis.html"
SHOWN_IMAGES = 6
TITLES: Mapping[Aspect, str] = {
    "weights": "Weights",
    "loss": "Loss",
    "background": "Background",
    "empty slots": "Empty slots",
    "shared slots": "Shared slots",
    "reconstruction": "Reconstruction",
}
EVIDENCE: Mapping[Aspect, tuple[str, ...]] = {
    "background": ("Input", "Background", DIFFERENCE),
    "empty slots": ("Input", "Segmentation", "Slot"),
    "shared slots": ("Input", "Segmentation", "Slot"),
    "reconstruction": ("Input", "Reconstruction"),
}
"""The panels that show a problem."""


@dataclass(frozen=True)
class Diagnosis:
    """How healthy a run is."""

    title: str
    judgments: list[Judgment]
    samples: list[VisualizationSample]
    """Some training images and what the model makes of them; none if the model cannot be used."""

    @property
    def problems(self) -> list[Judgment]:
        """What is not healthy."""
        return [judgment for judgment in self.judgments if not judgment.healthy]


def diagnose_run(folder: Path, device: torch.device) -> Diagnosis:
    """Judge a run, which need not be finished.

    Raises:
        AstSegError: the folder holds no run, or the run has no model yet, or its data is gone.
    """
    settings = read_run_with_data(folder)
    store = Store(settings.data)["train"]
    losses = judge_losses(folder)
    try:
        model = trained_model(folder).to(device)
    except NonFiniteModelError as error:
        return Diagnosis(settings.title, [Judgment("weights", False, str(error), DIVERGED_ADVICE), *losses], [])
    images = TrainingSet(TrainingImages(store.images, device))
    measures = measure_health(model, health_batches(images, model.image_size))
    judged = judge_measures(measures, objects=_slots_are_settled(folder, settings.recipe))
    shown = evenly_spaced(len(images), SHOWN_IMAGES)
    truths = None if store.masks is None else store.masks_to_show(shown)
    return Diagnosis(
        settings.title, [judge_weights(model), *losses, *judged], sample(model, np.array(store.images[shown]), truths)
    )


def judge_losses(folder: Path) -> list[Judgment]:
    """Judge the course of each phase's loss in a run's metrics: the first problem, else the last phase; or nothing."""
    judged = [judgment for course in loss_courses(folder).values() if (judgment := judge_loss(course))]
    return [one for one in judged if not one.healthy][:1] or judged[-1:]


def write_diagnosis_page(folder: Path, diagnosis: Diagnosis) -> Path:
    """Write a page with the problems, images that show them and what to try; return its path.

    Raises:
        AstSegError: it cannot be written.
    """
    findings = [
        ShownFinding(
            TITLES[one.aspect],
            one.healthy,
            one.finding,
            one.advice,
            EVIDENCE.get(one.aspect, ()) if diagnosis.samples else (),
            one.aspect == "loss",
        )
        for one in diagnosis.judgments
    ]
    page = DiagnosisPage(f"Diagnosis: {diagnosis.title}", findings, diagnosis.samples, training_points(folder))
    write_diagnosis(folder / DIAGNOSIS_FILE, page)
    return folder / DIAGNOSIS_FILE


def _slots_are_settled(folder: Path, recipe: Recipe) -> bool:
    """Tell whether the slots of a run's model should have found their objects; True if it is unknown."""
    progress = read_progress(folder)
    if progress is None:
        return True
    return any(slots_are_settled(one, progress.step) for one in phases(recipe) if one.name == progress.phase)
