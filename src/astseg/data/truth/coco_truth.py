"""True instances in a COCO file."""

from pathlib import Path

from astseg.data.coco import CocoFile
from astseg.data.regions import Truth
from astseg.data.truth.true_images import ImageName, TrueImages


class CocoTruth(TrueImages):
    """COCO's instances.

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

    def find(self, image: ImageName) -> Truth | None:
        """Return the instances of an image whose name, or its end, is that of the file."""
        names = [name for name in (image.file_name, image.name) if name is not None]
        # An image whose name has its suffix has a twin with another, which may be the one that the file means.
        found = self.file.find(names, same_suffix=image.file_name == image.name)
        return None if found is None else self.file.truth(found)
