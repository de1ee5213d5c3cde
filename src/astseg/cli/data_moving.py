"""``astseg data moving``: generate sequences of moving objects."""

from typing import Annotated

import typer

from astseg.cli._console import output
from astseg.cli._options import Destination
from astseg.cli._progress import counting_progress


def moving(
    out: Destination,
    sequences: Annotated[int, typer.Option(help="The number of sequences.", min=1)] = 10,
    frames: Annotated[int, typer.Option(help="The number of frames of each.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Another seed gives other sequences.", min=0)] = 0,
    size: Annotated[int, typer.Option(help="Height and width in pixels.")] = 64,
) -> None:
    """Generate sequences of objects that cross, hide each other, enter and leave, with exact masks.

    Of each sequence, images/ has the frames and masks/ their masks, in which an object has the same number throughout.

    ```
    astseg data moving my-sequences --sequences 10 --frames 100
    astseg segment clevr my-sequences/000 --track --out tracks
    ```
    """
    from astseg.data.scenes.sequence_files import write_sequences

    with counting_progress("Rendering sequences", "images", sequences * frames) as add:
        write_sequences(out, sequences, frames, seed, size, add)
    output.print(f"Sequences: {out}", markup=False)
