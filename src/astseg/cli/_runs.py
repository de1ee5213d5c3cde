"""Start, resume and finish training runs under progress bars."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from astseg._core.allocation import keep_freed_memory
from astseg._core.errors import AstSegError, RunNotFoundError
from astseg.cli._console import Stopped, deferred_interrupt, messages, output
from astseg.cli._models import open_model
from astseg.cli._options import find_device
from astseg.cli._progress import progress

if TYPE_CHECKING:
    import torch

    from astseg.training.recipe_reasons import RecipeChoice
    from astseg.training.run_folder import RunSettings

OPTION_BY_FIELD = {
    "preset": "--preset",
    "num_slots": "--objects",
    "static": "--static or --moving",
    "textured": "--textured or --plain",
    "precision": "--precision",
    "steps": "--steps, which shortens them, in place of --set",
}
"""The options that set the fields of `RecipeRequest`."""
SAME_COMMAND = "The same command continues."
USED_ON_RESUME = ("out", "device", "resume", "strict", "quiet")
"""The options that a resumed training heeds."""


def train_with_bars(
    folder: Path,
    settings: "RunSettings",
    device: "torch.device",
    *,
    resume: bool,
    how_to_resume: str,
    strict: bool = False,
) -> None:
    """Train under progress bars, until the end or Ctrl-C, or a problem if ``strict`` is set.

    Raises:
        UnhealthyTrainingError: ``strict`` is set, and a problem was found.
        Stopped: the user stopped it; the message says ``how_to_resume``.
    """
    from astseg._core.processes import is_first
    from astseg.cli._training_progress import TrainingBars
    from astseg.training.checkpoints import has_checkpoint
    from astseg.training.run import train_run

    model = open_model(settings.model, device) if settings.model and not (resume and has_checkpoint(folder)) else None
    keep_freed_memory()
    with deferred_interrupt() as stop, TrainingBars() as bars:
        finished = train_run(
            folder,
            settings,
            device,
            model=model,
            resume=resume,
            strict=strict,
            callbacks=[bars] if is_first() else [],
            stop=stop,
        )
    if not finished:
        raise Stopped(f"Everything learned is saved. {how_to_resume}")


def train_and_score(
    folder: Path,
    settings: "RunSettings",
    *,
    device: str,
    resume: bool = False,
    strict: bool = False,
    seconds: dict[str, float] | None = None,
    how_to_resume: str = "The same command with --resume continues.",
) -> None:
    """Train under progress bars, then score the model and write the page; of several processes, the first one does.

    Raises:
        UnhealthyTrainingError: ``strict`` is set, and a problem was found.
        Stopped: the user stopped it; the message says ``how_to_resume``.
    """
    from astseg._core.processes import is_first
    from astseg.training.run import finish_run
    from astseg.training.run_folder import PAGE_FILE, lock_run, phase_seconds, read_run, trained_model

    where = find_device(device)
    with lock_run(folder) if is_first() else nullcontext():
        train_with_bars(folder, settings, where, resume=resume, how_to_resume=how_to_resume, strict=strict)
        if not is_first():
            return
        settings = replace(settings, recipe=read_run(folder).recipe)  # training may have chosen another background
        times = {**(seconds or {}), **phase_seconds(folder)}
        with progress("Scoring", "images") as show:
            summary = finish_run(folder, trained_model(folder).to(where), settings, times, where, show)
    if summary is not None:
        from astseg.cli._scores import print_scores

        print_scores(summary)
    output.print(f"Model:  {folder / 'model'}", f"Page:   {folder / PAGE_FILE}", sep="\n", markup=False)


def resume_run(folder: Path, context: typer.Context, device: str, *, strict: bool = False) -> None:
    """Resume a run with its own settings, and say which options of the command are therefore ignored.

    Raises:
        AstSegError: the folder holds no run, or its data is gone.
        Stopped: the user stopped it.
    """
    from astseg.training.run_folder import read_progress, read_run_with_data

    try:
        settings = read_run_with_data(folder, to_resume=True)
    except RunNotFoundError as error:
        raise AstSegError(
            f"{error} A training that was stopped before it had a recipe starts again by its own command, without "
            "--resume."
        ) from error
    print_ignored_options(context, USED_ON_RESUME)
    progress = read_progress(folder)
    if progress is not None and progress.finished:
        messages.print("It is trained to its end, and only scored again. For more steps, train a new run.", style="dim")
    train_and_score(folder, settings, device=device, resume=True, strict=strict)


def print_reasons(choice: "RecipeChoice") -> None:
    """Print why a recipe is as it is, and which options would change it."""
    for reason in choice.reasons:
        option = f" To change it: {OPTION_BY_FIELD[reason.request]}." if reason.request else ""
        messages.print(f"{reason.text}{option}", style="dim", markup=False)


def print_ignored_options(context: typer.Context, used: tuple[str, ...]) -> None:
    """Print which of the given options are ignored because a run is resumed: all except those that are used."""
    sources = ((one, context.get_parameter_source(one.name or "")) for one in context.command.params)
    given = [one for one, source in sources if source is not None and source.name == "COMMANDLINE"]
    ignored = [one for one in given if one.name not in used]
    if ignored:
        names = ", ".join("the source" if one.param_type_name == "argument" else one.opts[0] for one in ignored)
        messages.print(f"The run is resumed with its own settings; ignored: {names}.", style="dim", markup=False)


def check_out_folder(folder: Path, allowed: str = "data") -> None:
    """Refuse a folder for a new run that holds a run or any other files, except what an interrupted start leaves.

    Raises:
        AstSegError: it does.
    """
    from astseg._core.atomic_io import LEFTOVERS, LOCK_FILE
    from astseg.training.checkpoints import check_new_run
    from astseg.training.run_folder import is_run

    if is_run(folder):  # what else looks like one, but lacks the settings, can't be resumed by a command
        check_new_run(folder)
    own = (allowed, LOCK_FILE, LEFTOVERS)
    if folder.exists() and not (
        folder.is_dir() and all(any(path.match(name) for name in own) for path in folder.iterdir())
    ):
        raise AstSegError(f"{folder} exists and holds other files. Choose another --out for the run.")
