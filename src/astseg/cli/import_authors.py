"""``astseg import-authors``: the paper authors' checkpoints as models of this program."""

from pathlib import Path
from typing import Annotated

import typer

from astseg.cli._console import messages, output


def import_authors(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth file of the authors' program or of AE-NE.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")],
    preset: Annotated[
        str,
        typer.Option(help="What was trained, as 'astseg presets' calls it; a background alone takes any of its data."),
    ],
    background: Annotated[
        Path | None, typer.Option(help="The file of the background, where it was frozen and is not in the checkpoint.")
    ] = None,
) -> None:
    """Turn a checkpoint of the paper's authors into a model that computes the same.

    ```
    astseg import-authors checkpoint.pth --preset clevrtex --out clevrtex-model
    ```

    K, the dimension of z_what, the kind of the background and the size of natural video are read from the file.
    """
    from astseg._core.atomic_io import atomic_folder
    from astseg.authors import convert_authors_checkpoint

    with messages.status("Reading..."), atomic_folder(out) as folder:
        conversion = convert_authors_checkpoint(checkpoint, preset, background=background)
        conversion.model.save_pretrained(folder)
    for note in conversion.notes:
        output.print(note, markup=False)
    output.print(f"Model: {out}", markup=False)
