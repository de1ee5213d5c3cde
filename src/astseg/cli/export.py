"""``astseg export``: a trained model, ready to hand on."""

from pathlib import Path
from typing import Annotated

import typer

from astseg.cli._console import output
from astseg.cli._models import say_how_far
from astseg.cli._options import Device, find_device
from astseg.cli._progress import progress


def export(
    run: Annotated[Path, typer.Argument(help="A training run's folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")] = Path("exported"),
    device: Device = "auto",
) -> None:
    """Make a trained model ready to be handed on: half as large, with a card that says where it comes from.

    Writes config.json, model.safetensors and README.md, as the model hub expects them. The model is scored again after
    its weights were halved, if the truth is known, and the card holds the scores of both.

    ```
    astseg export my-run --out my-model
    ```
    """
    from astseg.cli._scores import print_scores
    from astseg.hub.exporting import export_model

    say_how_far(run)
    with progress("Scoring", "images") as show:
        scores = export_model(run, out, find_device(device), show)
    if scores is not None:
        print_scores(scores)
    output.print(f"Model: {out}", markup=False)
