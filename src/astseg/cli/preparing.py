"""Pictures for the commands: generated, prepared or opened, under a progress bar."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from astseg.cli.bars import progress
from astseg.cli.console import counted, find_device, messages, note
from astseg.errors import UserError

if TYPE_CHECKING:
    from astseg.data.sources import Source
    from astseg.data.store import Store

SHOWN = 10
"""Skipped pictures that are named; of the others the count is told."""


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
    with progress(f"Rendering {name}", "pictures", sum(counts.values())) as show:

        def add(count: int) -> None:
            nonlocal done
            done += count
            show(done, None)

        make_store(destination, name, counts, seed, size, workers, find_device(device), add)


def prepare(source: Path, destination: Path, size: tuple[int, int] | None, longer_side: int | None = None) -> Path:
    """Make a store of a source, unless it is one or was made into one before; returns the store's folder.

    Args:
        source: pictures, a video, an array or a store.
        destination: where the store is made.
        size: height and width that are asked for.
        longer_side: of pictures for which no size is asked, whose shorter one is by their proportions; by default one
            that suits them.

    Raises:
        UserError: the source cannot be used, it is a store of another size, or the destination holds something else.
    """
    from astseg.data.importing import import_source
    from astseg.data.store import Store

    if Store.is_store(source):
        sides = Store(source).image_size
        if size not in (None, sides):
            raise UserError(
                f"{source} is prepared at {_sides(sides)} already, and --size cannot change that. "
                "Leave --size out, or prepare the data again at the other size."
            )
        return source
    if Store.is_store(destination):
        before = Store(destination)
        if before.manifest.source != str(source.resolve()) or size not in (None, before.image_size):
            raise UserError(
                f"{destination} holds the pictures of {before.manifest.source} at {_sides(before.image_size)}. "
                "Choose another --out, or remove that folder first."
            )
        messages.print(f"Going on with the pictures that were prepared before: {destination}", markup=False)
        return destination
    with progress("Reading pictures", "pictures") as show:
        store = import_source(source, destination, size, progress=show, longer_side=longer_side)
    report_reading(store)
    return destination


def open_pictures(path: Path, every: int = 1) -> "Source":
    """Open any source; of prepared data the held-out pictures, or the first split where none are held out.

    Raises:
        UserError: nothing is there, or nothing that can be read.
    """
    from astseg.data.sources import open_source
    from astseg.data.store import Store

    split = "test"
    if Store.is_store(path):
        splits = Store(path).splits
        split = split if split in splits else splits[0]
    return open_source(path, split, every)


def report_reading(store: "Store") -> None:
    """Say what of the pictures did not go into prepared data."""
    details = store.manifest.details
    report_left_out(details.get("left_out", []))
    report_skipped(details.get("skipped", []))
    if "masks" in details:
        messages.print(f"Masks: {details['masks']}.", style="dim", markup=False)
    left_behind = details.get("masks_left_behind")
    if left_behind:
        note("Left out", f"{counted(left_behind, 'mask')}: {details['mask_problem']}")


def report_left_out(left_out: Iterable[str]) -> None:
    """Name what lies in a folder and is no picture to be read."""
    for what in left_out:
        messages.print(f"Left out: {what}.", style="dim", markup=False)


def report_skipped(skipped: list[tuple[str, str]]) -> None:
    """Name what could not be read, the first few of it, with the count."""
    for name, reason in skipped[:SHOWN]:
        note("Skipped", f"{name}: {reason}")
    if len(skipped) > SHOWN:
        messages.print(f"[yellow]... and {len(skipped) - SHOWN} more.[/]")


def _sides(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))
