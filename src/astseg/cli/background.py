"""``astseg background``: learn the background alone, and mask what differs from it."""

import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import format_count, messages, print_note, print_result
from astseg.cli._inputs import Reading, open_images, prepare, report_skipped
from astseg.cli._options import (
    AsJson,
    Device,
    Every,
    Ignore,
    Masks,
    MaxFrames,
    Out,
    Quiet,
    Seed,
    Source,
    find_device,
    parse_size,
)
from astseg.cli._progress import progress
from astseg.cli._resuming import going_on, make_plan, resolved
from astseg.cli._runs import SAME_COMMAND, print_ignored_options, print_reasons, train_with_bars

if TYPE_CHECKING:
    import torch

    from astseg.inference.background_masks import BackgroundMasks
    from astseg.model.ast_seg import AstSeg

OF_MASKS = ("source", "every", "max_frames", "masks", "ignore", "by_predicted_error")
"""The options that say which images are masked, and how."""
USED_ON_RESUME = (*OF_MASKS, "out", "device", "quiet", "as_json")
"""The options that count although the training is resumed."""


def background(
    context: typer.Context,
    source: Source,
    out: Out = Path("background"),
    minutes: Annotated[
        float,
        typer.Option(help="How long to train; on a GPU up to twice as long if each image has its own background."),
    ] = 10.0,
    size: Annotated[
        str | None,
        typer.Option(help="Height x width of the model's images, such as 96x128. By default one that suits them."),
    ] = None,
    by_predicted_error: Annotated[
        bool,
        typer.Option(
            "--by-predicted-error",
            help="Mask by AE-NE's rule: seven times the network's estimate of its own error, which it learns late.",
        ),
    ] = False,
    every: Every = 1,
    max_frames: MaxFrames = None,
    masks: Masks = None,
    ignore: Ignore = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Learn the background alone, and mask what differs from it as foreground.

    Finds out by itself whether there is one background or many. A CPU gets a small network, because AE-NE's is too
    slow on it. A pixel is foreground if it differs from its background by more than the noise, measured where there
    are no objects. Writes each image's background and foreground mask, a summary, and the F-measure if the masks are
    known; of prepared data, for the test split.

    After Ctrl-C, a kill or a power cut, the same command goes on where it was stopped.

    ```
    astseg background film.mp4 --minutes 10 --out film-background
    ```
    """
    from astseg.data.folders import refuse_own_work
    from astseg.inference.background_masks import write_background_masks
    from astseg.inference.resuming import check_place
    from astseg.training.background_choice import check_background_size
    from astseg.training.run_folder import is_run

    where = find_device(device)
    if not 0 < minutes < math.inf:
        raise AstSegError(f"The time to train should be more than 0 minutes, not {minutes:g}.")
    refuse_own_work(source)
    run, results = out / "run", out / "images"
    check_place(results)
    resume = is_run(run)
    if resume:
        print_ignored_options(context, USED_ON_RESUME)
    sides = None if resume else parse_size(size)
    reading = Reading(every, max_frames, masks, ignore)
    check_size = partial(check_background_size, device=where)
    data = prepare([source], run / "data", sides, None, reading, check_size=check_size, resume=resume)
    model = _train_background(run, data, minutes, seed, where, resume=resume).to(where)
    noise = None if by_predicted_error else _find_noise(model, data, where)
    images = open_images([source], reading)
    particulars = {"rule for the masks": "predicted error" if by_predicted_error else "noise"}
    plan = make_plan(resolved(str(source)), reading, particulars, where, model)
    with going_on(results, plan) as kept, progress("Painting", "images") as show:
        found = write_background_masks(model, images, results, where, show, noise=noise, kept=kept)
    _print_found(found, results, as_json=as_json)


def _train_background(
    folder: Path, data: Path, minutes: float, seed: int, device: "torch.device", resume: bool
) -> "AstSeg":
    """Train the background network alone, or resume its training.

    Raises:
        Stopped: the user stopped it.
    """
    from astseg.data.store import Store
    from astseg.training.background_choice import choose_background
    from astseg.training.run_folder import RunSettings, lock_run, read_run_with_data, trained_model

    if resume:
        settings = read_run_with_data(folder, to_resume=True)
        if settings.data != str(data.resolve()):
            raise AstSegError(f"{folder} was trained on {settings.data}. Choose another --out, or remove it.")
    else:
        with messages.status("Choosing the number of steps..."):
            choice = choose_background(Store(data), device, minutes)
        print_reasons(choice)
        settings = RunSettings("astseg background", choice.recipe, str(data.resolve()), seed)
    with lock_run(folder):
        train_with_bars(folder, settings, device, resume=resume, how_to_resume=SAME_COMMAND)
    return trained_model(folder)


def _find_noise(model: "AstSeg", data: Path, device: "torch.device") -> "torch.Tensor":
    """Return how far images lie from their backgrounds where there are no objects."""
    from astseg.data.store import Store
    from astseg.training.background_noise import measure_noise
    from astseg.training.batches import TrainingImages

    if model.background_noise is not None:  # that of a static background was measured when its training ended
        return model.background_noise
    return measure_noise(model, TrainingImages(Store(data)["train"].images, device))


def _print_found(found: "BackgroundMasks", folder: Path, *, as_json: bool) -> None:
    """Print what was masked and how well, and which images could not be read."""
    report_skipped(list(found.skipped))
    if found.note:
        print_note("Note", found.note)
    lines = [f"{format_count(found.images, 'image')}: {folder}"]
    if found.f_measure is not None:
        lines.insert(0, f"F-measure: {found.f_measure:.4f} over {format_count(found.scored, 'image')}")
    print_result(lines, {"out": folder, **asdict(found)}, as_json=as_json)
