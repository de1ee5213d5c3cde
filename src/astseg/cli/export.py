"""``astseg export``: prepare a trained model for publication, or for programs without torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astseg.cli._console import messages, output
from astseg.cli._models import check_trained, open_model
from astseg.cli._options import Device, Rule, find_device
from astseg.cli._progress import progress

if TYPE_CHECKING:
    import torch


def export(
    model: Annotated[
        str,
        typer.Argument(help="The folder of a training run. With --onnx also a model's folder or its name."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The folder to create, by default exported; with --onnx the file to write, by default exported.onnx.",
        ),
    ] = None,
    onnx: Annotated[
        bool,
        typer.Option(
            "--onnx",
            help="Write one ONNX file in place of a folder: networks and label rule as a graph that runs without "
            "torch, on images of the model's size. Needs pip install 'astseg[onnx]'.",
        ),
    ] = False,
    rule: Rule = None,
    device: Device = "auto",
) -> None:
    """Prepare a trained model for publication: in half precision, with a model card that says where it comes from.

    Writes config.json, model.safetensors and README.md, as the model hub expects them. If the data has masks, the model
    is scored again in half precision, and the card holds the scores before and after. With --onnx, writes a file for
    programs without torch instead; such a file cannot divide slots that hold two objects.

    ```
    astseg export my-run --out my-model
    astseg export my-run --onnx --rule division_likeness=0 --out my-model.onnx
    ```
    """
    if onnx:
        if device != "auto":
            raise typer.BadParameter("Nothing is computed for ONNX: omit it.", param_hint="--device")
        _write_onnx(model, out or Path("exported.onnx"), rule)
    elif rule:
        raise typer.BadParameter("A folder keeps the rule of its model: with --onnx alone.", param_hint="--rule")
    else:
        _write_folder(Path(model), out or Path("exported"), find_device(device))


def _write_onnx(model: str, out: Path, rule: list[str] | None) -> None:
    import torch

    from astseg._core.atomic_io import check_free
    from astseg.hub.onnx_export import check_onnx, export_onnx

    check_onnx(out)
    check_free(out)
    loaded = open_model(model, torch.device("cpu"), rule)  # nothing is computed
    with messages.status("Translating the model..."):
        export_onnx(loaded, out, model)
    height, width = loaded.image_size
    size = out.stat().st_size / 1e6
    output.print(f"Model: {out} ({size:.1f} MB; images of {height} x {width}, K = {loaded.num_slots})", markup=False)


def _write_folder(run: Path, out: Path, device: "torch.device") -> None:
    from astseg.cli._scores import print_scores
    from astseg.hub.exporting import export_model

    check_trained(run)
    with progress("Scoring", "images") as show:
        scores = export_model(run, out, device, show)
    if scores is not None:
        print_scores(scores)
    output.print(f"Model: {out}", markup=False)
