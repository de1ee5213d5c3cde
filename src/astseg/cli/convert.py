"""``astseg convert``: results in the formats of other programs."""

from pathlib import Path
from typing import Annotated

import typer

from astseg.cli._formats import convert_and_report, parse_request
from astseg.cli._options import Categories, Formats, Tolerance


def convert(
    results: Annotated[Path, typer.Argument(help="A folder that astseg segment wrote.")],
    formats: Formats,
    categories: Categories = None,
    tolerance: Tolerance = 0.5,
    images: Annotated[
        Path | None,
        typer.Option(help="Where the images are now, for yolo and cutouts. By default where they were segmented."),
    ] = None,
) -> None:
    """Write masks for other tools: COCO, YOLO, CVAT, MOTS, Label Studio, cut-outs, Parquet, grey label images.

    Each goes into a folder in the results that has the format's name. Nothing is segmented again, and the label images
    are what counts: corrected ones are converted as they are.

    ```
    astseg convert masks --format coco,yolo
    astseg convert masks --format coco --categories 1=car,2=car,3=person
    astseg convert masks --format cutouts --categories 4 --images moved-images/
    ```
    """
    convert_and_report(results, parse_request(formats, categories, tolerance), images)
