import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from astseg.cli._training_progress import TrainingBars
from astseg.training.callbacks import StepMetrics
from astseg.training.phases import Phase, phases
from astseg.training.shortening import with_steps
from astseg.training.small_recipes import cpu_recipe

DIAGNOSTICS = {"background_share": 0.875, "active_slots": 2.25, "entropy": 0.0625, "activation": -1.5}
PHASES = phases(with_steps(cpu_recipe((32, 32), 2), background=4, foreground=10))  # 4, 6 and 4 steps


def state(phase: Phase, step: int) -> Any:
    return SimpleNamespace(phase=phase, step=step)


def metrics(phase: Phase, step: int) -> StepMetrics:
    diagnostics = DIAGNOSTICS if phase.name == "objects" else {}
    return StepMetrics(phase, step, {"learning_rate": 1e-3}, {"total": 0.25}, diagnostics, seconds=1.0)


def test_a_bar_for_each_phase_with_losses_and_diagnostics_below(screen: Callable[..., io.StringIO]) -> None:
    text = screen(terminal=True)
    with TrainingBars() as bars:
        for phase in PHASES[:2]:
            bars.on_phase_start(state(phase, 2))
            for step in range(3, phase.steps + 1):
                bars.on_step_end(state(phase, step))
                bars.on_metrics(state(phase, step), metrics(phase, step))
    last = text.getvalue().rpartition("\x1b[2K")[2].splitlines()
    assert last[0].startswith("Phase 1: background ━")
    assert " 4/4 " in last[0]
    assert last[1].startswith("Phase 2: objects    ━")
    assert " 6/6 " in last[1]
    assert "steps/s" in last[1]
    assert last[2] == "loss 0.2500  background 88%  slots 2.2  entropy 0.062  activation -1.5"


def test_a_file_gets_a_line_now_and_then(screen: Callable[..., io.StringIO]) -> None:
    text, times = screen(200), iter((1000.0, 1001.0, 1040.0))
    with TrainingBars(clock=lambda: next(times)) as bars:
        phase = PHASES[2]
        bars.on_phase_start(state(phase, 0))
        for step in (1, 2, 3):
            bars.on_metrics(state(phase, step), metrics(phase, step))
        lines = text.getvalue().splitlines()
    assert lines == ["Phase 3: both 1/4  loss 0.2500", "Phase 3: both 3/4  loss 0.2500"]


def test_a_finished_run_leaves_no_line(screen: Callable[..., io.StringIO]) -> None:
    text = screen()
    with TrainingBars():
        pass
    assert text.getvalue() == ""
