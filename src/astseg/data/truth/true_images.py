"""What is true of images that are asked for by name."""

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
