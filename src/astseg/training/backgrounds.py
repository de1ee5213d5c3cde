"""The backgrounds of all training images, painted once for the phase on the frozen background."""

from pathlib import Path

import numpy as np
import torch

from astseg._core.atomic_io import atomic_write
from astseg._core.image_conversion import to_uint8_images
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import TrainingImages

BACKGROUNDS_FILE = "backgrounds.npy"
PAINTING_BATCH_SIZE = 128


def frozen_backgrounds(model: AstSeg, images: TrainingImages, folder: Path, *, paint: bool) -> TrainingImages:
    """Return the backgrounds from their file in a folder, which is written if ``paint`` is set or it is missing."""
    path = folder / BACKGROUNDS_FILE
    if paint or not path.is_file():
        with atomic_write(path) as partial:
            paint_backgrounds(model, images, partial)
    return TrainingImages(np.load(path, mmap_mode="r"), images.device)


@torch.no_grad()
def paint_backgrounds(model: AstSeg, images: TrainingImages, path: Path, batch_size: int = PAINTING_BATCH_SIZE) -> None:
    """Write the backgrounds of all images, as painted by the network now: uint8, N x H x W x 3."""
    assert model.background is not None
    model.background.eval()
    shape = (len(images), *model.image_size, 3)
    # Not by a memory map: on a full disk, writing to it would kill the process without an error.
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, len(images), batch_size):
            indices = np.arange(start, min(start + batch_size, len(images)))
            file.write(np.ascontiguousarray(to_uint8_images(model.background(images[indices]).image)).data)
