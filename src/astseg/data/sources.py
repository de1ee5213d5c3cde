"""What holds images, as people and programs see it: one sample after another. `opening` makes one of a path."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from astseg._core.errors import AstSegError
from astseg._core.image_files import Bytes


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of a source."""

    name: str
    """Unique in its source, and a relative path for result files once a suffix is appended: `holiday/beach`, `000041`.
    Not always the file's own name."""
    image: Bytes
    """H x W x 3, RGB."""
    mask: Bytes | None = None
    """H x W, 0 is the background; see `Source.ignored_label`."""
    mask_problem: str | None = None
    """Why an existing mask cannot be used, as a sentence."""
    time: float | None = None
    """For videos, seconds from the first frame."""
    file_name: str | None = None
    """The path below the source's folder of the file that holds this image alone; None if there is none."""


class Source(ABC):
    """An iterable of images, of which only the current one is in memory.

    It can be iterated repeatedly. Images that cannot be read are left out and named in `skipped`.

    Raises:
        AstSegError: at the end of an iteration, if nothing was readable, unless `may_be_empty`.
    """

    fps: Fraction | None = None
    """For videos, the mean number of frames per second."""
    duration: float | None = None
    """For videos, seconds from the first frame to the end of the last."""
    split: str | None = None
    """Of prepared data, which split."""
    digests: Mapping[str, str] | None = None
    """Of a shard, by what it is known later whether its files have changed."""
    may_be_empty: bool = False
    """Whether an iteration may end without an image that could be read."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = str(path) if name is None else name
        """What messages and results call it."""
        self.places: tuple[Path, ...] = ()
        """Of several places opened as one, all of them; `path` is then the folder that holds them."""
        self.skipped: list[tuple[str, str]] = []
        """(name, reason) of images that the latest iteration could not read."""
        self.left_out: tuple[str, ...] = ()
        """Descriptions of everything there that is not read."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about how images are read, where users may want to know."""
        return ()

    def __iter__(self) -> Iterator[Sample]:
        self.skipped.clear()
        readable = False
        for sample in self._samples():
            readable = True
            yield sample
        if not readable and not self.may_be_empty:
            reasons = f" {self.skipped[0][1]}" if self.skipped else ""
            raise AstSegError(f"Nothing in {self.name} can be read ({len(self.skipped)} tried).{reasons}")

    @abstractmethod
    def _samples(self) -> Iterator[Sample]:
        """Yield the images, and add those that cannot be read to `skipped`."""

    @abstractmethod
    def estimated_length(self) -> int | None:
        """Return the number of images if all are readable; None if counting requires reading them all."""

    def names(self) -> Iterator[tuple[str, str | None]]:
        """Yield `Sample.name` and `Sample.file_name` of all images, as far as known without reading them."""
        return iter(())

    @property
    def has_masks(self) -> bool:
        """Whether every image has its true mask."""
        return False

    @property
    def ignored_label(self) -> int | None:
        """The label, in masks, of pixels that are not scored; None if all are."""
        return None


class EndlessSource(Source):
    """A source whose images come one after another, until it is told to stop; it ends without an error if none came."""

    may_be_empty = True

    def __init__(self, path: Path, name: str | None = None) -> None:
        super().__init__(path, name)
        self.stop: Callable[[], bool] = lambda: False
        """Asked several times a second; the iteration ends once it says so. Set it to what knows when."""

    @property
    def state(self) -> str:
        """What is to be said of the images that have come or not; empty if nothing."""
        return ""

    def estimated_length(self) -> int | None:
        """Return None: nobody knows."""
        return None


def total_length(sources: Iterable[Source]) -> int | None:
    """Add up how many images there are in several sources; None if counting them means reading them."""
    lengths = [source.estimated_length() for source in sources]
    return None if None in lengths else sum(length or 0 for length in lengths)
