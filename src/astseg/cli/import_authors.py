"""``astseg import-authors``: convert checkpoints of the paper's authors."""

from pathlib import Path
from typing import Annotated

import typer

from astseg.cli._console import messages, output
from astseg.cli._options import Out


def import_authors(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth file of the authors' program or of AE-NE.")],
    out: Out,
    preset: Annotated[
        str,
        typer.Option(help="The preset that was trained; see 'astseg presets'. A background takes any of its data."),
    ],
    background: Annotated[
        Path | None, typer.Option(help="The file of the background, if it was frozen and is not in the checkpoint.")
    ] = None,
) -> None:
    """Convert a checkpoint of the paper's authors into a model that computes the same.

    ```
    astseg import-authors checkpoint.pth --preset clevrtex --out clevrtex-model
    ```

    K, the dimension of z_what, the background network and the size of natural video are read from the file.
    """
    from astseg._core.atomic_io import atomic_folder
    from astseg.authors import convert_authors_checkpoint

    with messages.status("Reading..."), atomic_folder(out) as folder:
        conversion = convert_authors_checkpoint(checkpoint, preset, background=background)
        conversion.model.save_pretrained(folder)
    for note in conversion.notes:
        output.print(note, markup=False)
    output.print(f"Model: {out}", markup=False)
