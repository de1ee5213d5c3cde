"""What is true of images that are asked for by name."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from astseg.data.regions import Truth


@dataclass(frozen=True)
class ImageName:
    """What an image is called."""

    name: str
    """As in a source: a relative path without suffix, or the number of a frame."""
    file_name: str | None = None
    """Its file below the folder of images, if it is one of its own."""
    in_video: bool = False
    """Whether it is a frame of a video, counted from 0."""

    @property
    def number(self) -> int | None:
        """The number, counted from 0, of an image of an array or a frame of a video; None if the name is none."""
        match = re.fullmatch(r"(?:.*/)?(\d{6,9})", self.name)
        return int(match[1]) if match else None


class TrueImages(ABC):
    """What is true of images that are asked for by name."""

    description: str
    """A sentence on what is taken for true."""

    @abstractmethod
    def find(self, image: ImageName) -> Truth | None:
        """Return what is true of an image; None if nothing is known.

        Raises:
            AstSegError: it cannot be read.
        """
