"""``astseg background``: the background alone, and masks of what differs from it."""

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import Stopped, counted, messages, note, output, patient_interrupt
from astseg.cli._inputs import open_images, prepare, report_skipped
from astseg.cli._options import Device, Ignore, Masks, Seed, Source, find_device, parse_size, parse_values
from astseg.cli._progress import progress
from astseg.cli._runs import say_reasons, say_what_is_ignored

if TYPE_CHECKING:
    from astseg.model.ast_seg import AstSeg


def background(
    context: typer.Context,
    source: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")] = Path("background"),
    minutes: Annotated[
        float,
        typer.Option(
            help="How long to train; on a GPU up to twice as long where each image has a background of its own."
        ),
    ] = 10.0,
    size: Annotated[
        str | None,
        typer.Option(help="Height x width to work at, such as 96x128. By default one that suits the images."),
    ] = None,
    by_predicted_error: Annotated[
        bool,
        typer.Option(
            "--by-predicted-error",
            help="AE-NE's rule for masks: seven times the error that the network expects of itself, "
            "which it learns late.",
        ),
    ] = False,
    masks: Masks = None,
    ignore: Ignore = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Learn the background alone and take for foreground what differs from it.

    Chooses between one background and many by itself; a processor gets a small network, on which AE-NE's own is too
    slow to learn. What differs is told by the noise: how far the images lie from their backgrounds where no object
    is. Writes each image's background and foreground mask, and a summary; where the truth is known, the F-measure
    too. Of prepared data these are the held-out images.

    ```
    astseg background film.mp4 --minutes 10 --out film-background
    ```
    """
    from astseg.data.store import Store
    from astseg.inference.background_masks import measure_noise, write_background_masks
    from astseg.training.auto_config import check_background_size
    from astseg.training.run import is_run

    where = find_device(device)
    if not 0 < minutes < math.inf:
        raise AstSegError(f"The time to train should be more than 0 minutes, not {minutes:g}.")
    if (out / "images").exists():
        raise AstSegError(f"{out / 'images'} exists already. Choose another --out, or remove it first.")
    begun = is_run(out / "run")
    if begun:
        say_what_is_ignored(context, ("source", "out", "size", "masks", "ignore", "by_predicted_error", "device"))
    check = partial(check_background_size, device=where)
    sides = None if begun else parse_size(size)
    store = out / "run" / "data"
    data = prepare(source, store, sides, check_size=check, begun=begun, masks=masks, ignore=ignore)
    model = _train_background(out / "run", data, minutes, seed, device, resume=begun).to(where)
    noise = None if by_predicted_error else measure_noise(model, Store(data)["train"].images, where)
    images = open_images(source, masks=masks, ignored=parse_values(ignore))
    with progress("Painting", "images") as show:
        result = write_background_masks(model, images, out / "images", where, show, noise=noise)
    report_skipped(list(result.skipped))
    if result.note:
        note("Note", result.note)
    if result.f_measure is not None:
        output.print(f"F-measure: {result.f_measure:.4f} over {counted(result.scored, 'image')}")
    output.print(f"{counted(result.images, 'image')}: {out / 'images'}", markup=False)


def _train_background(folder: Path, data: Path, minutes: float, seed: int, device: str, resume: bool) -> "AstSeg":
    """Train the background network alone under a progress bar, or go on with it.

    Raises:
        Stopped: the user stopped it.
    """
    from astseg.cli._training_progress import TrainingBars
    from astseg.data.store import Store
    from astseg.training.auto_config import choose_background
    from astseg.training.run import RunSettings, lock_run, read_run_with_data, train_run, trained_model

    where = find_device(device)
    if resume:
        settings = read_run_with_data(folder)
        if settings.data != str(data.resolve()):
            raise AstSegError(f"{folder} holds the training on {settings.data}. Choose another --out, or remove it.")
    else:
        with messages.status("Choosing the number of steps..."):
            choice = choose_background(Store(data), where, minutes)
        say_reasons(choice)
        settings = RunSettings("astseg background", choice.recipe, str(data.resolve()), seed)
    with lock_run(folder), patient_interrupt() as stop, TrainingBars() as bars:
        finished = train_run(folder, settings, where, resume=resume, callbacks=[bars], stop=stop)
    if not finished:
        raise Stopped("Everything learned is saved. The same command goes on.")
    return trained_model(folder)
