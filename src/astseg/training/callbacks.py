"""Who is told how a training goes, and may have it do something."""

from dataclasses import dataclass

from astseg.training.config import Recipe
from astseg.training.phases import Phase
from astseg.training.state import TrainState


@dataclass(frozen=True)
class StepMetrics:
    """What a run says of itself now and then."""

    phase: Phase
    step: int
    """Steps of the phase that are done."""
    learning_rate: float
    losses: dict[str, float]
    health: dict[str, float]
    """Empty while the background is trained alone."""
    seconds: float
    """Time spent in the phase so far."""


@dataclass(frozen=True)
class RestartPhase:
    """An action: begin the phase again, with a new model of this recipe."""

    recipe: Recipe


class Callback:
    """Whoever wants to know how a training goes, or to have a hand in it. Each method does nothing until overridden."""

    def on_phase_start(self, state: TrainState) -> None:
        """A phase begins, or goes on after ``state.step`` steps."""

    def on_preparation(self, what: str, done: int, total: int) -> None:
        """Something is prepared before the first step of a phase, such as the slow features of all images."""

    def on_step_end(self, state: TrainState) -> RestartPhase | None:
        """Return a step is done: called every time, so it must be quick. Returns what is to be done next, if anything.

        It may change the weights and the optimizer, as long as that depends on the state alone.
        """

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        """The losses and the health of a step."""
