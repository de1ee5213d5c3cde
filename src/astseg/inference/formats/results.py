"""Reading a folder of results back, image by image; `astseg.inference.writers` says what is in it.

objects.json may have been written anew by another program: with other spaces, another order of keys, further keys, or
without those that a format does not need. It must then fit into memory.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from astseg._core.checksums import pixels_crc32
from astseg._core.errors import AstSegError, ImagesNotFoundError, ResultsNotFoundError
from astseg._core.file_names import LABELS_FOLDER, OBJECTS_FILE, SHARDS_FILE
from astseg._core.image_files import Bytes, open_image, read_image
from astseg._core.input_files import MAX_JSON_BYTES, parse_json, read_json
from astseg._core.settings_io import LARGEST_NUMBER
from astseg.data.folders import holds_results
from astseg.data.several import open_sources
from astseg.data.sources import Sample
from astseg.data.store import MAX_LABELS

IMAGE_SUFFIX = ".png"
"""Of the file name that an image is given if it is not a file of its own, such as a frame of a video."""
Kind = TypeVar("Kind")
Side = Annotated[int, Meta(ge=1)]
Finite = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
"""JSON as Python writes it also has NaN and Infinity."""
Coordinate = Annotated[float, Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
"""Of an appearance: a number whose square is one too, as distances need."""


class ObjectRecord(msgspec.Struct, frozen=True):
    """What objects.json says of an object, beside what its pixels say."""

    label: Annotated[int, Meta(ge=1, le=MAX_LABELS)]
    activation: Finite | None = None
    appearance: list[Coordinate] = []
    track: Annotated[int, Meta(ge=1)] | None = None
    """The number of its track, if objects were followed; the label is then the track's, not the slot's."""
    slot: Annotated[int, Meta(ge=1, le=MAX_LABELS)] | None = None
    """The slot that found it, if the label does not tell."""
    area: int | None = None
    """How many pixels it had when it was found; somebody may have corrected the labels since."""

    @property
    def found_by(self) -> int:
        """The slot that found it."""
        return self.label if self.slot is None else self.slot


class ImageRecord(msgspec.Struct, frozen=True):
    """What objects.json says of an image."""

    name: str
    width: Side
    height: Side
    objects: list[ObjectRecord]
    time: Finite | None = None
    file_name: str | None = None
    """The path of its file below the folder of images; None if it is not a file of its own, or the results are old."""
    crc32: int | None = None
    """Of the pixels of that file as they were segmented."""


class Head(msgspec.Struct, frozen=True):
    """What objects.json says of all images."""

    source: str = ""
    """A file or folder; of several, the folder that holds them; empty if unknown."""
    slots: Annotated[int, Meta(ge=1, le=MAX_LABELS)] | None = None
    """K of the model; None if labels are no slots, but objects that were joined from tiles."""
    split: str | None = None
    """Of prepared data."""
    model: str | None = None
    astseg: str | None = None
    """The version of the program."""
    commit: str | None = None
    sources: list[str] = []
    """Of several, all of them."""
    digests: dict[str, str] = {}
    """Of the files of a shard; see `astseg.inference.sharding`."""


class _Whole(Head, frozen=True, kw_only=True):
    """All of objects.json."""

    images: list[ImageRecord]


@dataclass(frozen=True)
class Results:
    """A folder of results."""

    folder: Path
    head: Head
    rewritten: Sequence[ImageRecord] | None = None
    """What an objects.json that another program has written says of the images."""

    def records(self) -> Iterator[ImageRecord]:
        """Yield what objects.json says of each image; only one is in memory, unless another program wrote the file.

        Raises:
            AstSegError: the file is damaged, or the name of an image leads out of the folder.
        """
        path = self.folder / OBJECTS_FILE
        for record in _read_lines(path) if self.rewritten is None else self.rewritten:
            for name in (record.name, record.file_name):
                if name is not None and not _stays_inside(name):
                    raise AstSegError(f"{path} names an image '{name}', which is not a path below a folder.")
            yield record

    def labels(self, record: ImageRecord) -> Bytes:
        """Read the label image of an image: H x W, 0 is the background.

        Raises:
            AstSegError: it cannot be read, or is not of the image's size.
        """
        path = self.folder / LABELS_FOLDER / f"{record.name}.png"
        with open_image(path, ("PNG",)) as image:
            if image.size != (record.width, record.height) or image.mode not in ("L", "P"):
                raise AstSegError(
                    f"should have {record.height} x {record.width} pixels with 8-bit labels, "
                    f"not {image.height} x {image.width} of mode {image.mode}."
                )
            labels: Bytes = np.array(image)
        return labels

    def images(
        self, place: Path | None = None, *, may_lack: bool = False, samples: Iterable[Sample] | None = None
    ) -> Iterator[Bytes | None]:
        """Yield the images themselves, H x W x 3 RGB, in the order of the records.

        Args:
            place: where the source is now, or the folder that holds its file; by default where it was. Only there must
                its pixels be the same: elsewhere it may have been edited on purpose, or be read by another version of
                a library.
            may_lack: yield None for an image that is no longer there, has another size or was written anew.
            samples: those of the source that hold the images, if they are fewer than all.

        Raises:
            AstSegError: the source is not there or no longer holds these images, unless they may be lacking; or it is
                unknown where it was.
        """
        if place is not None:
            source = self._source_in(place)
            names = [str(source)]
        elif self.head.source:
            source = Path(self.head.source)
            names = self.head.sources or [self.head.source]
        else:
            raise ImagesNotFoundError(f"{self.folder} does not tell where its images are. Say where they are now.")
        missing = next((name for name in names if not Path(name).exists()), None)
        if missing is not None and not may_lack:
            raise ImagesNotFoundError(f"The images of {self.folder} are not in {missing}. Say where they are now.")
        places, split = list(map(Path, names)), self.head.split or "test"
        by_name = _ImagesByName(lambda: open_sources(places, split) if samples is None else samples)
        for record in self.records():
            image = self._read_image(record, source, by_name, may_lack=may_lack)
            problem = _find_difference(image, record, source, may_be_edited=place is not None)
            if problem is not None and not may_lack:
                raise ImagesNotFoundError(f"{record.name} of {self.folder} {problem}")
            yield image if problem is None else None

    def _source_in(self, place: Path) -> Path:
        """Return the source in the place it was moved to: its single file, if that lies there, or else the place."""
        file = place / Path(self.head.source).name
        return file if len(self.head.sources) <= 1 and file.is_file() else place

    def _read_image(
        self, record: ImageRecord, source: Path, by_name: "_ImagesByName", *, may_lack: bool
    ) -> Bytes | None:
        """Return an image from its own file, or else by its name; None if it is not there.

        Raises:
            AstSegError: it cannot be read, unless it may be lacking.
        """
        file = self.image_file(record, source)
        try:
            if file is not None and file.is_file():
                return read_image(file)
            has_gone = file is not None and may_lack  # to look for its name, all images would be read
            return None if has_gone else by_name.find(record.name)
        except AstSegError:
            if not may_lack:
                raise
            return None

    def image_file(self, record: ImageRecord, place: Path | None = None) -> Path | None:
        """Return the file of an image; None if it is not a file of its own.

        Args:
            record: the image.
            place: where the source is now; by default where it was.
        """
        place = place or Path(self.head.source)
        if record.file_name is None:
            return None
        # The folder need not be there: most formats only name the images.
        return (place.parent if place.name == record.file_name else place) / record.file_name


class _ImagesByName:
    """Images of sources, found by name: in one pass if they are asked for in their order.

    Of a video, frames may have been left out, and the animations of a folder may have come in another order.

    Args:
        open_samples: returns what yields the images, from the first on.
    """

    def __init__(self, open_samples: Callable[[], Iterable[Sample]]) -> None:
        self._open_samples = open_samples
        self._samples: Iterator[Sample] | None = None
        self._passed: set[str] = set()
        """The folders of the names that were passed, of which a video has but one."""

    def find(self, name: str) -> Bytes | None:
        """Return the next image of a name; None if there is none.

        Raises:
            AstSegError: the sources are not there, or nothing in them can be read.
        """
        found = None if self._samples is None else self._find_among(self._samples, name)
        if found is None and (self._samples is None or _folder(name) in self._passed):
            self._samples = iter(self._open_samples())
            found = self._find_among(self._samples, name)
        return found

    def _find_among(self, samples: Iterator[Sample], name: str) -> Bytes | None:
        for sample in samples:
            self._passed.add(_folder(sample.name))
            if sample.name == name:
                return sample.image
        return None


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _find_difference(image: Bytes | None, record: ImageRecord, source: Path, *, may_be_edited: bool) -> str | None:
    """Tell by what an image is not the one that was segmented, as the end of a sentence; None if it is.

    Args:
        image: what was found, if anything.
        record: what objects.json says of the image.
        source: where it was looked for.
        may_be_edited: whether its pixels may be others.
    """
    if image is None:
        return f"is not there in {source}. Say where the images are."
    if image.shape[:2] != (record.height, record.width):
        return f"has another size in {source}. Say where the images are."
    if not may_be_edited and record.crc32 not in (None, pixels_crc32(image)):
        return f"has other pixels in {source} than were segmented. Segment it anew, or say where the images are."
    return None


def read_results(folder: Path) -> Results:
    """Open a folder of results.

    Raises:
        AstSegError: it is none, or its objects.json is damaged.
    """
    path = folder / OBJECTS_FILE
    refuse_shards(folder)
    if not holds_results(folder):
        raise ResultsNotFoundError(f"{folder} holds no results: {OBJECTS_FILE} and {LABELS_FOLDER}/ should be in it.")
    head = read_head(path)
    if head is not None:
        return Results(folder, head)
    with _damage_told(path):
        whole = msgspec.convert(_with_integers(read_json(path)), _Whole)
    return Results(folder, whole, whole.images)


def read_head(path: Path) -> Head | None:
    """Read what an objects.json says of all images; return None if another program has written it.

    Raises:
        AstSegError: it is not there, or damaged.
    """
    with _damage_told(path), path.open(encoding="utf-8-sig", errors="replace") as file:
        first, second = file.readline(MAX_JSON_BYTES), file.read(1)
    own = first.endswith('"images": [\n') and second in ("{", "]")
    return _parse(first + "]}", Head, path) if own else None


def refuse_shards(folder: Path) -> None:
    """Raise if a folder holds several folders of results.

    Raises:
        AstSegError: it does.
    """
    if (folder / SHARDS_FILE).is_file():
        raise AstSegError(f"{folder} holds results in shards. Name one of them, such as {folder / 'shard-00000'}.")


def _read_lines(path: Path) -> Iterator[ImageRecord]:
    """Read the images of an objects.json of astseg's own, one from each line, so that it need not fit into memory."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        next(file)
        for line in takewhile(lambda line: not line.startswith("]"), file):
            yield _parse(line.rstrip(",\n"), ImageRecord, path)


def _parse(line: str, kind: type[Kind], path: Path) -> Kind:
    with _damage_told(path):
        return msgspec.convert(parse_json(line), kind)  # whose own parser refuses file names that are not valid UTF-8


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise AstSegError(f"{path} is damaged, or lacks what is needed: {error}.") from error


def _with_integers(content: Any) -> Any:
    """Return JSON with integers for numbers such as 5.0, which programs without integers write."""
    if isinstance(content, dict):
        return {key: _with_integers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_with_integers(value) for value in content]
    return int(content) if isinstance(content, float) and content.is_integer() else content


def _stays_inside(name: str) -> bool:
    path = PurePath(name)
    return bool(path.parts) and not path.is_absolute() and not path.drive and ".." not in path.parts
