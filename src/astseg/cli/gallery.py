"""``astseg gallery``: draw sample grids like the paper's."""

from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import format_count, messages, output
from astseg.cli._models import open_segmenter
from astseg.cli._options import Device, Model, find_device


def gallery(
    model: Model,
    data: Annotated[Path, typer.Argument(help="Prepared data.")],
    split: Annotated[str, typer.Option(help="The split to draw.")] = "test",
    out: Annotated[Path, typer.Option("--out", "-o", help="The image to write.")] = Path("gallery.png"),
    count: Annotated[int, typer.Option(help="The number of images, from the start of the split.", min=1)] = 16,
    slots: Annotated[
        bool, typer.Option("--slots", help="Draw whole rows: truth, reconstruction, background and every slot.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Draw sample grids like the paper's: images beside their segmentations.

    ```
    astseg gallery my-run my-data --out samples.png
    ```
    """
    import numpy as np
    from PIL import Image

    from astseg._core.atomic_io import atomic_write, check_free
    from astseg.data.store import Store
    from astseg.visualization.gallery import draw_pairs, draw_samples, sample

    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise AstSegError(f"The name of the image should end in .png or the like, not '{out.name}'.")
    check_free(out)
    where = find_device(device)
    chosen = Store(data)[split]
    segmenter = open_segmenter(model, where)
    with messages.status("Drawing..."):
        samples = []
        for start in range(0, min(count, len(chosen)), 16):
            some = slice(start, min(start + 16, count))
            truths = chosen.masks_to_show(some)
            samples += sample(segmenter, np.array(chosen.images[some]), truths)
        pairs = [(one.image, one.labels) for one in samples]
        grid = draw_samples(samples) if slots else draw_pairs({"": pairs})
        with atomic_write(out, follow_link=True) as partial:
            try:
                grid.save(partial)
            except (ValueError, OverflowError, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of the format
                    raise AstSegError(f"Cannot write {out}: {error.strerror}.") from error
                size = f"{grid.height} x {grid.width}"
                raise AstSegError(
                    f"An image of {size} pixels cannot be written as {out}: {error}. Take .png, or fewer images."
                ) from error
    output.print(f"{format_count(len(samples), 'image')}: {out}", markup=False)
