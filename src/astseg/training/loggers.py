"""A run's metrics, as JSON lines and in TensorBoard."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import msgspec
from torch.utils.tensorboard import SummaryWriter

from astseg._core.atomic_io import atomic_write, unlink_link
from astseg._core.input_files import parse_json
from astseg.training.callbacks import Callback, StepMetrics
from astseg.training.state import TrainState

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"


class _KnownMetrics(TypedDict):
    """The values of an entry that readers rely on; other values are only passed on."""

    step: int
    phase: str
    phase_step: int
    seconds: float
    total: float
    reconstruction: NotRequired[float]
    features: NotRequired[float]
    active_slots: NotRequired[float]


class MetricsLogger(Callback):
    """Writes all reported metrics to ``metrics.jsonl`` and to TensorBoard, with steps counted through all phases.

    When a run resumes from a checkpoint or restarts a phase, entries of later steps are removed, so that no step is
    logged twice.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS_FILE
        self._tensorboard_folder = folder / TENSORBOARD_FOLDER
        self._tensorboard: SummaryWriter | None = None
        self._latest = 0

    def on_phase_start(self, state: TrainState) -> None:
        """Remove entries of later steps, and links in the places of files, which would lead elsewhere."""
        step = state.steps_done
        if self._tensorboard is None or step < self._latest:
            self.close()
            for place in (self._path, self._tensorboard_folder):
                unlink_link(place)
            self._remove_after(step)
            # TensorBoard purges from the next step on, unless nothing was written yet.
            purge_step = step + 1 if step or self._latest else None
            self._tensorboard = SummaryWriter(self._tensorboard_folder, purge_step=purge_step)
            self._latest = step

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        """Write the metrics of a step."""
        step = self._latest = state.steps_done
        values = {**metrics.learning_rates, **metrics.losses, **metrics.diagnostics}
        line = {
            "step": step,
            "phase": metrics.phase.name,
            "phase_step": metrics.step,
            "seconds": metrics.seconds,
            **values,
        }
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        assert self._tensorboard is not None, "a phase has started"
        for name, value in values.items():
            self._tensorboard.add_scalar(f"{metrics.phase.name}/{name}", value, step)

    def close(self) -> None:
        """Flush and close TensorBoard's file."""
        if self._tensorboard is not None:
            self._tensorboard.close()

    def _remove_after(self, step: int) -> None:
        if self._path.is_file():
            kept = [entry for entry in read_metrics(self._path) if entry["step"] <= step]
            with atomic_write(self._path) as partial:
                partial.write_text("".join(json.dumps(entry) + "\n" for entry in kept))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the entries of ``metrics.jsonl``, oldest first, without lines that were cut short or damaged."""
    entries = []
    with path.open("rb") as file:
        for line in file:
            with suppress(ValueError):
                entry = parse_json(line)
                msgspec.convert(entry, _KnownMetrics)
                entries.append(entry)
    return entries
