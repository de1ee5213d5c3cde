"""Training runs for the commands: begun, gone on with and finished under progress bars."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import Stopped, messages, output, patient_interrupt
from astseg.cli._options import find_device
from astseg.cli._progress import progress

if TYPE_CHECKING:
    from astseg.training.auto_config import RecipeChoice
    from astseg.training.run import RunSettings

OPTIONS = {
    "preset": "--preset",
    "num_slots": "--objects",
    "static": "--static or --moving",
    "textured": "--textured or --plain",
}
"""The options for fields of `RecipeRequest` that the user may have left open."""


def run_to_the_end(
    folder: Path,
    settings: "RunSettings",
    *,
    device: str,
    resume: bool = False,
    seconds: dict[str, float] | None = None,
    to_go_on: str = "The same command with --resume goes on.",
) -> None:
    """Train under progress bars, then score the model and write the page.

    A user who stops it is told how ``to_go_on``.

    Raises:
        Stopped: the user stopped it.
    """
    from astseg.cli._training_progress import TrainingBars
    from astseg.training.run import PAGE_FILE, finish_run, lock_run, phase_seconds, read_run, train_run, trained_model

    where = find_device(device)
    with lock_run(folder):
        with patient_interrupt() as stop, TrainingBars() as bars:
            finished = train_run(folder, settings, where, resume=resume, callbacks=[bars], stop=stop)
        if not finished:
            raise Stopped(f"Everything learned is saved. {to_go_on}")
        settings = replace(settings, recipe=read_run(folder).recipe)  # with the background that the images needed
        times = {**(seconds or {}), **phase_seconds(folder)}
        with progress("Scoring", "images") as show:
            summary = finish_run(folder, trained_model(folder).to(where), settings, times, where, show)
    if summary is not None:
        from astseg.cli._scores import print_scores

        print_scores(summary)
    output.print(f"Model:  {folder / 'model'}\nPage:   {folder / PAGE_FILE}", markup=False)


def go_on(folder: Path, context: typer.Context, device: str) -> None:
    """Go on with a run as it was begun, and say which options of the command therefore mean nothing.

    Raises:
        AstSegError: the folder holds no run, or its data is gone.
        Stopped: the user stopped it.
    """
    from astseg.training.run import read_run_with_data

    settings = read_run_with_data(folder)
    say_what_is_ignored(context, ("out", "device", "resume"))
    run_to_the_end(folder, settings, device=device, resume=True)


def say_reasons(choice: "RecipeChoice") -> None:
    """Say why a recipe is as it is, and by which option it would be otherwise."""
    for reason in choice.reasons:
        otherwise = f" {OPTIONS[reason.request]} says otherwise." if reason.request else ""
        messages.print(f"{reason.text}{otherwise}", style="dim", markup=False)


def say_what_is_ignored(context: typer.Context, heeded: tuple[str, ...]) -> None:
    """Say which options of a command mean nothing to a run that goes on, but for those that are heeded."""
    ignored = [name for name in context.params if _given(context, name) and name not in heeded]
    if ignored:
        names = ", ".join("the source" if name == "source" else f"--{name}" for name in ignored)
        messages.print(f"Going on with the run as it was begun; {names} cannot change it.", style="dim", markup=False)


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_taken(folder: Path, allowed: str = "data") -> None:
    """Refuse a folder that holds a run, or anything else that a beginning run would be mixed up with."""
    from astseg._core.atomic_io import LOCK_FILE, partial_folder
    from astseg.training.run import is_run

    if is_run(folder):
        raise AstSegError(f"{folder} holds a training run already. Go on with it by --resume, or choose another --out.")
    # What a killed process leaves does not matter.
    names = {allowed, partial_folder(folder / "data").name, LOCK_FILE}
    if folder.exists() and not (folder.is_dir() and all(path.name in names for path in folder.iterdir())):
        raise AstSegError(f"{folder} exists and holds other things. Choose another --out for the run.")
