"""A progress bar for each training phase, with losses and diagnostics below."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.progress import TaskID

from astseg.cli._console import messages, print_note
from astseg.cli._problems import print_problem
from astseg.cli._progress import Bars
from astseg.training.callbacks import Callback, StepMetrics
from astseg.training.health import Judgment
from astseg.training.state import TrainState

PHASE_TITLES = {
    "background": "Phase 1: background",
    "objects": "Phase 2: objects",
    "joint": "Phase 3: both",
}

SECONDS_BETWEEN_LINES = 30.0
"""If the messages go to a file, lines take the place of the moving bars."""


class TrainingBars(Callback):
    """Show a bar for each phase."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bars = Bars()
        self._task = TaskID(0)
        self._preparations: dict[str, TaskID] = {}
        self._last_line = 0.0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def on_phase_start(self, state: TrainState) -> None:
        """Add the phase's bar."""
        title, done, self._bars.note = PHASE_TITLES[state.phase.name], state.step, ""
        self._task = self._bars.add_task(title, total=state.phase.steps, completed=done, begun=done, units="steps")

    def on_preparation(self, what: str, done: int, total: int) -> None:
        """Move the bar of a preparation, whose beginning it may be."""
        if what not in self._preparations:
            self._preparations[what] = self._bars.add_task(what, total=total, units="images")
        self._bars.update(self._preparations[what], completed=done)

    def on_note(self, text: str) -> None:
        """Print a note above the bars."""
        print_note("Note", text)

    def on_problem(self, judgment: Judgment) -> None:
        """Print what is wrong and what to try above the bars."""
        print_problem(judgment)

    def on_step_end(self, state: TrainState) -> None:
        """Move the bar."""
        self._bars.update(self._task, completed=state.step)

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        """Show losses and diagnostics below the bar."""
        parts = [f"loss {metrics.losses['total']:.4f}"]
        if metrics.diagnostics:
            parts += [
                f"background {metrics.diagnostics['background_share']:.0%}",
                f"slots {metrics.diagnostics['active_slots']:.1f}",
                f"entropy {metrics.diagnostics['entropy']:.3f}",
                f"activation {metrics.diagnostics['activation']:+.1f}",
            ]
        self._bars.note = "  ".join(parts)
        now = self._clock()
        if not messages.is_terminal and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            steps = f"{metrics.step}/{metrics.phase.steps}"
            messages.print(f"{PHASE_TITLES[metrics.phase.name]} {steps}  {self._bars.note}", markup=False)
