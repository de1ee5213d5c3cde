"""``astseg segment``: find the objects in images or a video."""

from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import format_count, output, print_note
from astseg.cli._formats import convert_and_report, parse_request
from astseg.cli._inputs import open_images, report_left_out, report_notes, report_skipped
from astseg.cli._models import open_model
from astseg.cli._options import Categories, Device, Every, Formats, Model, Out, Source, Tolerance, find_device
from astseg.cli._processes import launched_device
from astseg.cli._progress import progress
from astseg.cli._shards import check_sharing, segment_shards


def segment(
    model: Model,
    source: Source,
    out: Out = Path("masks"),
    every: Every = 1,
    batch_size: Annotated[int, typer.Option(help="The number of images at a time.", min=1)] = 16,
    track: Annotated[
        bool, typer.Option("--track", help="Follow the objects from frame to frame, and label each by its track.")
    ] = False,
    device: Device = "auto",
    shard: Annotated[
        int | None,
        typer.Option(
            metavar="FILES",
            help="Write shards of so many files each, without overlays: for folders of millions of images. The same "
            "command goes on after the last finished shard.",
            min=1,
        ),
    ] = None,
    formats: Formats = "",
    categories: Categories = None,
    tolerance: Tolerance = 0.5,
) -> None:
    """Find the objects in images or a video.

    Writes a label image for each image (a pixel's value is the number of its object, 0 is the background), an overlay,
    objects.json with the box, area, centroid, position, scale, activation and appearance of every object, and for a
    video an overlaid video. Of prepared data, the test split is segmented.

    With --track, an object keeps its number from frame to frame, and the overlays show its way. The images of a folder
    are then taken for frames in the order of their names.

    ```
    astseg segment my-run images/ --out masks
    astseg segment my-run film.mp4 --every 5 --out film-masks
    astseg segment my-run images/ --out masks --format coco,yolo
    astseg segment my-run film.mp4 --track --out film-tracks
    torchrun --standalone --nproc_per_node 4 -m astseg segment my-run images/ --shard 1000 --format parquet
    ```
    """
    images = open_images(source, every)  # before torch is imported, so that a wrong name is reported at once
    from astseg.inference.segmenting import segment_source

    if categories is not None and not formats:
        raise AstSegError("--categories is for the formats of --format. Name one, or omit --categories.")
    request = parse_request(formats, categories, tolerance)
    where = launched_device(find_device(device))
    report_left_out(images.left_out)
    report_notes(images.notes)
    check_sharing(shard, track)
    segmenter = open_model(model, where)
    request.check_slots(segmenter.num_slots)
    if shard is not None:
        segment_shards(segmenter, images, out, shard, batch_size, where, model, request)
        return
    with progress("Segmenting", "images") as show:
        summary = segment_source(segmenter, images, out, batch_size, where, show, model, track=track)
    report_skipped(list(summary.skipped))
    if summary.note:
        print_note("Note", summary.note)
    found = f"{format_count(summary.images, 'image')}, {format_count(summary.objects, 'object')}"
    if summary.tracks is not None:
        found += f", {format_count(summary.tracks, 'track')}"
    output.print(f"{found}: {out}", markup=False)
    if request.formats:
        convert_and_report(out, request)
