"""Judging a training while it goes on: each problem is told once, in words with what to try."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from astseg._core.sampling import evenly_spaced
from astseg.training.batches import Batch, TrainingSet
from astseg.training.callbacks import Callback, StepMetrics, ends_part
from astseg.training.health import Aspect, Judgment, judge_loss, judge_measures, measure_health
from astseg.training.loggers import METRICS_FILE, read_metrics
from astseg.training.phases import Phase, PhaseName
from astseg.training.residuals import images_at_once
from astseg.training.state import TrainState

HEALTH_IMAGES = 64
"""Images that are looked at, spread evenly over the training images."""
CHECKS_PER_PHASE = 4


class HealthCheck(Callback):
    """Judges the loss at each report, and a few images four times in each phase.

    Slots are judged in the second half of the objects' steps only: before, it is normal that they share objects or find
    none. No random number is drawn and no weight changes, so that training ends with the same bits as without it.

    Args:
        tell: called with each problem, the first time that it is found.
        folder: the run's folder. When the run is resumed, earlier losses are read from the metrics in it; by default
            only later losses are judged.
    """

    def __init__(self, tell: Callable[[Judgment], None], folder: Path | None = None) -> None:
        self._tell = tell
        self._folder = folder
        self._losses: dict[PhaseName, list[float]] = {}
        self.problems: dict[Aspect, Judgment] = {}
        """What was told so far."""

    def on_phase_start(self, state: TrainState) -> None:
        """Begin a new course of the loss, or continue that of the phase if it resumes."""
        name, step = state.phase.name, state.step
        courses = loss_courses(self._folder, step) if self._folder is not None and step else {}
        self._losses[name] = courses.get(name, [])

    def on_step_end(self, state: TrainState) -> None:
        """Look at images after each quarter of a phase."""
        if ends_part(state.step, state.phase.steps, CHECKS_PER_PHASE):
            assert state.training_set is not None, "a phase has started"
            batches = health_batches(state.training_set, state.model.image_size)
            measures = measure_health(state.model, batches)
            self._judge(judge_measures(measures, objects=slots_are_settled(state.phase, state.step)))

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        """Look at the course of the loss."""
        loss = watched_loss(metrics.losses)
        if loss is not None:
            losses = self._losses[metrics.phase.name]
            losses.append(loss)
            self._judge([judgment] if (judgment := judge_loss(losses)) else [])

    def _judge(self, judgments: list[Judgment]) -> None:
        for judgment in judgments:
            if not judgment.healthy and judgment.aspect not in self.problems:
                self.problems[judgment.aspect] = judgment
                self._tell(judgment)


def slots_are_settled(phase: Phase, step: int) -> bool:
    """Tell whether slots should have found their objects after so many steps of a phase."""
    return phase.trains_objects and 2 * (phase.offset + step) >= phase.settings.steps


def watched_loss(terms: Mapping[str, float]) -> float | None:
    """Return the most important term of a loss with a constant weight; None for the background's loss.

    AE-NE's robust loss may rise while the background gets better, because it hardly counts pixels that do not fit yet.

    >>> watched_loss({"total": 3.0, "reconstruction": 1.0, "entropy": 2.0})
    1.0
    """
    return terms.get("features", terms.get("reconstruction"))


def loss_courses(folder: Path, until: float = math.inf) -> dict[str, list[float]]:
    """Return the watched losses in a run's metrics by phase, up to a step of that phase."""
    path = folder / METRICS_FILE
    courses: dict[str, list[float]] = {}
    for entry in read_metrics(path) if path.is_file() else []:
        loss = watched_loss(entry)
        if loss is not None and entry["phase_step"] <= until:
            courses.setdefault(entry["phase"], []).append(loss)
    return courses


def health_batches(images: TrainingSet, image_size: tuple[int, int]) -> Iterator[Batch]:
    """Yield the images that are judged, in batches that are the smaller the larger images are, to save memory."""
    chosen, together = evenly_spaced(len(images), HEALTH_IMAGES), images_at_once(image_size)
    return (images[indices] for indices in np.split(chosen, range(together, len(chosen), together)))
