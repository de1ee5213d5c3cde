"""Foreground masks from the background network alone (AE-NE), picture by picture.

The folder that comes out holds ``backgrounds/NAME.png`` and ``masks/NAME.png`` (255 is foreground), as large as the
pictures that went in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from astseg.data.sources import Source
from astseg.errors import UserError
from astseg.files import folder_written_whole
from astseg.metrics import f_measure
from astseg.model.ast_seg import AstSeg
from astseg.model.foreground_mask import background_foreground_mask
from astseg.model.resizing import resized
from astseg.pixels import as_bytes, as_pictures


@dataclass(frozen=True)
class BackgroundMasks:
    """What was written."""

    pictures: int
    """How many pictures were painted."""
    scored: int
    """For how many of them the truth is known."""
    f_measure: float | None
    """Over the pixels of these together; None where there are none."""
    skipped: tuple[tuple[str, str], ...]
    """(name, reason) of what could not be read."""


@torch.no_grad()
def write_background_masks(
    model: AstSeg,
    source: Source,
    out: Path,
    device: torch.device,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> BackgroundMasks:
    """Paint the background of every picture, and write where the picture differs from it.

    Args:
        model: with a trained background network; on ``device``.
        source: the pictures, of any size.
        out: the folder to make.
        device: where the model is.
        progress: told how many pictures are done, and of how many.

    Raises:
        UserError: the model has no background network, or the folder is taken.
    """
    if model.background is None:
        raise UserError("This model has no background network.")
    model.eval()
    total = source.estimated_length()
    counts = np.zeros(3, np.int64)
    pictures = scored = 0
    with folder_written_whole(out) as folder:
        for picture in source:
            size = picture.image.shape[:2]
            images = resized(as_pictures(picture.image[None], device), model.image_size)
            painted = model.background(images)
            mask = background_foreground_mask(images, painted, size)[0].cpu().numpy()
            _save(folder / "backgrounds" / f"{picture.name}.png", as_bytes(resized(painted.image, size))[0])
            _save(folder / "masks" / f"{picture.name}.png", np.uint8(255) * mask.astype(np.uint8))
            if picture.mask is not None:
                true = picture.mask > 0
                counts += [(mask & true).sum(), (mask & ~true).sum(), (~mask & true).sum()]
                scored += 1
            pictures += 1
            progress(pictures, total)
    score = f_measure(*counts.tolist()) if counts.any() else None
    return BackgroundMasks(pictures, scored, score, tuple(source.skipped))


def _save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
