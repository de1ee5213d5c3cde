"""What was found in images, in files of any program: astseg's own results, label images, COCO's results."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath

from astseg._core.connected_pieces import connected_pieces
from astseg._core.errors import AstSegError, ResultsNotFoundError
from astseg._core.file_names import OBJECTS_FILE
from astseg._core.image_files import IMAGE_SUFFIXES
from astseg._core.sampling import evenly_spaced_first
from astseg.data.coco import COCO_SUFFIX, CocoFile, CocoResults
from astseg.data.folders import holds_results, list_readable, natural_key, without_suffixes
from astseg.data.image_statistics import refuse_photographs
from astseg.data.masks import choose_coding, read_raw_masks, telling_masks
from astseg.data.regions import Regions, regions_of_labels
from astseg.data.store import Store
from astseg.data.truth.mask_files import read_labels
from astseg.data.truth.true_images import ImageName
from astseg.inference.formats.results import ImageRecord, read_results, refuse_shards

NUM_PROBED_LABELS = 16
"""The number of label images with objects that decide how all are read."""


class FoundResults(ABC):
    """The results of a program."""

    names: Sequence[ImageName]
    """What the images are called."""
    num_slots: int | None = None
    """The largest number of objects that could be found; None if unknown."""
    split: str | None = None
    """Of prepared data, the split that holds the images; None of others, or if unknown."""
    description: str
    """A sentence on what is scored."""

    @abstractmethod
    def read(self, index: int) -> Regions:
        """Return what was found in an image.

        Raises:
            AstSegError: it cannot be read.
        """


class OwnResults(FoundResults):
    """A folder of astseg's results; the score of an object is its activation.

    Raises:
        AstSegError: see `read_results`.
    """

    def __init__(self, folder: Path) -> None:
        self._results = read_results(folder)
        self._records = list(self._results.records())
        self._scored = all(found.activation is not None for record in self._records for found in record.objects)
        self.num_slots, self.split = self._results.head.slots, self._results.head.split
        where_known = self._results.image_file if self._results.head.source else lambda _: None
        self.names = [
            ImageName(name, one.file_name, _counted_from_zero(one), where_known(one)) for one, name in self._named()
        ]
        images = f" in the images of {self._results.head.source}" if self._results.head.source else ""
        self.description = f"Results of {self._results.head.model or 'astseg'}{images}."

    def _named(self) -> Iterator[tuple[ImageRecord, str]]:
        """Yield each image with its name, which has the suffix where another differs in it alone.

        Those of a watched folder were named before the other came: of `a.jpg` and `a.png` a mask `a.png` is of neither.
        """
        uses = Counter(_without_suffix(one.file_name) for one in self._records if one.file_name is not None)
        for one in self._records:
            file_name = one.file_name or ""
            yield one, file_name if uses[_without_suffix(file_name)] > 1 else one.name

    def read(self, index: int) -> Regions:
        """Return the objects of an image; labels that objects.json does not have, such as drawn ones, come last.

        There are no scores where any object of the results has lost its activation.
        """
        record = self._records[index]
        labels = self._results.labels(record)
        if not self._scored:
            return regions_of_labels(labels)
        activations = {found.label: found.activation for found in record.objects if found.activation is not None}
        return regions_of_labels(labels, [activations.get(label, 0.0) for label in range(1, int(labels.max()) + 1)])


def _without_suffix(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix() if name else ""


def _counted_from_zero(record: ImageRecord) -> bool:
    """Tell whether an image is one of several in a file; results that are older name no files."""
    return record.file_name is None and PurePath(record.name).name.isdecimal()


class LabelImages(FoundResults):
    """A folder of label images: a value for each object, 0 for the background; or black and white.

    Of black and white ones, what is connected is an object.

    Raises:
        AstSegError: there are none, or two are of one image, or may be.
    """

    def __init__(self, folder: Path) -> None:
        files = (file for file in list_readable(folder) if file.suffix.lower() in IMAGE_SUFFIXES)
        self._files = sorted(files, key=lambda file: natural_key(file.relative_to(folder).as_posix()))
        if not self._files:
            raise ResultsNotFoundError(f"{folder} holds no results: neither {OBJECTS_FILE} nor label images.")
        refuse_photographs(self._files, "the folder of results")
        names = [file.relative_to(folder).with_suffix("").as_posix() for file in self._files]
        _refuse_twins(self._files, names)
        from_zero = names[0].isdecimal() and int(names[0]) == 0  # nobody else's frames are
        self.names = [ImageName(name, counted_from_zero=from_zero) for name in names]
        probed = evenly_spaced_first(len(self._files), NUM_PROBED_LABELS)
        raw = (next(read_raw_masks(self._files[index])) for index in probed)
        self._coding = choose_coding(telling_masks(raw, NUM_PROBED_LABELS), frozenset())
        self.description = f"Results: label images; {self._coding.description}" + (
            ", and what is connected is one." if self._coding.rule == "halves" else "."
        )

    def read(self, index: int) -> Regions:
        """Return the regions of an image."""
        file = self._files[index]
        labels = read_labels(file, self._coding, called=str(file))
        return regions_of_labels(connected_pieces(labels > 0) if self._coding.rule == "halves" else labels)


def _refuse_twins(files: Sequence[Path], names: Sequence[str]) -> None:
    """Raise if two label images are of one image, or it is unknown of which: of `a.png`, or of another called `a`.

    Raises:
        AstSegError: there are such two.
    """
    known: dict[str, Path] = {}
    for file, name in zip(files, names, strict=True):
        if (other := known.setdefault(name, file)) != file:
            raise AstSegError(f"{other} and {file} are both results of an image {name}. Keep one of them.")
    for name, file in known.items():
        bare = _without_suffix(name)
        if PurePath(name).suffix.lower() in IMAGE_SUFFIXES and bare in known:
            raise AstSegError(
                f"{file} is of an image {name}, and {known[bare]} may be of it or of another: what is true of it could "
                f"be of either. Name the folder that has {OBJECTS_FILE}, or rename one of them."
            )


class CocoFound(FoundResults):
    """COCO's results.

    Args:
        path: the file.
        images: names the images of a list of results.

    Raises:
        AstSegError: see `CocoResults`.
    """

    def __init__(self, path: Path, images: CocoFile | None) -> None:
        self._results = CocoResults(path, images)
        files = [one.file_name for one in self._results.images]
        # Of `a.jpg` and `a.png` each keeps its suffix, as in astseg's own results: a mask `a.png` is of neither.
        self.names = list(map(ImageName, without_suffixes([Path(file) for file in files]), files))
        self.description = "Results: a COCO file; where objects overlap, pixels belong to the one of the higher score."

    def read(self, index: int) -> Regions:
        """Return the regions of an image."""
        return self._results.regions(self._results.images[index])


def open_results(path: Path, images: CocoFile | None = None) -> FoundResults:
    """Open the results of a program.

    Args:
        path: a folder of astseg's results or of label images, or a COCO file.
        images: names the images of a COCO file that does not.

    Raises:
        AstSegError: there are no results, or they cannot be read.
    """
    if not path.exists():
        raise AstSegError(f"There is no file or folder {path}.")
    if path.suffix.lower() == COCO_SUFFIX:
        return CocoFound(path, images)
    if not path.is_dir() or Store.is_store(path):
        raise AstSegError(
            f"Results are a folder of label images or a COCO file ({COCO_SUFFIX}), and {path} is neither. Name the "
            "results first, and then what is true."
        )
    refuse_shards(path)
    if holds_results(path):
        return OwnResults(path)
    return LabelImages(path)
