"""Images for the commands: generated, prepared or opened, under a progress bar."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astseg._core.errors import AstSegError
from astseg._core.text import format_value
from astseg.cli._console import counted, messages, note
from astseg.cli._options import find_device, parse_values
from astseg.cli._progress import progress

if TYPE_CHECKING:
    from astseg.data.sources import Source
    from astseg.data.store import Store

PREPARED_FOR = "prepared_for"
"""In the manifest of what a run prepares for itself: how it was to be prepared."""
SHOWN = 10
"""Skipped images that are named; of the others the count is told."""


def make_scenes(
    name: str,
    destination: Path,
    counts: dict[str, int],
    seed: int,
    size: int | None = None,
    workers: int | None = None,
    device: str = "cpu",
) -> None:
    """Generate scenes under a progress bar."""
    from astseg.data.scenes import make_store

    done = 0
    with progress(f"Rendering {name}", "images", sum(counts.values())) as show:

        def add(count: int) -> None:
            nonlocal done
            done += count
            show(done, None)

        make_store(destination, name, counts, seed, size, workers, find_device(device), add)


def prepare(
    source: Path,
    destination: Path,
    size: tuple[int, int] | None,
    longer_side: int | None = None,
    *,
    check_size: Callable[[tuple[int, int]], None] = lambda size: None,
    begun: bool = False,
    masks: Path | None = None,
    ignore: str | None = None,
) -> Path:
    """Make a store of a source, unless it is one or was made into one before; returns the store's folder.

    What was prepared for a run that never began is used again if the source is the same, unchanged, and was to be
    prepared in the same way; else it is made again. Data that was prepared otherwise stays as it is.

    Args:
        source: images, a video, an array or a store.
        destination: where the store is made.
        size: height and width that are asked for.
        longer_side: of images for which no size is asked, whose shorter one is by their proportions; by default one
            that suits them.
        check_size: refuses a height and a width by an error, before anything is prepared.
        begun: whether the run has begun, which goes on with what it has.
        masks: where the masks are, if not beside the images.
        ignore: the values in masks that are not to be scored, as the user gives them.

    Raises:
        AstSegError: the source cannot be used, it is a store of another size, or the destination holds something else.
    """
    from astseg._core.atomic_io import remove_contents
    from astseg.data.importing import import_source
    from astseg.data.store import Store

    ignored = parse_values(ignore)
    if Store.is_store(source):
        if masks is not None or ignore is not None:
            raise AstSegError(
                f"{source} is prepared already, and --masks and --ignore cannot change that. Leave them out."
            )
        prepared = Store(source).image_size
        if size not in (None, prepared):
            raise AstSegError(
                f"{source} is prepared at {format_value(prepared)} already, and --size cannot change that. "
                "Leave --size out, or prepare the data again at the other size."
            )
        if not begun:
            check_size(prepared)
        return source
    wishes: dict[str, Any] = {
        "size": size and list(size),
        "longer_side": longer_side,
        "files": _signature(source, destination.parent),
    }
    if masks is not None or ignore is not None:
        wishes |= {"masks": masks and str(masks.resolve()), "ignore": ignore}
    if Store.is_store(destination):
        before = Store(destination)
        prepared_for = before.manifest.details.get(PREPARED_FOR)
        same_source = before.manifest.source == str(source.resolve())
        if (same_source and prepared_for == wishes) or (
            same_source and (begun or prepared_for is None) and size in (None, before.image_size)
        ):
            if not begun:
                check_size(before.image_size)
            messages.print(f"Going on with the images that were prepared before: {destination}", markup=False)
            return destination
        if begun or prepared_for is None:
            raise AstSegError(
                f"{destination} holds the images of {before.manifest.source} at {format_value(before.image_size)}. "
                "Choose another --out, or remove that folder first."
            )

    def clear(chosen: tuple[int, int]) -> None:
        check_size(chosen)
        if Store.is_store(destination):
            messages.print(
                f"Preparing the images again: {destination} was made in another way, or of others.", markup=False
            )
            remove_contents(destination)

    details = {PREPARED_FOR: wishes}
    with progress("Reading images", "images") as show:
        store = import_source(
            source,
            destination,
            size,
            progress=show,
            longer_side=longer_side,
            check_size=clear,
            details=details,
            masks=masks,
            ignored=ignored,
        )
    report_reading(store)
    return destination


def _signature(source: Path, run: Path) -> str:
    """Return what changes when the files of a source do, but for those of a run.

    A digest of their names, sizes and times.
    """
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    own = run.resolve()
    kept = [file for file in files if file.is_file() and not file.resolve().is_relative_to(own)]
    facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in kept]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def open_images(
    path: Path, every: int = 1, masks: Path | None = None, ignored: frozenset[int] | None = None
) -> "Source":
    """Open any source; of prepared data the held-out images, or the first split where none are held out.

    Raises:
        AstSegError: nothing is there, or nothing that can be read.
    """
    from astseg.data.sources import open_source
    from astseg.data.store import Store

    split = "test"
    if Store.is_store(path):
        splits = Store(path).splits
        split = split if split in splits else splits[0]
    return open_source(path, split, every, masks, ignored)


def report_reading(store: "Store") -> None:
    """Say what of the images did not go into prepared data."""
    details = store.manifest.details
    report_left_out(details.get("left_out", []))
    report_notes(details.get("notes", []))
    report_skipped(details.get("skipped", []))
    if "masks" in details:
        messages.print(f"Masks: {details['masks']}.", style="dim", markup=False)
    left_behind = details.get("masks_left_behind")
    if left_behind:
        note("Left out", f"{counted(left_behind, 'mask')}: {details['mask_problem']}")


def report_left_out(left_out: Iterable[str]) -> None:
    """Name what lies in a folder and is no image to be read."""
    for what in left_out:
        messages.print(f"Left out: {what}.", style="dim", markup=False)


def report_notes(notes: Sequence[str]) -> None:
    """Say how numbers are taken, of the first few files."""
    for sentence in notes[:SHOWN]:
        messages.print(sentence, style="dim", markup=False)
    if len(notes) > SHOWN:
        messages.print(f"... and {len(notes) - SHOWN} more files.", style="dim")


def report_skipped(skipped: list[tuple[str, str]]) -> None:
    """Name what could not be read, the first few of it, with the count."""
    for name, reason in skipped[:SHOWN]:
        note("Skipped", f"{name}: {reason}")
    if len(skipped) > SHOWN:
        messages.print(f"[yellow]... and {len(skipped) - SHOWN} more.[/]")
