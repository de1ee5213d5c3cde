"""The backgrounds of all training images, painted once for the phase on the frozen background."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from astseg._core.atomic_io import atomic_write
from astseg._core.checksums import Sums, damaged_row, read_sums, row_sums, sums_file
from astseg._core.image_conversion import to_uint8_images
from astseg._core.mapped_arrays import map_array
from astseg.data.store import Bytes
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import TrainingImages

BACKGROUNDS_FILE = "backgrounds.npy"
PAINTING_BATCH_SIZE = 128


def frozen_backgrounds(
    model: AstSeg,
    images: TrainingImages,
    folder: Path,
    *,
    paint: bool,
    note: Callable[[str], None] = lambda text: None,
) -> TrainingImages:
    """Return the backgrounds from their file in a folder.

    The file is written if ``paint`` is set, if it is missing, or if it is damaged: the network that painted it is
    frozen, so that the bytes are the same again (on a GPU up to rounding). Its checksums are in a file beside it. A
    file without checksums, as an older astseg wrote it, is used as it is.

    Args:
        model: the model.
        images: the training images.
        folder: where the file is.
        paint: whether to write the file in any case.
        note: told in a sentence if the file is damaged.
    """
    path = folder / BACKGROUNDS_FILE
    found = None
    if path.is_file() and not paint:
        found = _intact_backgrounds(path, (len(images), *model.image_size, 3))
        if found is None:
            note(f"{path} is damaged; the backgrounds are painted again.")
    if found is None:
        with atomic_write(path) as partial:
            sums = paint_backgrounds(model, images, partial)
            with atomic_write(sums_file(path)) as partial_sums:
                partial_sums.write_bytes(sums.tobytes())
        found = map_array(path)
    return TrainingImages(found, images.device)


@torch.no_grad()
def paint_backgrounds(model: AstSeg, images: TrainingImages, path: Path, batch_size: int = PAINTING_BATCH_SIZE) -> Sums:
    """Write the backgrounds of all images, as painted by the network now; return their checksums.

    The file is an array of uint8, N x H x W x 3.
    """
    assert model.background is not None
    model.background.eval()
    shape = (len(images), *model.image_size, 3)
    sums = np.empty(len(images), "<u4")
    # Not by a memory map: on a full disk, writing to it would kill the process without an error.
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, len(images), batch_size):
            indices = np.arange(start, min(start + batch_size, len(images)))
            painted = np.ascontiguousarray(to_uint8_images(model.background(images[indices]).image))
            sums[indices] = row_sums(painted)
            file.write(painted.data)
    return sums


def _intact_backgrounds(path: Path, shape: tuple[int, ...]) -> Bytes | None:
    """Return the backgrounds in a file; None if they have another shape, or if a row that is checked is damaged."""
    try:
        found: Bytes = map_array(path)
        if found.shape != shape or found.dtype != np.uint8:
            return None
        if not sums_file(path).is_file():
            return found
        sums = read_sums(sums_file(path))
    except (OSError, ValueError):
        return None
    return found if len(sums) == len(found) and damaged_row(found, sums) is None else None
