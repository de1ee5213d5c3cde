"""The backgrounds of all training images, painted once for the phase that keeps them frozen."""

from pathlib import Path

import numpy as np
import torch

from astseg._core.atomic_io import atomic_write
from astseg._core.image_conversion import to_uint8_images
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import TrainingImages

BACKGROUNDS_FILE = "backgrounds.npy"
PAINTED_AT_ONCE = 128
"""Images whose backgrounds are painted together."""


def frozen_backgrounds(model: AstSeg, images: TrainingImages, folder: Path, *, paint: bool) -> TrainingImages:
    """Return the images' backgrounds as bytes from their file in a folder, painted now if asked or if it is missing."""
    path = folder / BACKGROUNDS_FILE
    if paint or not path.is_file():
        with atomic_write(path) as partial:
            paint_backgrounds(model, images, partial)
    return TrainingImages(np.load(path, mmap_mode="r"), images.device)


@torch.no_grad()
def paint_backgrounds(model: AstSeg, images: TrainingImages, path: Path, batch_size: int = PAINTED_AT_ONCE) -> None:
    """Write the backgrounds of all images as uint8, N x H x W x 3, with the background network as it is."""
    assert model.background is not None
    model.background.eval()
    shape = (len(images), *model.image_size, 3)
    # Written, not mapped: where the disk is full, a map kills the process without a word.
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, len(images), batch_size):
            indices = np.arange(start, min(start + batch_size, len(images)))
            file.write(np.ascontiguousarray(to_uint8_images(model.background(images[indices]).image)).data)
