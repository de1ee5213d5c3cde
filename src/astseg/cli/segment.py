"""``astseg segment``: find the objects in images or a video."""

import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import deferred_interrupt, format_count, messages, print_note, print_result
from astseg.cli._formats import convert_with_bar, describe_formats, parse_request
from astseg.cli._inputs import Reading, report_left_out, report_notes, report_skipped
from astseg.cli._models import check_model_name, open_segmenter
from astseg.cli._options import (
    AsJson,
    Categories,
    Device,
    Every,
    Formats,
    MaxFrames,
    Model,
    Out,
    Quiet,
    Rule,
    Sources,
    Tolerance,
    find_device,
    parse_tiles,
)
from astseg.cli._processes import launched_device
from astseg.cli._progress import progress
from astseg.cli._resuming import going_on, make_plan, resolved
from astseg.cli._shards import check_sharing, segment_shards
from astseg.cli._sources import check_given, open_given

if TYPE_CHECKING:
    import torch

    from astseg.data.sources import EndlessSource, Source
    from astseg.inference.formats.converting import FormatRequest, WrittenFormat
    from astseg.inference.segmenting import SegmentationResult, Segmenter

NUM_LATEST = 100
"""The number of images whose objects are averaged below the bar."""


def segment(
    model: Model,
    source: Sources,
    out: Out = Path("masks"),
    every: Every = 1,
    max_frames: MaxFrames = None,
    batch_size: Annotated[
        int, typer.Option(help="The number of images at a time; of live video and with --watch, one.", min=1)
    ] = 16,
    track: Annotated[
        bool, typer.Option("--track", help="Follow the objects from frame to frame, and label each by its track.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for further images in the folder, until Ctrl-C.")
    ] = False,
    tiles: Annotated[
        str | None,
        typer.Option(
            metavar="ROWSxCOLUMNS",
            help="Segment each image in this many overlapping tiles, such as 2x3, and join the objects at the seams, "
            "for things that are small in large images.",
        ),
    ] = None,
    rule: Rule = None,
    device: Device = "auto",
    shard: Annotated[
        int | None,
        typer.Option(
            metavar="FILES",
            help="Write shards of this many files each, without overlays: for folders of millions of images. The same "
            "command goes on after the last finished shard.",
            min=1,
        ),
    ] = None,
    formats: Formats = None,
    categories: Categories = None,
    tolerance: Tolerance = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find the objects in images or a video.

    Writes a label image for each image (a pixel's value is the number of its object, 0 is the background), an overlay,
    objects.json with the box, area, centroid, position, scale, activation and appearance of every object, and for a
    video an overlaid video. Of prepared data, the test split is segmented.

    Takes folders, images, videos and arrays, one or several; patterns in quotes; a .txt file with a path on each line,
    and - for such lines or an image from standard input; http and https addresses of files; live video (camera:0,
    rtsp://..., live:http://...). With --watch, or of live video, results appear image by image, and Ctrl-C ends them
    whole.

    The model sees each image at its own small size. Where things are too small for that, --tiles shows it parts that
    overlap by a quarter; an image can then have more objects than the model has slots, up to 255.

    After Ctrl-C, a kill or a power cut, the same command goes on where it was stopped.

    With --track, an object keeps its number from frame to frame, and the overlays show its way. The images of a folder
    are then taken for frames in the order of their names.

    ```
    astseg segment my-run images/ --out masks
    astseg segment my-run film.mp4 --every 5 --out film-masks
    astseg segment my-run images/ --out masks --format coco,yolo
    astseg segment my-run film.mp4 --track --out film-tracks
    astseg segment my-run 'images/*.jpg' https://example.org/a.jpg --out masks
    astseg segment my-run camera:0 --out masks
    astseg segment my-run aerial-photos/ --tiles 3x4 --out masks
    torchrun --standalone --nproc_per_node 4 -m astseg segment my-run images/ --shard 1000 --format parquet
    ```
    """
    # What can be checked before numpy and torch are imported is, so that a wrong name is reported at once.
    check_given(source)
    check_model_name(model)
    grid = parse_tiles(tiles)
    from astseg.data.sources import EndlessSource
    from astseg.inference.resuming import check_place

    if shard is None:  # shards are added to what is there
        check_place(out)
    with open_given(source, every, max_frames, watch=watch) as images:
        request = _checked_request(images, formats, categories, tolerance, track=track)
        where = launched_device(find_device(device))
        report_left_out(images.left_out)
        report_notes(images.notes)
        check_sharing(shard, track=track, tiled=grid is not None)
        segmenter = open_segmenter(model, where, rule)
        tiled = _tiled(segmenter, images, grid)
        request.check_slots(tiled.num_slots)
        if shard is not None:
            segment_shards(segmenter, images, out, shard, batch_size, where, model, request, as_json=as_json)
            return
        if isinstance(images, EndlessSource):
            summary = _segment_until_stopped(tiled, images, out, where, model, track=track)
        else:
            particulars = {"grid of tiles": grid and list(grid), "batch size": batch_size}
            sources = list(map(resolved, source))
            plan = make_plan(sources, Reading(every, max_frames), particulars, where, segmenter)
            summary = _segment(tiled, images, out, batch_size, where, model, plan, track=track)
        _convert_and_print(summary, out, request, as_json=as_json)


def _checked_request(
    images: "Source", formats: Sequence[str] | None, categories: str | None, tolerance: float | None, *, track: bool
) -> "FormatRequest":
    """Return which formats are asked for, if the source can have them.

    Raises:
        AstSegError: the options do not fit together, or not to the source.
    """
    from astseg.data.live import LiveSource
    from astseg.data.several import JoinedSource

    if categories is not None and not formats:
        raise AstSegError("--categories is for the formats of --format. Name one, or omit --categories.")
    several_folders = len(images.places) > 1 and any(place.is_dir() for place in images.places)
    if track and (isinstance(images, JoinedSource) or several_folders):
        raise AstSegError("--track follows objects through one video or folder. Name one source at a time.")
    request = parse_request(formats, categories, tolerance)
    request.check_tracks(track)
    if request.needs_pixels and isinstance(images, LiveSource):
        raise AstSegError("Images of live video are not kept, but one of the formats needs them. Omit it.")
    return request


def _convert_and_print(summary: "SegmentationResult", out: Path, request: "FormatRequest", *, as_json: bool) -> None:
    """Write whole results in the formats that are asked for, and print what was found and written."""
    report_skipped(list(summary.skipped))
    if summary.note:
        print_note("Note", summary.note)
    found = f"{format_count(summary.images, 'image')}, {format_count(summary.objects, 'object')}"
    if summary.tracks is not None:
        found += f", {format_count(summary.tracks, 'track')}"
    written = _convert(out, request) if request.formats and summary.images else []
    facts = {**asdict(summary), "formats": list(map(asdict, written))}
    print_result([f"{found}: {out}", *describe_formats(written)], facts, as_json=as_json)


def _convert(out: Path, request: "FormatRequest") -> list["WrittenFormat"]:
    """Write whole results in other formats, and say how to go on if that is stopped."""
    try:
        # Images may go while others are segmented, above all from a watched folder.
        return convert_with_bar(out, replace(request, may_lack_images=True))
    except BaseException:
        command = ["astseg", "convert", str(out), "--format", ",".join(request.formats)]
        print_note("Note", f"The results in {out} are whole. Formats are written by: {shlex.join(command)}")
        raise


def _tiled(model: "Segmenter", images: "Source", grid: tuple[int, int] | None) -> "Segmenter":
    """Return a model that cuts images into tiles, if that is asked for.

    Raises:
        AstSegError: no image is large enough.
    """
    from astseg.data.live import LiveSource
    from astseg.data.sources import EndlessSource
    from astseg.inference.tiles import TiledSegmenter, check_sizes

    if grid is None:
        return model
    if not isinstance(images, EndlessSource):
        check_sizes(images, *grid)
    return TiledSegmenter(model, *grid, may_begin_small=not isinstance(images, LiveSource))


def _segment(
    segmenter: "Segmenter",
    images: "Source",
    out: Path,
    batch_size: int,
    device: "torch.device",
    name: str,
    plan: Mapping[str, Any],
    *,
    track: bool,
) -> "SegmentationResult":
    """Segment under a progress bar, going on where the same was stopped."""
    from astseg.inference.resuming import ResumableSegmenter
    from astseg.inference.segmenting import segment_source

    with going_on(out, plan) as kept, progress("Segmenting", "images") as show:
        model = ResumableSegmenter(segmenter, kept)
        return segment_source(model, images, out, batch_size, device, show, name, track=track)


def _segment_until_stopped(
    segmenter: "Segmenter", images: "EndlessSource", out: Path, device: "torch.device", name: str, *, track: bool
) -> "SegmentationResult":
    """Segment a source without an end until Ctrl-C, under a progress bar with the latest objects below."""
    from astseg.inference.segmenting import segment_source

    latest: deque[int] = deque(maxlen=NUM_LATEST)

    def describe() -> str:
        rate = f"{sum(latest) / len(latest):.1f} objects an image" if latest else "waiting for images"
        return ", ".join(filter(None, (rate, images.state)))

    messages.print(f"Segmenting into {out} until Ctrl-C.", style="dim", markup=False)
    with deferred_interrupt() as interrupted, progress("Segmenting", "images", describe=describe) as show:
        images.stop = interrupted
        summary = segment_source(
            segmenter, images, out, device=device, progress=show, model_name=name, track=track, found_in=latest.append
        )
    if images.state:
        print_note("Note", images.state)
    return summary
