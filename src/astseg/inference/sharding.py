"""Segment millions of images: in shards, by one process or by several that need not know of each other.

A shard is a folder of results for some files of the source, in the order of their names. It appears once it is whole,
with its formats, and what is there is not made again unless the content of its files has changed. Which files it holds
does not depend on the number of processes.
"""

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from astseg._core.arguments import as_path
from astseg._core.atomic_io import atomic_folder, make_folder, partial_folder, restore_former
from astseg._core.devices import find_device
from astseg._core.errors import AstSegError
from astseg._core.file_names import LABELS_FOLDER, OBJECTS_FILE, SHARDS_FILE
from astseg._core.input_files import read_json
from astseg._core.processes import Place
from astseg._core.progress import Progress
from astseg.data.file_source import FileSource
from astseg.data.folders import holds_results
from astseg.data.sources import Source
from astseg.data.store import file_sha256
from astseg.inference.formats.converting import FORMATS, FormatRequest, check_unchanged, convert_results
from astseg.inference.formats.results import read_head, read_results
from astseg.inference.plans import differing_names, model_digest, write_plan
from astseg.inference.segmenting import segment_source
from astseg.inference.writers import LabelWriter, ObjectsWriter
from astseg.model.ast_seg import AstSeg

PLAN_WORDS = {
    "files": "number of files",
    "names_sha256": "names of the files",
    "files_per_shard": "number of files in a shard",
    "model_sha256": "weights of the model",
}
"""What users are told that differs, where the name in `SHARDS_FILE` does not say it."""
STATES, CONTENTS = "states_sha256", "contents_sha256"
"""The names of the digests by which it is known whether the files of a shard have changed."""
SHARD_WRITERS = (LabelWriter, ObjectsWriter)
"""Nobody looks at a million overlays."""


@dataclass(frozen=True)
class ShardsResult:
    """What `segment_in_shards` wrote in this process."""

    shards: int
    """The shards that were made now."""
    found: int
    """Those of this process that were there already."""
    images: int
    objects: int
    skipped: int
    """Images that could not be read; objects.json of their shard names them."""
    renewed: int = 0
    """Of `shards`, those that had been there, but whose files had changed since."""


def segment_in_shards(
    model: AstSeg,
    source: Source,
    out: Path | str,
    files_per_shard: int,
    *,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
    model_name: str | None = None,
    request: FormatRequest | None = None,
    place: Place | None = None,
    progress: Progress | None = None,
) -> ShardsResult:
    """Segment a folder of files in shards, ``out/shard-00000`` and so on: labels, objects.json and formats.

    Of n processes, the r-th makes the shards r, r + n, r + 2n, ... In memory are the names of all files, and the images
    of one batch.

    Args:
        model: the model, on `device`.
        source: the folder.
        out: the folder to make, or to go on with.
        files_per_shard: the number of files in a shard, 1 or more.
        batch_size: images of one size that go through the model together.
        device: where the model is.
        model_name: what objects.json calls the model, if anything.
        request: in which other formats each shard is written too, each in a folder of its name.
        place: which of several processes this one is; by default the only one.
        progress: called with the number of images done, and of the files that this process has left to do.

    Raises:
        AstSegError: the source is not a folder of files, kinds of objects would differ between shards, the folder holds
            shards of something else or cannot be written, the labels or formats of a shard that is to be made anew were
            changed by hand, or another process makes the same shard.
    """
    if not isinstance(source, FileSource):
        raise AstSegError(
            f"Only files of images can be divided into shards: {source.name} is, or holds, a video, prepared data or "
            "images without end."
        )
    request, place = request or FormatRequest(()), place or Place()
    if isinstance(request.categories, int):
        raise AstSegError("Kinds that are found by likeness would differ from shard to shard. Name slots instead.")
    out, device = as_path("out", out), find_device(device)
    _begin(out, _plan(model, source, files_per_shard, model_name, request))
    own = _own_shards(out, source.files, files_per_shard, place)
    for folder in own:
        restore_former(folder)
    renewed = {folder for folder, files in own.items() if folder.is_dir() and _have_changed(files, folder)}
    for folder in renewed:
        _check_uncorrected(folder)
    left = {folder: files for folder, files in own.items() if folder in renewed or not folder.is_dir()}
    for folder in own.keys() - left.keys():  # perhaps a kill left something beside a shard that was already in place
        shutil.rmtree(partial_folder(folder), ignore_errors=True)
    total = sum(map(len, left.values()))
    done = images = objects = skipped = 0
    for folder, files in left.items():
        part = source.part(files)
        part.digests = {STATES: _states_digest(files), CONTENTS: _contents_digest(files)}  # before they are read
        part.may_be_empty = True  # a few damaged files must not stop millions

        def show(count: int, _: int | None, before: int = done) -> None:
            if progress is not None:
                progress(before + count, total)

        with atomic_folder(folder, replace=folder in renewed) as made:
            result = segment_source(model, part, made, batch_size, device, show, model_name, writers=SHARD_WRITERS)
            if request.formats and result.images:
                convert_results(made, request, samples=part)  # the whole folder would be read for each shard
        done += len(part.files)
        images, objects, skipped = images + result.images, objects + result.objects, skipped + len(result.skipped)
    return ShardsResult(len(left), len(own) - len(left), images, objects, skipped, len(renewed))


def _own_shards(out: Path, files: Sequence[Path], files_per_shard: int, place: Place) -> dict[Path, Sequence[Path]]:
    """Return the folders of the shards that a process makes, with their files."""
    starts = range(0, len(files), files_per_shard)
    return {
        out / f"shard-{number:05d}": files[start : start + files_per_shard]
        for number, start in enumerate(starts)
        if number % place.count == place.rank
    }


def _have_changed(files: Sequence[Path], folder: Path) -> bool:
    """Tell whether the content of files has changed since their shard was made; no, if that is unknown."""
    try:
        head = read_head(folder / OBJECTS_FILE)
    except AstSegError:
        return False
    digests = {} if head is None else head.digests  # somebody may have written it anew
    # Contents are read only if a size or time differs: of millions of files, it takes long.
    return (
        STATES in digests
        and digests[STATES] != _states_digest(files)
        and digests.get(CONTENTS) != _contents_digest(files)
    )


def _check_uncorrected(folder: Path) -> None:
    """Raise if the labels of a shard are not those of its objects any longer, or its formats not as they were written.

    Raises:
        AstSegError: they are not, and would be lost with it.
    """
    for name in FORMATS:
        check_unchanged(folder / name)
    if not holds_results(folder):  # none of its files could be read
        return
    results = read_results(folder)
    for record in results.records():
        if not (folder / LABELS_FOLDER / f"{record.name}.png").exists():
            continue
        written = [(found.label, found.area) for found in record.objects]
        with suppress(AstSegError):  # of another mode, as some programs save it
            areas = np.bincount(results.labels(record).ravel()).tolist()
            if written == [(label, area) for label, area in enumerate(areas) if label and area]:
                continue
        raise AstSegError(
            f"The images of {folder} have changed, and so have its labels since they were written, those of "
            f"{record.name} for one. Move the shard elsewhere to have it made anew without losing corrections."
        )


def _states_digest(files: Sequence[Path]) -> str:
    """Return a hash of the sizes and times of files."""
    digest = hashlib.sha256()
    for file in files:
        with suppress(OSError):  # it has gone, and is named when it is to be read
            facts = file.stat()
            digest.update(f"{file.name}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _contents_digest(files: Sequence[Path]) -> str:
    """Return a hash of the contents of files."""
    digest = hashlib.sha256()
    for file in files:
        with suppress(OSError):
            digest.update(bytes.fromhex(file_sha256(file)))
    return digest.hexdigest()


def _plan(
    model: AstSeg, source: FileSource, files_per_shard: int, model_name: str | None, request: FormatRequest
) -> dict[str, Any]:
    """Return what must be the same whenever shards are added to a folder."""
    names, named = hashlib.sha256(), request.categories
    for file in source.files:
        names.update(f"{file.relative_to(source.path).as_posix()}\0".encode(errors="surrogateescape"))
    return {
        "source": str(source.path.resolve()),
        "files": len(source.files),
        "names_sha256": names.hexdigest(),
        "files_per_shard": files_per_shard,
        "shards": -(-len(source.files) // files_per_shard),
        "model": model_name,
        "model_sha256": model_digest(model),
        "formats": sorted(request.formats),
        "categories": {} if isinstance(named, int) else {str(slot): name for slot, name in named.items()},
        "tolerance": request.tolerance,
    }


def _begin(out: Path, plan: dict[str, Any]) -> None:
    """Write the plan into a new folder; in one that has a plan, refuse another.

    Raises:
        AstSegError: the folder holds other shards or other files, or cannot be written.
    """
    file = out / SHARDS_FILE
    try:
        make_folder(out)
        if not file.is_file():
            if any(not path.name.startswith(".") and path.name != SHARDS_FILE for path in out.iterdir()):
                raise AstSegError(f"{out} exists and holds other files. Choose another place for the shards.")
            write_plan(file, plan)
        there = read_json(file)
    except (OSError, ValueError) as error:
        raise AstSegError(f"Cannot begin shards in {out}: {error}.") from error
    if differing := [PLAN_WORDS.get(name, name) for name in differing_names(plan, there) if name != "shards"]:
        raise AstSegError(
            f"{out} holds shards that were made with other settings ({', '.join(differing)}): "
            "ask for the same to go on, or choose another place."
        )
