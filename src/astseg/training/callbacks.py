"""What runs beside training: to report, to draw, or to change its course."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from astseg.training.batches import Batch
from astseg.training.config import Recipe
from astseg.training.health import Judgment
from astseg.training.phases import Losses, Phase
from astseg.training.state import TrainState


@dataclass(frozen=True)
class StepMetrics:
    """The metrics of a step, reported at intervals."""

    phase: Phase
    step: int
    """The number of steps of the phase that are done."""
    learning_rates: dict[str, float]
    """The learning rates of the step, by the names of `Phase.group_rates`."""
    losses: dict[str, float]
    """The total loss and its terms, including those of callbacks."""
    diagnostics: dict[str, float]
    """The fields of `Diagnostics`; empty while the background is trained alone."""
    seconds: float
    """The time spent in the phase so far."""


@dataclass(frozen=True)
class RestartPhase:
    """A request to start the first phase again, with a new model of this recipe.

    Later phases cannot restart: a new model would lack what the phases before them have learned.
    """

    recipe: Recipe


def ends_part(step: int, steps: int, parts: int) -> bool:
    """Tell whether a step, counted from 1, is the last one in one of the equal parts into which all are divided.

    >>> [step for step in range(1, 8) if ends_part(step, 7, 3)]
    [3, 5, 7]
    """
    return step * parts // steps > (step - 1) * parts // steps


class Callback:
    """A base class for what watches or changes training. Each method does nothing unless overridden."""

    def on_phase_start(self, state: TrainState) -> None:
        """Run before a phase starts, or resumes after ``state.step`` steps."""

    def on_preparation(self, what: str, done: int, total: int) -> None:
        """Run while something is prepared before the first step of a phase, such as the slow features of all images.

        Args:
            what: what is prepared, in words.
            done: how many images are done.
            total: how many images there are.
        """

    def on_note(self, text: str) -> None:
        """Run when something has happened that people should know; the text says it in a sentence or two."""

    def on_problem(self, judgment: Judgment) -> None:
        """Run when a problem of the training is found for the first time."""

    def more_losses(self, state: TrainState, batch: Batch, losses: Losses) -> Mapping[str, Tensor]:
        """Return further terms of a step's loss by name, which are added to the total as they are, and reported.

        A term is a mean over the images of the batch, already weighted. It should depend on the arguments alone:
        otherwise a resumed run ends with other weights. With several processes, or a batch in parts, this method is
        called for each part. Terms cannot be compiled.

        Args:
            state: the run's state, with the model that learns; ``state.step`` is the number of the phase's steps that
                are done.
            batch: the images that the step learns from.
            losses: the phase's own losses and their rendering, through which gradients flow. Phase 1 has no rendering.
        """
        return {}

    def on_step_end(self, state: TrainState) -> RestartPhase | None:
        """Run after each step; return a request to restart the phase, or None to go on.

        It should be fast. It may change the weights and the optimizer, if the change depends on the state alone.
        """

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        """Run when a step's metrics are reported."""


def has_losses(callback: Callback) -> bool:
    """Tell whether a callback adds terms to the loss."""
    return _overrides(callback, "more_losses")


def may_change_training(callback: Callback) -> bool:
    """Tell whether a callback may change the course of training, so that each of several processes has to run it."""
    return _overrides(callback, "on_phase_start", "more_losses", "on_step_end")


def _overrides(callback: Callback, *hooks: str) -> bool:
    return any(getattr(type(callback), hook) is not getattr(Callback, hook) for hook in hooks)
