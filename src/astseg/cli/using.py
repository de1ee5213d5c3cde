"""What one does with a model and a machine: ``segment``, ``evaluate``, ``export``, ``background``, ``doctor``."""

import math
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli.bars import progress
from astseg.cli.console import (
    Device,
    Ignore,
    Masks,
    counted,
    find_device,
    messages,
    note,
    output,
    parse_size,
    parse_values,
    print_table,
)
from astseg.cli.models import open_model, say_how_far
from astseg.cli.preparing import open_images, prepare, report_left_out, report_notes, report_skipped
from astseg.cli.training import Seed, say_what_is_ignored, train_background

Model = Annotated[
    str,
    typer.Argument(
        help="A training run's folder, a model's folder, one that comes with astseg (rooms, towers, clevr), "
        "or a name on the model hub."
    ),
]
Source = Annotated[Path, typer.Argument(help="A folder of images, an image, a video, an array file, prepared data.")]


def segment(
    model: Model,
    source: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")] = Path("masks"),
    every: Annotated[int, typer.Option(help="Of a video, take each n-th frame.", min=1)] = 1,
    batch_size: Annotated[int, typer.Option(help="Images at a time.", min=1)] = 16,
    device: Device = "auto",
) -> None:
    """Find the objects in images or a video.

    Writes a label image for each (the pixel's value is the number of its object, 0 is the background), an overlay to
    look at, objects.json with box, area, centroid, position, scale, activation and appearance of every object, and for
    a video an overlaid film. Of prepared data these are the held-out images.

    ```
    astseg segment my-run images/ --out masks
    astseg segment my-run film.mp4 --every 5 --out film-masks
    ```
    """
    images = open_images(source, every)  # a mistake in its name should be told before torch is imported
    from astseg.inference.segmenting import segment_source

    where = find_device(device)
    report_left_out(images.left_out)
    report_notes(images.notes)
    segmenter = open_model(model, where)
    with progress("Segmenting", "images") as show:
        summary = segment_source(segmenter, images, out, batch_size, where, show)
    report_skipped(list(summary.skipped))
    if summary.note:
        note("Note", summary.note)
    found = f"{counted(summary.images, 'image')}, {counted(summary.objects, 'object')}"
    output.print(f"{found}: {out}", markup=False)


def evaluate(
    model: Model,
    data: Annotated[Path, typer.Argument(help="Prepared data with masks.")],
    split: Annotated[str, typer.Option(help="Which split.")] = "test",
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the files.")] = Path("evaluation"),
    batch_size: Annotated[int, typer.Option(help="Images at a time.", min=1)] = 64,
    by_weights_alone: Annotated[
        bool,
        typer.Option("--by-weights-alone", help="Label pixels by the paper's rule, whatever the model's own."),
    ] = False,
    device: Device = "auto",
) -> None:
    """Score a model where the truth is known: mIoU, ARI-FG, ARI, MSC-FG, MSC, MSE.

    Every image of the split counts once. Writes scores.json and the scores of every image in per_image.csv.

    ```
    astseg evaluate my-run my-data --split test --out scores
    ```
    """
    from astseg._core.atomic_io import atomic_folder
    from astseg._core.provenance import provenance
    from astseg.cli.scores import print_scores
    from astseg.data.store import Store
    from astseg.evaluation.evaluator import PER_IMAGE_FILE, write_per_image
    from astseg.evaluation.evaluator import evaluate as score
    from astseg.evaluation.scores_file import SCORES_FILE, ScoreRecord, describe_data, write_scores

    where = find_device(device)
    store = Store(data)
    chosen = store[split]
    with atomic_folder(out) as folder:
        segmenter = open_model(model, where)
        with progress("Scoring", "images") as show:
            evaluation = score(segmenter, chosen, batch_size, show, use_label_rule=not by_weights_alone)
        write_per_image(folder / PER_IMAGE_FILE, evaluation)
        summary = evaluation.summary()
        own_rule = not by_weights_alone
        record = ScoreRecord(summary, model, describe_data(store), split, provenance(where), own_rule)
        write_scores(folder / SCORES_FILE, record)
    print_scores(summary)
    output.print(f"Files: {out / SCORES_FILE}, {out / PER_IMAGE_FILE}", markup=False)


def export(
    run: Annotated[Path, typer.Argument(help="A training run's folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")] = Path("exported"),
    device: Device = "auto",
) -> None:
    """Make a trained model ready to be handed on: half as large, with a card that says where it comes from.

    Writes config.json, model.safetensors and README.md, as the model hub expects them. The model is scored again after
    its weights were halved, if the truth is known, and the card holds the scores of both.

    ```
    astseg export my-run --out my-model
    ```
    """
    from astseg.cli.scores import print_scores
    from astseg.hub.exporting import export_model

    say_how_far(run)
    with progress("Scoring", "images") as show:
        scores = export_model(run, out, find_device(device), show)
    if scores is not None:
        print_scores(scores)
    output.print(f"Model: {out}", markup=False)


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
    model = train_background(out / "run", data, minutes, seed, device, resume=begun).to(where)
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


def doctor() -> None:
    """Say what this machine has, what was installed, and whether a training step works."""
    from rich.markup import escape
    from rich.table import Table

    from astseg.doctor import environment, examine

    with messages.status("Examining..."):
        output.print(environment(), end="\n\n", markup=False)
        findings = examine()
    table = Table("", "what", "found", box=None, show_header=False)
    for finding in findings:
        table.add_row("[green]ok[/]" if finding.good else "[red]no[/]", finding.what, escape(finding.found))
    print_table(table)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)
