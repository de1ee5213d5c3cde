"""``astseg data make``: generate look-alikes of the benchmarks."""

from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import output
from astseg.cli._inputs import make_scenes
from astseg.cli._options import Destination, Device
from astseg.data.catalog import DATASETS

LOOK_ALIKES = ", ".join(
    name if name == spec.look_alike else f"{name} (or {spec.look_alike})"
    for name, spec in DATASETS.items()
    if spec.look_alike
)
NATURAL = ", ".join(spec.natural_look_alike for spec in DATASETS.values() if spec.natural_look_alike)


def make(
    name: Annotated[
        str,
        typer.Argument(help=f"The benchmark to imitate: {LOOK_ALIKES}; or {NATURAL}, in materials like photographs."),
    ],
    out: Destination,
    train: Annotated[int, typer.Option(help="The number of training images.", min=0)] = 8_000,
    test: Annotated[int, typer.Option(help="The number of test images.", min=0)] = 500,
    seed: Annotated[int, typer.Option(help="Another seed gives other images.", min=0)] = 0,
    size: Annotated[int | None, typer.Option(help="Height and width in pixels; by default the benchmark's.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one for each core.", min=1)] = None,
    textures: Annotated[
        Path | None, typer.Option(help=f"A folder of your own images to be the materials of {NATURAL}.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Generate look-alikes of a benchmark, with exact masks and shadow maps.

    ```
    astseg data make clevr my-clevr --train 10000 --test 500 --size 64
    astseg data make clevrtex-2 gravel-and-grass --textures photographs
    ```

    With --textures, every image in the folder becomes a material, scaled to a square and repeated, so images that tile
    show no seams. All splits use all of them; for materials that no model has seen, make another set from other images.
    """
    counts = {split: count for split, count in (("train", train), ("test", test)) if count}
    if not counts:
        raise AstSegError("No images were requested. Set --train or --test to more than 0.")
    make_scenes(name, out, counts, seed, size, workers, device, textures)
    output.print(f"Data: {out}", markup=False)
