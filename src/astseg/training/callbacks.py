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
    """Those of the step, as `Phase.group_rates` has them."""
    losses: dict[str, float]
    """The total and its terms, those of callbacks too."""
    diagnostics: dict[str, float]
    """The fields of `Diagnostics`; empty while the background is trained alone."""
    seconds: float
    """The time spent in the phase so far."""


@dataclass(frozen=True)
class RestartPhase:
    """A request to start the first phase again, with a new model of this recipe.

    A later phase cannot: a new model lacks what the phases before have learned.
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
        """Something is prepared before the first step of a phase, such as the slow features of all images."""

    def on_note(self, text: str) -> None:
        """Something happened that people should know, in a sentence or two."""

    def on_problem(self, judgment: Judgment) -> None:
        """Training does not go well, as was just found for the first time."""

    def more_losses(self, state: TrainState, batch: Batch, losses: Losses) -> Mapping[str, Tensor]:
        """Return further terms of a step's loss by name, which are added to the total as they are, and reported.

        A term is a mean over the images of the batch, already weighted. It should depend on the arguments alone, or a
        resumed run ends elsewhere; ``state.step`` is the number of the phase's steps that are done. With several
        processes, or a batch in parts, it is asked for each part. Terms cannot be compiled.

        Args:
            state: of the run; its model is what learns.
            batch: what the step learns from.
            losses: the phase's own; of their rendering, all is differentiable. Phase 1 has none.
        """
        return {}

    def on_step_end(self, state: TrainState) -> RestartPhase | None:
        """Run after each step, so quickly; return what training should do next, if anything special.

        It may change the weights and the optimizer, if the change depends on the state alone.
        """

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        """Run when a step's metrics are reported."""


def has_losses(callback: Callback) -> bool:
    """Tell whether a callback adds terms to the loss."""
    return _overrides(callback, "more_losses")


def may_change_training(callback: Callback) -> bool:
    """Tell whether a callback may have a hand in training, so that each of several processes has to run it."""
    return _overrides(callback, "on_phase_start", "more_losses", "on_step_end")


def _overrides(callback: Callback, *hooks: str) -> bool:
    return any(getattr(type(callback), hook) is not getattr(Callback, hook) for hook in hooks)
