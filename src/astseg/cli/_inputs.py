"""Generate, prepare and open images under progress bars."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astseg._core.errors import AstSegError
from astseg._core.input_files import real_path
from astseg._core.text import format_value
from astseg.cli._console import format_count, messages, print_note
from astseg.cli._options import find_device, parse_values
from astseg.cli._progress import counting_progress, progress

if TYPE_CHECKING:
    from astseg.data.importing import ImportPlan
    from astseg.data.sources import Source
    from astseg.data.store import Store

PREPARED_FOR_KEY = "prepared_for"
"""The manifest's key for how a run has prepared its own data."""
MAX_REPORTED = 10
"""How many skipped images are named; the others are only counted."""


@dataclass(frozen=True)
class Reading:
    """How a source is read, as the options of several commands say it."""

    every: int = 1
    """Take only every n-th frame of videos."""
    max_frames: int | None = None
    """Take no more frames of each video than these."""
    masks: Path | None = None
    """Where the masks are, if not beside the images."""
    ignore: str | None = None
    """The values of mask pixels that are not scored, as the user writes them."""

    @property
    def ignored(self) -> frozenset[int] | None:
        """The values of mask pixels that are not scored; None if those of known data sets are.

        Raises:
            AstSegError: the user wrote something else.
        """
        return parse_values(self.ignore)


DEFAULT_READING = Reading()


def make_scenes(
    name: str,
    destination: Path,
    counts: dict[str, int],
    seed: int,
    size: int | None = None,
    workers: int | None = None,
    device: str = "cpu",
    textures: Path | None = None,
) -> None:
    """Generate scenes under a progress bar, in the materials of the catalogue or of a folder of images."""
    from astseg._core.atomic_io import check_free
    from astseg.data.scenes import make_store, open_textures

    check_free(destination)  # before anything is said of the textures
    opened = None
    if textures is not None:
        opened = open_textures(textures)
        report_left_out(opened.left_out)
        report_skipped(opened.skipped)
    with counting_progress(f"Rendering {name}", "images", sum(counts.values())) as add:
        make_store(destination, name, counts, seed, size, workers, find_device(device), add, opened)


def prepare(
    sources: Sequence[Path],
    destination: Path,
    size: tuple[int, int] | None,
    longer_side: int | None = None,
    reading: Reading = DEFAULT_READING,
    *,
    check_size: Callable[[tuple[int, int]], None] = lambda size: None,
    resume: bool = False,
) -> Path:
    """Prepare one source or several for a run as a store, unless it is one already; return the store's folder.

    A store that was prepared for a run that has not begun is used if it was made from the same unchanged source in the
    same way, and otherwise made again. Any other store in the destination is left unchanged.

    Args:
        sources: images, videos and arrays, or a store.
        destination: where to make the store.
        size: the requested height and width.
        longer_side: the longer side of the images if no size is requested, with their aspect ratio; by default one
            that suits them.
        reading: how the sources are read.
        check_size: raises an error for an unsuitable height and width, before anything is prepared.
        resume: whether the run has begun, and therefore needs the data that it has.

    Raises:
        AstSegError: the source cannot be used, it is a store of another size, or the destination holds other data.
    """
    from astseg._core.atomic_io import remove_contents
    from astseg.data.importing import import_source
    from astseg.data.store import Store

    if len(sources) == 1 and Store.is_store(sources[0]):
        prepared = Store(sources[0])
        _refuse_other_reading(prepared, reading)
        _refuse_other_size(prepared, size)
        if not resume:
            check_size(prepared.image_size)
        return sources[0]
    request = _describe_request(sources, size, longer_side, reading, run=destination.parent)
    if _is_prepared_for(destination, sources, request, size, resume):
        if not resume:
            check_size(Store(destination).image_size)
        messages.print(f"Using the images prepared earlier: {destination}", markup=False)
        return destination

    def check_and_clear(chosen: tuple[int, int]) -> None:
        check_size(chosen)
        if Store.is_store(destination):
            if destination.is_symlink():
                raise AstSegError(
                    f"{destination} is a link to data that was prepared differently. Remove the link, or choose "
                    "another --out."
                )
            messages.print(f"Preparing the images again: {destination} was made differently.", markup=False)
            remove_contents(destination)

    with progress("Reading images", "images") as show:
        store = import_source(
            sources,
            destination,
            size,
            every=reading.every,
            max_frames=reading.max_frames,
            on_plan=report_plan,
            progress=show,
            longer_side=longer_side,
            check_size=check_and_clear,
            details={PREPARED_FOR_KEY: request},
            masks=reading.masks,
            ignored=reading.ignored,
        )
    report_reading(store)
    return destination


def _refuse_other_reading(prepared: "Store", reading: Reading) -> None:
    """Refuse options for reading images, if any are given, where images are prepared already.

    Raises:
        AstSegError: some are given.
    """
    if reading != DEFAULT_READING:
        raise AstSegError(
            f"{prepared.path} is prepared already, so --masks, --ignore, --every and --max-frames have no effect. "
            "Omit them."
        )


def _refuse_other_size(prepared: "Store", size: tuple[int, int] | None) -> None:
    """Refuse prepared data of another size than the requested one, if any is.

    Raises:
        AstSegError: they have another.
    """
    if size not in (None, prepared.image_size):
        raise AstSegError(
            f"{prepared.path} is prepared at {format_value(prepared.image_size)} already. "
            "Omit --size, or prepare the data again at the other size."
        )


def _describe_request(
    sources: Sequence[Path], size: tuple[int, int] | None, longer_side: int | None, reading: Reading, run: Path
) -> dict[str, Any]:
    """Return what a store is prepared for, as its manifest keeps it: what is asked for, and which files there are."""
    request: dict[str, Any] = {
        "size": size and list(size),
        "longer_side": longer_side,
        "files": _signature(sources, reading.masks, run),
    }
    if reading.every != 1 or reading.max_frames is not None:
        request |= {"every": reading.every, "max_frames": reading.max_frames}
    if reading.masks is not None or reading.ignore is not None:
        request |= {"masks": reading.masks and str(real_path(reading.masks)), "ignore": reading.ignore}
    return request


def _is_prepared_for(
    destination: Path,
    sources: Sequence[Path],
    request: dict[str, Any],
    size: tuple[int, int] | None,
    resume: bool,
) -> bool:
    """Tell whether the destination holds what would be prepared, or, to resume, what the run has begun with.

    Raises:
        AstSegError: it holds other data, which is not for a run that has not begun.
    """
    from astseg.data.importing import describe_places
    from astseg.data.store import Store

    if not Store.is_store(destination):
        return False
    before = Store(destination)
    prepared_for = before.manifest.details.get(PREPARED_FOR_KEY)
    fixed = resume or prepared_for is None
    same_source = before.manifest.source == describe_places(sources)
    if same_source and (prepared_for == request or (fixed and size in (None, before.image_size))):
        return True
    if fixed:
        raise AstSegError(
            f"{destination} holds the images of {before.manifest.source} at {format_value(before.image_size)}. "
            "Choose another --out, or remove that folder first."
        )
    return False


def _signature(sources: Sequence[Path], masks: Path | None, run: Path) -> str:
    """Return a digest of the names, sizes and times of the sources' files and their masks, without the run's own."""
    from astseg.data.folders import list_sibling_masks

    beside = [mask for source in sources if source.is_dir() for mask in sorted(list_sibling_masks(source))]
    places = [*sources, *(beside if masks is None else [masks])]
    files = [file for place in places for file in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    own = real_path(run)
    kept = [file for file in files if file.is_file() and not real_path(file).is_relative_to(own)]
    facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in kept]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def open_images(places: Sequence[Path], reading: Reading = DEFAULT_READING) -> "Source":
    """Open one source of images or several; of prepared data, the test split, or else the first one.

    Raises:
        AstSegError: there is no such source, or it cannot be read.
    """
    from astseg.data.several import open_sources

    return open_sources(places, None, reading.every, reading.masks, reading.ignored, reading.max_frames)


def report_reading(store: "Store") -> None:
    """Print what was not taken into prepared data, and how the rest was read."""
    details = store.manifest.details
    report_left_out(details.get("left_out", []))
    report_notes(details.get("notes", []))
    report_skipped(details.get("skipped", []), details.get("more_skipped", 0))
    if "masks" in details:
        messages.print(f"Masks: {details['masks']}.", style="dim", markup=False)
    left_behind = details.get("masks_left_behind")
    if left_behind:
        print_note("Left out", f"{format_count(left_behind, 'mask')}: {details.get('mask_problem')}")


def report_plan(plan: "ImportPlan") -> None:
    """Print how many images will be prepared, and how much room they will take."""
    if plan.images is not None and plan.num_bytes is not None:
        room = f"{max(plan.num_bytes / 1e9, 0.01):.2f} GB on the disk"
        messages.print(
            f"Preparing {format_count(plan.images, 'image')} at {format_value(plan.size)}: about {room}.", style="dim"
        )


def report_left_out(left_out: Iterable[str]) -> None:
    """Print what a folder holds that was not read as an image."""
    for what in left_out:
        messages.print(f"Left out: {what}.", style="dim", markup=False)


def report_notes(notes: Sequence[str]) -> None:
    """Print how the values of the first few files were read."""
    for sentence in notes[:MAX_REPORTED]:
        messages.print(sentence, style="dim", markup=False)
    if len(notes) > MAX_REPORTED:
        messages.print(f"... and {len(notes) - MAX_REPORTED} more files.", style="dim")


def report_skipped(skipped: Sequence[tuple[str, str]], others: int = 0) -> None:
    """Print the first few unreadable images with the reason, and how many more there are, with others of no name."""
    for name, reason in skipped[:MAX_REPORTED]:
        print_note("Skipped", f"{name}: {reason}")
    if (more := max(0, len(skipped) - MAX_REPORTED) + others) > 0:
        messages.print(f"[yellow]... and {more} more.[/]")
