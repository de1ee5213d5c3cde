import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from astseg.cli import _progress as bars
from astseg.cli import _training_progress as watching
from astseg.cli._training_progress import TrainingBars
from astseg.training.callbacks import StepMetrics
from astseg.training.phases import Phase, phases
from astseg.training.presets import cpu_recipe
from astseg.training.time_budget import with_steps

HEALTH = {"background_share": 0.875, "active_slots": 2.25, "entropy": 0.0625, "activation": -1.5}
PHASES = phases(with_steps(cpu_recipe((32, 32), 2), background=4, foreground=10))  # 4, 6 and 4 steps


def state(phase: Phase, step: int) -> Any:
    return SimpleNamespace(phase=phase, step=step)


def report(phase: Phase, step: int, health: dict[str, float]) -> StepMetrics:
    return StepMetrics(phase, step, 1e-3, {"total": 0.25}, health, seconds=1.0)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., io.StringIO]:
    def make(width: int, terminal: bool) -> io.StringIO:
        text = io.StringIO()
        console = Console(file=text, width=width, force_terminal=terminal, color_system=None)
        for module in (bars, watching):
            monkeypatch.setattr(module, "messages", console)
        return text

    return make


def watch_two_phases() -> None:
    with TrainingBars() as shown:
        for phase in PHASES[:2]:
            shown.on_phase_start(state(phase, 2))
            for step in range(3, phase.steps + 1):
                shown.on_step_end(state(phase, step))
                shown.on_metrics(state(phase, step), report(phase, step, HEALTH if phase.name == "objects" else {}))


def test_a_bar_for_each_phase_with_losses_and_health_below(screen) -> None:
    text = screen(80, terminal=True)
    watch_two_phases()
    last = text.getvalue().rpartition("\x1b[2K")[2].splitlines()
    assert last[0].startswith("Phase 1: background ━")
    assert " 4/4 " in last[0]
    assert last[1].startswith("Phase 2: objects    ━")
    assert " 6/6 " in last[1]
    assert "steps/s" in last[1]
    assert last[2] == "loss 0.2500  background 88%  slots 2.2  entropy 0.062  activation -1.5"


def test_a_file_gets_a_line_now_and_then(screen, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(watching.time, "monotonic", lambda: now)
    text = screen(200, terminal=False)
    with TrainingBars() as shown:
        phase = PHASES[2]
        shown.on_phase_start(state(phase, 0))
        for step, seconds in ((1, 0.0), (2, 1.0), (3, 40.0)):
            now = 1000.0 + seconds
            shown.on_metrics(state(phase, step), report(phase, step, {}))
        lines = text.getvalue().splitlines()
    assert lines == ["Phase 3: both 1/4  loss 0.2500", "Phase 3: both 3/4  loss 0.2500"]


def test_a_run_that_was_finished_before_leaves_no_line(screen) -> None:
    text = screen(80, terminal=False)
    with TrainingBars():
        pass
    assert text.getvalue() == ""
