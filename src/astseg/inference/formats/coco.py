"""COCO's instances, and CVAT's form of it."""

import json
from types import TracebackType
from typing import Any, ClassVar, Self, TextIO

from astseg._core.text import ENCODING_ERRORS
from astseg.inference.formats.writer import FormatWriter, FoundImage, FoundObject

ANNOTATIONS_SUFFIX = ".annotations"
"""Of the file that holds the annotations until all images are written, because they come after them."""


class CocoWriter(FormatWriter):
    """Writes instances.json: each object is one annotation, in whatever parts, with its pixels as compressed RLE.

    ``iscrowd`` is 0, because detectors leave out what is a crowd, and categories count from 1, because some programs
    refuse 0.
    """

    main_file = "instances.json"

    def __enter__(self) -> Self:
        path = self.path(self.main_file)
        self._file = path.open("w", encoding="utf-8", errors=ENCODING_ERRORS)
        self._rest_path = path.with_suffix(ANNOTATIONS_SUFFIX)
        self._rest: TextIO = self._rest_path.open("w+", encoding="utf-8")
        self._annotations = 0
        info = {
            "description": f"Objects found without labels in {self.head.source or 'images'}",
            "version": self.head.astseg,
            "contributor": "astseg",
            "commit": self.head.commit,
            "model": self.head.model,
        }
        categories = [
            {"id": number, "name": name, "supercategory": "object"} for number, name in enumerate(self.categories, 1)
        ]
        known = {key: value for key, value in info.items() if value}
        head = {"info": known, "licenses": [], "categories": categories}
        self._file.write(_dump(head)[:-1] + ', "images": [')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file, self._rest:
            self._file.write('\n], "annotations": [')
            self._rest.seek(0)
            self._file.writelines(self._rest)
            self._file.write("\n]}\n")
        self._rest_path.unlink()

    def append(self, image: FoundImage) -> None:
        """Write the image's entry, and put its annotations aside."""
        height, width = image.labels.shape
        entry = {"id": image.number, "file_name": image.file_name, "width": width, "height": height}
        self._file.write(("," if image.number > 1 else "") + "\n" + _dump(entry))
        for found in image.objects:
            separator = "," if self._annotations else ""
            self._annotations += 1
            annotation = {
                "id": self._annotations,
                "image_id": image.number,
                "category_id": found.category + 1,
                "segmentation": image.rle(found),
                "area": found.area,
                "bbox": list(found.box),
                "iscrowd": 0,
                **({} if found.track is None else {"track_id": found.track}),
                **self.attributes(found),
            }
            self._rest.write(separator + "\n" + _dump(annotation))

    def attributes(self, found: FoundObject) -> dict[str, Any]:
        """Return what an annotation has beyond COCO's own keys."""
        return {}


class CvatWriter(CocoWriter):
    """Writes CVAT's "COCO 1.0", with the slot as an attribute, and labels.json for the raw form of a task's labels."""

    main_file: ClassVar[str] = "annotations/instances_default.json"

    def __enter__(self) -> Self:
        slot = {
            "name": "slot",
            "input_type": "number",
            "mutable": True,
            "default_value": "0",
            "values": ["0", "255", "1"],
        }
        labels = [{"name": name, "attributes": [slot]} for name in self.categories]
        self.path("labels.json").write_text(json.dumps(labels, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return super().__enter__()

    def attributes(self, found: FoundObject) -> dict[str, Any]:
        """Return the attributes that CVAT shows."""
        known = {"slot": found.slot, "track_id": found.track}
        return {"attributes": {"occluded": False, **{key: value for key, value in known.items() if value is not None}}}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
