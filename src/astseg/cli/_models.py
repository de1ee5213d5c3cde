"""Load models, and say if they were not trained to the end."""

from pathlib import Path
from typing import TYPE_CHECKING

from astseg._core.errors import AstSegError
from astseg.cli._console import messages, print_note

if TYPE_CHECKING:
    import torch

    from astseg.model.ast_seg import AstSeg


def open_model(name: str, device: "torch.device") -> "AstSeg":
    """Load a model, and say so if its run is not finished.

    Raises:
        AstSegError: there is no such model, it cannot be read, or only its background is trained.
    """
    from astseg.hub.loading import load_model

    check_trained(Path(name))
    return load_model(name, lambda text: messages.print(text, style="dim", markup=False)).to(device)


def check_model_name(name: str) -> None:
    """Refuse a name that no model can have, before anything slow is imported; `open_model` finds all other mistakes.

    Raises:
        ModelNotFoundError: there is no such folder or model, nor can the hub have one of this name.
    """
    from astseg.hub.names import local_model

    if not Path(name).exists():
        local_model(name)


def lasting_name(name: str) -> str:
    """Return a name that stands for the same model in whatever folder a command is run later.

    Raises:
        AstSegError: there is no such folder or model, nor can the hub have one of this name.
    """
    from astseg.hub.names import SHIPPED_MODELS, local_model

    folder = local_model(name)
    return name if folder is None or folder.parent == SHIPPED_MODELS else str(Path(name).resolve())


def check_trained(run: Path) -> None:
    """Say how far a run was trained if it is not finished.

    Raises:
        AstSegError: only its background is trained.
    """
    from astseg.training.run import has_trained_objects, read_progress, where_stopped

    stopped = where_stopped(run)
    if not has_trained_objects(run):
        progress = read_progress(run)
        resumable = stopped and progress and progress.scenario != "background"
        remedy = f" It stopped at {stopped}. Resume it by 'astseg train --resume'." if resumable else ""
        raise AstSegError(f"{run} has trained only the background, so its model finds no objects.{remedy}")
    _print_where_stopped(run, stopped)


def say_progress(run: Path) -> None:
    """Say how far a run was trained if it is not finished."""
    from astseg.training.run import where_stopped

    _print_where_stopped(run, where_stopped(run))


def _print_where_stopped(run: Path, stopped: str | None) -> None:
    if stopped:
        print_note("Note", f"{run} is not finished: its model stopped at {stopped}.")
