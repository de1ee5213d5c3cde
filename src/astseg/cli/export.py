"""``astseg export``: prepare a trained model for publication."""

from pathlib import Path
from typing import Annotated

import typer

from astseg.cli._console import output
from astseg.cli._models import check_trained
from astseg.cli._options import Device, Out, find_device
from astseg.cli._progress import progress


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a training run.")],
    out: Out = Path("exported"),
    device: Device = "auto",
) -> None:
    """Prepare a trained model for publication: in half precision, with a model card that says where it comes from.

    Writes config.json, model.safetensors and README.md, as the model hub expects them. If the data has masks, the model
    is scored again in half precision, and the card holds the scores before and after.

    ```
    astseg export my-run --out my-model
    ```
    """
    from astseg.cli._scores import print_scores
    from astseg.hub.exporting import export_model

    check_trained(run)
    with progress("Scoring", "images") as show:
        scores = export_model(run, out, find_device(device), show)
    if scores is not None:
        print_scores(scores)
    output.print(f"Model: {out}", markup=False)
