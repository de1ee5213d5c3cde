"""What every format's writer is given, and must do."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from astseg._core.image_files import Bytes
from astseg.data.regions import encode
from astseg.inference.folder_writer import FolderWriter
from astseg.inference.formats.results import Head


@dataclass(frozen=True)
class FoundObject:
    """An object of an image, by its pixels."""

    label: int
    category: int
    """The index of its category."""
    box: tuple[int, int, int, int]
    """Left, top, width and height of its pixels."""
    area: int
    """How many pixels it has."""
    activation: float | None
    appearance: tuple[float, ...]
    slot: int | None
    """The slot that found it; None if labels are no slots."""
    track: int | None
    """The number of its track, if objects were followed."""


@dataclass(frozen=True, eq=False)
class FoundImage:
    """An image with its objects."""

    number: int
    """1 for the first."""
    name: str
    """Unique, and a relative path without suffix."""
    file_name: str
    """The path of its file below the folder of images, or the name that it would have there."""
    labels: Bytes
    """H x W, 0 is the background."""
    objects: tuple[FoundObject, ...]
    time: float | None
    """Of a video, seconds from the first frame."""
    file: Path | None
    """The file, if it is one of its own."""
    pixels: Bytes | None
    """H x W x 3 RGB, if a writer needs them; a writer that does is not given images without."""

    def mask(self, found: FoundObject) -> npt.NDArray[np.bool_]:
        """Return an object's pixels in its box, height x width."""
        left, top, width, height = found.box
        mask: npt.NDArray[np.bool_] = self.labels[top : top + height, left : left + width] == found.label
        return mask

    def rle(self, found: FoundObject) -> dict[str, Any]:
        """Return an object's pixels as COCO's compressed RLE: ``size``, height and width, and ``counts``, a text."""
        encoded = encode(self._columns == found.label)
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}

    @cached_property
    def _columns(self) -> Bytes:
        """The labels in the order of the RLE, which runs down the columns."""
        return np.asfortranarray(self.labels)


class FormatWriter(FolderWriter):
    """Writes a format image by image: thousands do not fit into memory.

    Args:
        folder: where to write; it exists, and appears to others once all is written.
        head: what is known of all images.
        categories: the names.
        tolerance: by how many pixels an outline may be simplified.
    """

    needs_pixels: ClassVar[bool] = False
    """Whether `FoundImage.pixels` are needed."""
    names_images: ClassVar[bool] = False
    """Whether it says in which folder the images are."""
    main_file: ClassVar[str] = ""
    """The file to name to other programs; empty if it is the folder."""

    def __init__(self, folder: Path, head: Head, categories: tuple[str, ...], tolerance: float) -> None:
        super().__init__(folder)
        self.head = head
        self.categories = categories
        self.tolerance = tolerance

    @abstractmethod
    def append(self, image: FoundImage) -> None:
        """Write an image's objects."""

    @property
    def note(self) -> str | None:
        """A sentence about what was lost, if anything."""
        return None
