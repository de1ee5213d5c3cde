"""What is true of images that are asked for by name."""

import re
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astseg._core.errors import AstSegError
from astseg.data.regions import Truth


@dataclass(frozen=True)
class ImageName:
    """What an image is called."""

    name: str
    """As in a source: a relative path without suffix, or the number of a frame."""
    file_name: str | None = None
    """Its file below the folder of images, if it is one of its own."""
    counted_from_zero: bool = False
    """Whether the name ends in a number that astseg gave: of a frame, or of an image in an array or a stack."""
    file: Path | None = None
    """Where the file is or was, if that is known; it tells how the camera has turned what is true."""

    @property
    def number(self) -> int | None:
        """The number, counted from 0, of an image of an array or a frame of a video; None if the name is none."""
        match = re.fullmatch(r"(?:.*/)?(\d{6,9})", self.name)
        return int(match[1]) if match else None

    def index_of_mask(self, count: int, place: str) -> int | None:
        """Return which of so many masks, counted from 0, is the image's; None if the image has no number for a name.

        Raises:
            AstSegError: there are fewer masks, so that images and masks do not belong together.
        """
        index = self.number
        if index is not None and index >= count:
            raise AstSegError(
                f"{place} holds {count} masks, counted from 0, and none for {self.name}. "
                "Name the masks of all images, or leave the other images out."
            )
        return index


class TrueImages(ABC):
    """What is true of images that are asked for by name."""

    description: str
    """A sentence on what is taken for true."""
    count: int | None = None
    """The number of images of which something is known; None if only each image tells."""

    def find(self, image: ImageName) -> Truth | None:
        """Return what is true of an image; None if nothing is known.

        Raises:
            AstSegError: it cannot be read, or images and truth do not belong together.
        """
        key = self.key(image)
        return None if key is None else self._read(key, image.file)

    @abstractmethod
    def key(self, image: ImageName) -> Hashable | None:
        """Return what tells an image's truth from that of others; None if nothing is known.

        Raises:
            AstSegError: images and truth do not belong together.
        """

    @abstractmethod
    def _read(self, key: Any, image: Path | None) -> Truth | None:
        """Return the truth of a key, as its image is shown; None if no pixel is to be scored.

        Args:
            key: what `key` returned.
            image: the image's file, if it is known, by which a camera's rotation is known.

        Raises:
            AstSegError: it cannot be read.
        """
