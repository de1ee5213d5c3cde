"""True instances in a COCO file."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from astseg.data.coco import CocoFile
from astseg.data.regions import Truth
from astseg.data.truth.true_images import ImageName, TrueImages


class CocoTruth(TrueImages):
    """COCO's instances of the images whose name, or its end, is that of the file.

    Raises:
        AstSegError: see `CocoFile`.
    """

    description = (
        "Truth: COCO's instances, whatever their category; pixels of crowds are not scored. "
        "Where instances overlap, pixels belong to the smaller one."
    )

    def __init__(self, path: Path) -> None:
        self.file = CocoFile(path)
        self.count = len(self.file.images)

    def key(self, image: ImageName) -> Hashable | None:
        """Return the number of the image in the file; None if it has none of that name, or several."""
        found = None
        if image.file_name is not None:
            # An image whose name has its suffix has a twin with another, which may be the one that the file means.
            found = self.file.find(image.file_name, same_suffix=image.file_name == image.name)
        if found is None:
            found = self.file.find(image.name, same_suffix=True)  # it has none to leave out
        return None if found is None else found.id

    def _read(self, key: Any) -> Truth:
        return self.file.truth(self.file.images[key])
