"""Segment in shards, for ``astseg segment``."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from astseg._core.errors import AstSegError
from astseg.cli._console import format_count, print_result
from astseg.cli._progress import progress

if TYPE_CHECKING:
    import torch

    from astseg.data.sources import Source
    from astseg.inference.formats.converting import FormatRequest
    from astseg.model.ast_seg import AstSeg


def check_sharing(shard: int | None, *, track: bool, tiled: bool) -> None:
    """Raise unless the images can be shared by the processes that were started.

    Raises:
        AstSegError: there are several processes but no shards, or shards of frames that follow each other or of tiles.
    """
    from astseg._core.processes import launched_place

    if shard is None and launched_place().count > 1:
        raise AstSegError("Several processes share images in shards: add --shard, such as --shard 1000.")
    if shard is not None and track:
        raise AstSegError("Objects are not followed from shard to shard. Omit --track or --shard.")
    if shard is not None and tiled:
        raise AstSegError("The images of shards are not cut into tiles. Omit --tiles or --shard.")


def segment_shards(
    model: "AstSeg",
    images: "Source",
    out: Path,
    shard: int,
    batch_size: int,
    device: "torch.device",
    name: str,
    request: "FormatRequest",
    *,
    as_json: bool,
) -> None:
    """Segment this process's shards, under a progress bar in the first process, and print what was made."""
    from astseg._core.processes import launched_place
    from astseg.inference.sharding import segment_in_shards

    place = launched_place()
    with progress("Segmenting", "images") if place.rank == 0 else nullcontext() as show:
        result = segment_in_shards(
            model,
            images,
            out,
            shard,
            batch_size=batch_size,
            device=device,
            model_name=name,
            request=request,
            place=place,
            progress=show,
        )
    whose = f"Process {place.rank + 1} of {place.count}: " if place.count > 1 else ""
    renewed = f" ({result.renewed} anew, as images had changed)" if result.renewed else ""
    found = f", {result.found} there already" if result.found else ""
    unread = f", {format_count(result.skipped, 'image')} unreadable (named in objects.json)" if result.skipped else ""
    line = (
        f"{whose}{format_count(result.shards, 'shard')}{renewed}{found}, {format_count(result.images, 'image')}, "
        f"{format_count(result.objects, 'object')}{unread}: {out}"
    )
    print_result([line], asdict(result), as_json=as_json)
