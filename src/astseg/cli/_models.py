"""Models for the commands: loaded, with a word on how far they were trained."""

from pathlib import Path
from typing import TYPE_CHECKING

from astseg._core.errors import AstSegError
from astseg.cli._console import messages, note

if TYPE_CHECKING:
    import torch

    from astseg.model.ast_seg import AstSeg


def open_model(name: str, device: "torch.device") -> "AstSeg":
    """Load a model, and say so if it is that of an unfinished run.

    Raises:
        AstSegError: there is no such model, it cannot be read, or it has not learned to find objects.
    """
    from huggingface_hub import constants

    from astseg.hub.loading import load_model, local_model

    say_how_far(Path(name))
    if local_model(name) is None and not constants.HF_HUB_OFFLINE:
        messages.print(f"There is no folder {name}: asking the model hub for it...", style="dim", markup=False)
    return load_model(name).to(device)


def say_how_far(run: Path) -> None:
    """Say how far a run has come if it was not trained to its end.

    Raises:
        AstSegError: only the background has been trained so far, or was to be.
    """
    from astseg.training.run import has_trained_objects, read_progress, where_stopped

    stopped = where_stopped(run)
    if not has_trained_objects(run):
        progress = read_progress(run)
        for_more = stopped and progress and progress.scenario != "background"
        how = f"has come to {stopped}. Go on with it by 'astseg train --resume'" if for_more else "is for nothing else"
        raise AstSegError(f"{run} knows the background alone and finds no objects: its model {how}.")
    if stopped:
        note("Note", f"{run} is not finished: its model has come to {stopped}.")
