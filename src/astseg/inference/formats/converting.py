"""Results in other formats, made from the folder that holds them: one way for results of any age."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects

from astseg._core.arguments import as_path
from astseg._core.atomic_io import atomic_folder, refuse_link
from astseg._core.errors import AstSegError, TracksNeededError, unknown_name, wrong_argument
from astseg._core.image_files import Bytes
from astseg._core.progress import Progress
from astseg._core.text import first_names
from astseg.data.sources import Sample
from astseg.data.store import file_sha256
from astseg.inference.formats.categories import (
    Categories,
    CategoryChoice,
    check_categories,
    check_slots,
    find_categories,
)
from astseg.inference.formats.coco import CocoWriter, CvatWriter
from astseg.inference.formats.image_files import CutoutWriter, GreyWriter
from astseg.inference.formats.label_studio import LabelStudioWriter
from astseg.inference.formats.mots import MotsWriter
from astseg.inference.formats.parquet import ParquetWriter, check_pyarrow
from astseg.inference.formats.results import IMAGE_SUFFIX, ImageRecord, Results, read_results
from astseg.inference.formats.writer import FormatWriter, FoundImage, FoundObject
from astseg.inference.formats.yolo import YoloWriter

FORMATS: Mapping[str, type[FormatWriter]] = {
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "cvat": CvatWriter,
    "mots": MotsWriter,
    "labelstudio": LabelStudioWriter,
    "cutouts": CutoutWriter,
    "parquet": ParquetWriter,
    "grey": GreyWriter,
}
"""The formats by name, which is also that of the folder that they are written to."""
WRITTEN_FILE = ".written"
"""In the folder of a format: a hash of its files, by which it is known later whether somebody has changed them."""


@dataclass(frozen=True)
class FormatRequest:
    """What to write.

    Raises:
        TypeError: the formats are a text, or something else is of another kind.
        AstSegError: a format is unknown or needs a package that is missing, a number is out of range, or a category
            cannot have its name.
    """

    formats: tuple[str, ...]
    """Names of `FORMATS`."""
    categories: CategoryChoice = field(default_factory=dict)
    """How objects are told apart by kind; by default they are all of one."""
    tolerance: float = 0.5
    """By how many pixels outlines may be simplified, 0 or more; formats of pixels do not need it."""
    may_lack_images: bool = False
    """Whether formats that hold the images leave out those that are no longer there as they were segmented, and say so;
    otherwise they are not written."""

    def __post_init__(self) -> None:
        if isinstance(self.formats, str) or not isinstance(self.formats, Iterable):
            raise wrong_argument("a FormatRequest takes the names of formats, such as ('coco', 'yolo')", self.formats)
        for name in self.formats:
            if name not in FORMATS:
                raise unknown_name("format", name, FORMATS)
        if "parquet" in self.formats:
            check_pyarrow()
        if not isinstance(self.tolerance, Real):
            raise wrong_argument("a tolerance is a number of pixels", self.tolerance)
        if not 0 <= self.tolerance < np.inf:
            raise AstSegError(f"The tolerance should be 0 pixels or more, not {self.tolerance}.")
        check_categories(self.categories)

    @property
    def needs_pixels(self) -> bool:
        """Whether the images must still be where they were segmented."""
        return any(FORMATS[name].needs_pixels for name in self.formats)

    @property
    def uses_images(self) -> bool:
        """Whether it matters where the images are."""
        return self.needs_pixels or any(FORMATS[name].names_images for name in self.formats)

    def check_slots(self, num_slots: int | None) -> None:
        """Raise an `AstSegError` if a category is asked for a slot that a model does not have; see `Segmenter`."""
        check_slots(self.categories, num_slots)

    def check_tracks(self, tracked: bool) -> None:
        """Raise an `AstSegError` if a format is asked for that needs tracks, and objects are not followed."""
        if "mots" in self.formats and not tracked:
            raise TracksNeededError("MOTS is for objects that are followed from frame to frame.")


@dataclass(frozen=True)
class WrittenFormat:
    """One format that was written."""

    format: str
    path: Path
    """What to name to the other program."""
    note: str | None
    """What was lost or left out, if anything."""


def convert_results(
    folder: Path | str,
    request: FormatRequest,
    images: Path | str | None = None,
    progress: Progress | None = None,
    *,
    samples: Iterable[Sample] | None = None,
) -> list[WrittenFormat]:
    """Write a folder of results in other formats, each into a folder in it of the format's name.

    A format that is there already is written anew, unless somebody has changed its files. Each appears once it is
    whole. The same results and request give the same bytes. Memory use does not depend on the number of images.

    Args:
        folder: what `segment_source` wrote.
        request: which formats, and how.
        images: where the images are now, for formats that hold them; by default where they were.
        progress: called with the number of images done.
        samples: those of the source that hold the images, if they are fewer than all.

    Raises:
        TypeError: the request is something else.
        AstSegError: the folder holds no results or damaged ones, too few objects differ for the kinds asked for, the
            images that a format needs are not there (unless they may be lacking), a format's files were changed since
            they were written, or nothing can be written.
    """
    if not isinstance(request, FormatRequest):
        raise wrong_argument("convert_results takes a request, such as FormatRequest(('coco', 'yolo'))", request)
    folder, images = as_path("folder", folder), None if images is None else as_path("images", images)
    if not request.formats:
        raise AstSegError(f"Name a format: {', '.join(FORMATS)}.")
    results = read_results(folder)
    categories = find_categories(request.categories, results)
    names = tuple(dict.fromkeys(request.formats))
    for name in names:
        check_unchanged(folder / name)
    with ExitStack() as stack:
        writers = []
        for name in names:
            made = stack.enter_context(_format_folder(folder / name))
            writer = FORMATS[name](made, results.head, categories.names, request.tolerance)
            writers.append(stack.enter_context(writer))
        needs_pixels = any(writer.needs_pixels for writer in writers)
        pixels = results.images(images, may_lack=request.may_lack_images, samples=samples) if needs_pixels else None
        names_images = any(writer.names_images for writer in writers)
        lacking: list[str] = []
        moved: list[str] = []
        for image in _found_images(results, categories, images, pixels):
            if pixels is not None and image.pixels is None:
                lacking.append(image.name)
            if names_images and image.file is not None and not image.file.is_file():
                moved.append(image.name)
            for writer in writers:
                if image.pixels is not None or not writer.needs_pixels:
                    writer.append(image)
            if progress is not None:
                progress(image.number, None)
    return [
        WrittenFormat(name, folder / name / writer.main_file, _join_notes(writer, lacking, moved))
        for name, writer in zip(names, writers, strict=True)
    ]


@contextmanager
def _format_folder(path: Path) -> Iterator[Path]:
    """Yield a folder that replaces that of a format, and is told from one that somebody has changed."""
    with atomic_folder(path, replace=True) as made:
        yield made
        (made / WRITTEN_FILE).write_text(_tree_digest(made))


def check_unchanged(folder: Path) -> None:
    """Raise if a format's folder is not as it was written, and what somebody did there would be lost.

    Raises:
        AstSegError: it is not, or is a link, which somebody has put there.
    """
    refuse_link(folder, expected="a folder", advice="Remove the link to have the format written anew.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    written = folder / WRITTEN_FILE
    if not written.is_file() or written.read_text(errors="replace") != _tree_digest(folder):
        raise AstSegError(
            f"{folder} is not as it was written: somebody has changed it. Move it elsewhere, or remove it, to have it "
            "written anew."
        )


def _tree_digest(folder: Path) -> str:
    """Return a hash of the names and contents of files, but for what programs that read them leave beside them."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith(".") and file.suffix != ".cache":
            name = file.relative_to(folder).as_posix()
            digest.update(f"{name}\0{file_sha256(file)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _join_notes(writer: FormatWriter, lacking: Sequence[str], moved: Sequence[str]) -> str | None:
    """Return what a writer says it has lost, and of which images it was not given the pixels, or named a former place.

    Args:
        writer: the writer.
        lacking: the images that are no longer there as segmented.
        moved: those that are not where it may have named them.
    """
    left_out = f"left out, as no longer there as segmented: {len(lacking)} ({first_names(lacking)})"
    former = f"images are named where they no longer are: {len(moved)} ({first_names(moved)}); say where they are now"
    notes = [
        writer.note,
        left_out if lacking and writer.needs_pixels else None,
        former if moved and writer.names_images else None,
    ]
    return "; ".join(filter(None, notes)) or None


def _found_images(
    results: Results, categories: Categories, images: Path | None, pixels: Iterator[Bytes | None] | None
) -> Iterator[FoundImage]:
    for number, record in enumerate(results.records(), 1):
        labels = results.labels(record)
        yield FoundImage(
            number=number,
            name=record.name,
            file_name=record.file_name or record.name + IMAGE_SUFFIX,
            labels=labels,
            objects=tuple(_found_objects(results, categories, record, labels)),
            time=record.time,
            file=results.image_file(record, images),
            pixels=None if pixels is None else next(pixels),
        )


def _found_objects(
    results: Results, categories: Categories, record: ImageRecord, labels: Bytes
) -> Iterator[FoundObject]:
    """Yield the objects that have pixels, which somebody may have corrected since they were found."""
    described = {found.label: found for found in record.objects}
    for label, place in enumerate(find_objects(labels), 1):
        if place is None:
            continue
        if label not in described:
            raise AstSegError(
                f"{record.name} of {results.folder} has a label {label}, which objects.json does not list."
            )
        rows, columns = place
        left, top = columns.start, rows.start
        yield FoundObject(
            label=label,
            category=categories.category_of(described[label]),
            box=(left, top, columns.stop - left, rows.stop - top),
            area=int((labels[place] == label).sum()),
            activation=described[label].activation,
            appearance=tuple(described[label].appearance),
            slot=described[label].found_by if results.head.slots is not None else None,
            track=described[label].track,
        )
