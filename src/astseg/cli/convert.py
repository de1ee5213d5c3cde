"""``astseg convert``: results in the formats of other programs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import print_result
from astseg.cli._formats import convert_with_bar, describe_formats, parse_request
from astseg.cli._options import AsJson, Categories, Formats, Quiet, Tolerance


def convert(
    results: Annotated[Path, typer.Argument(help="A folder that astseg segment wrote.")],
    formats: Formats,
    categories: Categories = None,
    tolerance: Tolerance = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Where the images are now, for yolo, cutouts and labelstudio. By default where they were segmented."
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write masks for other tools: COCO, YOLO, CVAT, MOTS, Label Studio, cut-outs, Parquet, grey label images.

    Each goes into a folder in the results that has the format's name. Nothing is segmented again, and the label images
    are what counts: corrected ones are converted as they are, if they have no new labels.

    ```
    astseg convert masks --format coco,yolo
    astseg convert masks --format coco --categories 1=car,2=car,3=person
    astseg convert masks --format cutouts --categories 4 --images moved-images/
    ```
    """
    request = parse_request(formats, categories, tolerance)
    if images is not None and request.formats and not request.uses_images:
        raise AstSegError(
            "--images is for yolo, cutouts and labelstudio, which hold the images or name their folder. "
            "Name one of these formats, or omit --images."
        )
    if images is not None and not images.exists():
        raise AstSegError(f"There is no file or folder {images}. Say by --images where the images are now.")
    written = convert_with_bar(results, request, images)
    facts = {"results": results, "formats": list(map(asdict, written))}
    print_result(describe_formats(written), facts, as_json=as_json)
