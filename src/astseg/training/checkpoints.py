"""The checkpoints and the model in a run's folder, and how to tell that a folder holds a run.

Beside the newest checkpoint lies the one before it, in case the newest is damaged.
"""

import json
from pathlib import Path

import torch

from astseg._core.atomic_io import atomic_folder, sync
from astseg._core.checksums import seal
from astseg._core.errors import DamagedCheckpointError, RunExistsError
from astseg._core.file_names import RUN_FILE
from astseg._core.settings_io import to_builtins
from astseg.training.state import TrainState

CHECKPOINT_FILE = "checkpoint.pt"
PREVIOUS_CHECKPOINT_FILE = "checkpoint.previous.pt"
DAMAGED_CHECKPOINT_FILE = "checkpoint.damaged.pt"
"""Where a damaged checkpoint is kept, out of the way."""
MODEL_FOLDER = "model"
PROGRESS_FILE = "progress.json"
"""In the model's folder: how far it is trained."""
RUN_NAMES = (RUN_FILE, CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE, MODEL_FOLDER)
"""What tells that a folder holds a run; one that `Trainer` made by itself has no `RUN_FILE`."""


def check_new_run(folder: Path, advice: str = "") -> None:
    """Refuse the folder of a run as the place for a new one, which would replace a part of its files.

    Args:
        folder: the place for the new run, which may be missing.
        advice: how the run that is there can be resumed, in a sentence with a space before it.

    Raises:
        RunExistsError: the folder holds a run.
    """
    there = [name for name in RUN_NAMES if (folder / name).exists()]
    if there:
        raise RunExistsError(
            f"{folder} holds a training run already ({', '.join(there)}). Resume it, or choose another folder.{advice}"
        )


def has_checkpoint(folder: Path) -> bool:
    """Tell whether a run can be resumed from a checkpoint."""
    return any((folder / name).is_file() for name in (CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE))


def write_checkpoint(state: TrainState, folder: Path) -> None:
    """Write a checkpoint, and keep the one before.

    Raises:
        AstSegError: it cannot be written, or the disk is full; the one before stays.
    """
    state.save(folder / CHECKPOINT_FILE, former=folder / PREVIOUS_CHECKPOINT_FILE)


def write_model(state: TrainState, folder: Path) -> None:
    """Write the model, and how far it is trained; the one before stays until both are complete.

    Raises:
        AstSegError: it cannot be written, or the disk is full.
    """
    with atomic_folder(folder / MODEL_FOLDER, replace=True) as partial:
        state.model.save_pretrained(partial)
        (partial / PROGRESS_FILE).write_text(json.dumps(seal(to_builtins(state.progress))) + "\n")


def read_checkpoint(folder: Path, device: torch.device) -> tuple[TrainState, str]:
    """Read the newest checkpoint that is whole.

    Returns:
        The state, and in a sentence that it is an older one, if it is; the damaged one is then moved aside, so that it
        does not take the place of a whole one when the next is written.

    Raises:
        AstSegError: there is no checkpoint, none is whole, or this version cannot read it.
    """
    newest, previous = folder / CHECKPOINT_FILE, folder / PREVIOUS_CHECKPOINT_FILE
    if not previous.is_file():
        return TrainState.load(newest, device), ""
    if not newest.is_file():  # as after a kill between two renames
        return _previous(previous, device, f"{newest} is missing.")
    try:
        return TrainState.load(newest, device), ""
    except DamagedCheckpointError as error:
        found = _previous(previous, device, str(error))
    newest.replace(folder / DAMAGED_CHECKPOINT_FILE)
    sync(folder)
    return found


def _previous(path: Path, device: torch.device, reason: str) -> tuple[TrainState, str]:
    """Read the checkpoint before the newest, and say why."""
    try:
        state = TrainState.load(path, device)
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(f"{reason} {error} Start a new run.") from error
    progress = state.progress
    where = f"step {progress.step} of {progress.steps} of the phase '{progress.phase}'"
    return state, f"{reason} Training goes on from the checkpoint before it, {path.name}: from {where}."
