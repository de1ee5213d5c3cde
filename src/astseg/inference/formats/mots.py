"""MOTS: tracks of a video by their pixels (Voigtlaender et al., CVPR 2019)."""

from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from astseg._core.errors import AstSegError, TracksNeededError
from astseg.inference.formats.writer import FormatWriter, FoundImage, FoundObject

CLASS_STEP = 1000
"""An object's number is its class times this, plus its instance."""
IGNORED_CLASS = 10
"""10000 is the benchmark's value of pixels that are not scored, so no class has this number."""
MAX_CLASSES = (1 << 16) // CLASS_STEP - 2
"""Numbers have 16 bits, and classes count from 1."""
MASKS_FOLDER = "instances"
LABELS_FILE = "labels.txt"
IGNORED_NAME = "ignored"
"""Of the line that class 10 would have."""


class MotsWriter(FormatWriter):
    """Writes instances/NNNNNN.png, instances.txt, and instances/labels.txt, where CVAT and Datumaro look for the names.

    Frames count from 0 in the order of the images. A pixel's value, in 16 bits, is the number of its object, which is
    class * 1000 + instance, both from 1 on; or 0. A line of instances.txt is an object of a frame: the frame, the
    object's number, its class, height, width, and COCO's compressed RLE. A track keeps the class in which it was first
    seen. Line k of labels.txt is the name of class k.

    Raises:
        AstSegError: there are too many categories.
    """

    main_file = "instances.txt"

    def __enter__(self) -> Self:
        if len(self.categories) > MAX_CLASSES:
            raise AstSegError(f"MOTS has up to {MAX_CLASSES} kinds of objects, not {len(self.categories)}.")
        names = list(self.categories)
        if len(names) >= IGNORED_CLASS:
            names.insert(IGNORED_CLASS - 1, IGNORED_NAME)
        self.path(MASKS_FOLDER, LABELS_FILE).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        self._file = self.path(self.main_file).open("w", encoding="ascii")
        self._numbers: dict[int, int] = {}
        """Of each track."""
        self._instances = dict.fromkeys(range(len(self.categories)), 0)
        """The latest one of each category."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, image: FoundImage) -> None:
        """Write a frame.

        Raises:
            AstSegError: its objects have no tracks, or a kind has more than 999.
        """
        frame = image.number - 1
        height, width = image.labels.shape
        numbers = np.zeros(256, np.uint16)
        for found in image.objects:
            number = numbers[found.label] = self._number(found)
            counts = image.rle(found)["counts"]
            self._file.write(f"{frame} {number} {number // CLASS_STEP} {height} {width} {counts}\n")
        Image.fromarray(numbers[image.labels]).save(self.path(MASKS_FOLDER, f"{frame:06d}.png"))

    def _number(self, found: FoundObject) -> int:
        """Return the number of an object's track, a new one where it is first seen."""
        if found.track is None:
            raise TracksNeededError("MOTS is for objects that were followed. Segment the video again, with tracks.")
        if found.track not in self._numbers:
            self._instances[found.category] += 1
            instance = self._instances[found.category]
            if instance == CLASS_STEP:
                raise AstSegError(
                    f"MOTS has up to {CLASS_STEP - 1} tracks of a kind; there are more of "
                    f"'{self.categories[found.category]}'. Convert a shorter film."
                )
            self._numbers[found.track] = _class_of(found.category) * CLASS_STEP + instance
        return self._numbers[found.track]


def _class_of(category: int) -> int:
    """Return the number of a category: from 1 on, without that of pixels that are not scored."""
    return category + 1 + (category + 1 >= IGNORED_CLASS)
