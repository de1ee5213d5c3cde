"""Results in the formats of other programs, for the commands that write them."""

from pathlib import Path
from typing import TYPE_CHECKING

from astseg.cli._console import output
from astseg.cli._options import parse_categories, parse_names
from astseg.cli._progress import progress

if TYPE_CHECKING:
    from astseg.inference.formats.converting import FormatRequest


def parse_request(formats: str, categories: str | None, tolerance: float) -> "FormatRequest":
    """Return what the options ask for.

    Raises:
        AstSegError: it cannot be written.
    """
    from astseg.inference.formats.converting import FormatRequest

    return FormatRequest(parse_names(formats), parse_categories(categories), tolerance)


def convert_and_report(results: Path, request: "FormatRequest", images: Path | None = None) -> None:
    """Write results in other formats under a progress bar, and print where they are and what they lost."""
    from astseg.inference.formats.converting import convert_results

    with progress("Converting", "images") as show:
        written = convert_results(results, request, images, show)
    for one in written:
        output.print(f"{one.format}: {one.path}", markup=False)
        if one.note:
            output.print(f"  {one.note}", markup=False)
