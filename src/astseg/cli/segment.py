"""``astseg segment``: the objects in images or a video."""

from pathlib import Path
from typing import Annotated

import typer

from astseg.cli._console import counted, note, output
from astseg.cli._inputs import open_images, report_left_out, report_notes, report_skipped
from astseg.cli._models import open_model
from astseg.cli._options import Device, Model, Source, find_device
from astseg.cli._progress import progress


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
