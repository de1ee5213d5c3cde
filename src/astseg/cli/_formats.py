"""Results in the formats of other programs, for the commands that write them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from astseg._core.errors import AstSegError
from astseg.cli._options import parse_categories, parse_names
from astseg.cli._progress import progress

if TYPE_CHECKING:
    from astseg.inference.formats.converting import FormatRequest, WrittenFormat


def parse_request(formats: Sequence[str] | None, categories: str | None, tolerance: float | None) -> "FormatRequest":
    """Return what the options ask for.

    Raises:
        AstSegError: it cannot be written, or an option would have no effect.
    """
    from astseg.inference.formats.converting import FORMATS, FormatRequest

    names = parse_names(",".join(formats or ()))
    if formats is not None and not names:  # such as a variable of the shell that is empty
        raise AstSegError(f"Name a format: {', '.join(FORMATS)}.")
    if categories is not None and not parse_names(categories):
        raise AstSegError("--categories names no kind of object. Name some, such as 1=car,2=bus or 4, or omit it.")
    request = FormatRequest(names, parse_categories(categories))
    if tolerance is None:
        return request
    if "yolo" not in request.formats:
        raise AstSegError("--tolerance is for the outlines of --format yolo. Name this format, or omit --tolerance.")
    return replace(request, tolerance=tolerance)


def convert_with_bar(results: Path, request: "FormatRequest", images: Path | None = None) -> list["WrittenFormat"]:
    """Write results in other formats under a progress bar."""
    from astseg.inference.formats.converting import convert_results

    with progress("Converting", "images") as show:
        return convert_results(results, request, images, show)


def describe_formats(written: Sequence["WrittenFormat"]) -> list[str]:
    """Return lines that say where the formats are and what they lost."""
    lines = [(f"{one.format}: {one.path}", f"  {one.note}" if one.note else "") for one in written]
    return [line for pair in lines for line in pair if line]
