"""One table of all objects, with their pixels as COCO's RLE."""

from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from astseg._core.errors import AstSegError
from astseg._core.text import as_utf8
from astseg.inference.formats.writer import FormatWriter, FoundImage

ROWS_PER_GROUP = 10_000
"""Rows that are kept until they are written together."""


def check_pyarrow() -> None:
    """Raise if the library that writes Parquet is not installed.

    Raises:
        AstSegError: it is not.
    """
    if find_spec("pyarrow") is None:
        raise AstSegError("Parquet needs the package pyarrow: pip install 'astseg[parquet]'.")


class ParquetWriter(FormatWriter):
    """Writes objects.parquet: a row for each object; images without one have none."""

    main_file = "objects.parquet"

    def __enter__(self) -> Self:
        self._arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        whole, number, text = self._arrow.int32(), self._arrow.float64(), self._arrow.string()
        columns = {"image": text, "file_name": text, "width": whole, "height": whole, "time": number}
        columns |= {"label": whole, "category": text, "left": whole, "top": whole, "box_width": whole}
        columns |= {"box_height": whole, "area": whole, "rle": text, "activation": number}
        columns |= {"appearance": self._arrow.list_(number)}
        self._schema = self._arrow.schema(list(columns.items()))
        self._rows: list[dict[str, Any]] = []
        self._file = parquet.ParquetWriter(self.path(self.main_file), self._schema)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write_rows()
        self._file.close()

    def append(self, image: FoundImage) -> None:
        """Add the image's rows."""
        height, width = image.labels.shape
        name, file_name = as_utf8(image.name), as_utf8(image.file_name)
        for found in image.objects:
            left, top, box_width, box_height = found.box
            self._rows.append(
                {
                    "image": name,
                    "file_name": file_name,
                    "width": width,
                    "height": height,
                    "time": image.time,
                    "label": found.label,
                    "category": self.categories[found.category],
                    "left": left,
                    "top": top,
                    "box_width": box_width,
                    "box_height": box_height,
                    "area": found.area,
                    "rle": image.rle(found)["counts"],
                    "activation": found.activation,
                    "appearance": found.appearance,
                }
            )
        if len(self._rows) >= ROWS_PER_GROUP:
            self._write_rows()

    def _write_rows(self) -> None:
        self._file.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()
