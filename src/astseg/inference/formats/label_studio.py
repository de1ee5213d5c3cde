"""Label Studio's tasks with predictions by brush."""

import json
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from astseg._core.text import ENCODING_ERRORS
from astseg.inference.formats.writer import FormatWriter, FoundImage

IMAGE_TAG, BRUSH_TAG = "image", "objects"
"""The names by which tasks refer to the tags of the configuration."""
WORD_BITS = 8
RUN_BITS = (4, 8, 12, 16)
"""The four sizes that the length of a run may take."""
CHANNELS = 4
OPAQUE = 255


class LabelStudioWriter(FormatWriter):
    """Writes tasks.json, and config.xml, whose names the tasks refer to."""

    main_file = "tasks.json"
    names_images = True

    def __enter__(self) -> Self:
        labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in self.categories)
        self.path("config.xml").write_text(
            f'<View>\n  <Image name="{IMAGE_TAG}" value="$image" zoom="true"/>\n'
            f'  <BrushLabels name="{BRUSH_TAG}" toName="{IMAGE_TAG}">\n{labels}  </BrushLabels>\n</View>\n',
            encoding="utf-8",
        )
        self._file = self.path(self.main_file).open("w", encoding="utf-8", errors=ENCODING_ERRORS)
        self._file.write("[")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._file.write("\n]\n")

    def append(self, image: FoundImage) -> None:
        """Write the image's task."""
        height, width = image.labels.shape
        regions = [
            {
                "id": f"{image.number}-{found.label}",
                "type": "brushlabels",
                "from_name": BRUSH_TAG,
                "to_name": IMAGE_TAG,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": list(encode_brush(image.labels == found.label)),
                    "brushlabels": [self.categories[found.category]],
                },
            }
            for found in image.objects
        ]
        task = {
            "data": {"image": self._address(image)},
            "predictions": [{"model_version": self.head.model or "astseg", "result": regions}],
        }
        self._file.write(("," if image.number > 1 else "") + "\n" + json.dumps(task, ensure_ascii=False))

    def _address(self, image: FoundImage) -> str:
        """Return the address of a file in a folder below Label Studio's root for local files."""
        folder = "images"  # as the frames of a video would be kept
        if image.file is not None:
            depth = len(PurePosixPath(image.file_name).parts)
            folder = image.file.absolute().parents[depth - 1].name
        return "/data/local-files/?d=" + quote(str(PurePosixPath(folder, image.file_name)), errors="surrogateescape")


def encode_brush(mask: npt.NDArray[np.bool_]) -> bytes:
    """Encode a mask as Label Studio's brush: RGBA values by row, in the bits of thi.ng's ``rle-pack``.

    The program's own decoder defines the format: 32 bits with the number of values, 5 with the bits of a value, 4 x 4
    with the bits of a length, all but the first less one; then for each run a bit 1, two bits that choose one of the
    four lengths, the run's length less one, and its value. Zeros fill the last byte.

    Args:
        mask: height x width.
    """
    values = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    lengths = CHANNELS * np.diff([*starts, len(values)])
    bits = [f"{CHANNELS * len(values):032b}{WORD_BITS - 1:05b}", *(f"{size - 1:04b}" for size in RUN_BITS)]
    for length, value in zip(lengths.tolist(), values[starts].tolist(), strict=True):
        while length:
            run = min(length, 1 << RUN_BITS[-1])
            index = next(index for index, size in enumerate(RUN_BITS) if run <= 1 << size)
            bits.append(f"1{index:02b}{run - 1:0{RUN_BITS[index]}b}{OPAQUE * value:0{WORD_BITS}b}")
            length -= run
    joined = "".join(bits)
    count = -(-len(joined) // 8)
    return int(joined.ljust(8 * count, "0"), 2).to_bytes(count, "big")
