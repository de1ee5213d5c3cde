"""Foreground masks from the background network alone, image by image.

The output folder holds ``backgrounds/NAME.png`` and ``masks/NAME.png`` (255 is foreground), each of the size of its
image, and ``summary.json``: `BackgroundMasks`.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from astseg._core.atomic_io import atomic_folder
from astseg._core.errors import AstSegError
from astseg._core.file_names import BACKGROUNDS_FOLDER, FOREGROUND_MASKS_FOLDER, SUMMARY_FILE
from astseg._core.image_conversion import from_uint8_images, to_uint8_images
from astseg._core.progress import Progress
from astseg.data.sources import Source
from astseg.evaluation.metrics import f_measure
from astseg.inference.foreground_share import foreground_note
from astseg.model.ast_seg import AstSeg
from astseg.model.foreground_mask import ae_ne_foreground_mask, noise_foreground_mask
from astseg.model.resizing import resized

EMPTY_ADVICE = (
    "If more than that moves: what is always there counts as background, and what is small needs a larger working size."
)
FULL_ADVICE = (
    "Look at the backgrounds: if they are wrong, train longer, or on more images; "
    "if they are right, the light or the camera has changed since the training images were taken."
)


@dataclass(frozen=True)
class BackgroundMasks:
    """What was written, and its score."""

    images: int
    """The number of images."""
    scored: int
    """The number of images whose true masks are known."""
    f_measure: float | None
    """Over all pixels of the scored images together; None if there are none."""
    skipped: tuple[tuple[str, str], ...]
    """(name, reason) for each image that could not be read."""
    rule: str
    """``noise``: by the measured noise. ``predicted error``: by the error that the network predicts (AE-NE)."""
    noise: float | None
    """The measured noise on the 0-255 scale, as the median over the pixels; None for the other rule."""
    foreground_share: float
    """The share of foreground pixels, averaged over the images."""
    note: str | None
    """What looks wrong with the masks, if anything, and what to try."""


@torch.no_grad()
def write_background_masks(
    model: AstSeg,
    source: Source,
    out: Path,
    device: torch.device,
    progress: Progress = lambda done, total: None,
    *,
    noise: Float[Tensor, "height width"] | None = None,
) -> BackgroundMasks:
    """Write the background of every image, and a mask of where the image differs from it.

    Args:
        model: with a trained background network; on ``device``.
        source: the images, of any size.
        out: the folder to make.
        device: where the model is.
        progress: called with the number of images done, and of all.
        noise: what `background_noise` returned; if None, the masks follow AE-NE's rule, for networks that have learned
            to predict their error.

    Raises:
        AstSegError: the model has no background network, or the folder is not empty or cannot be written.
    """
    if model.background is None:
        raise AstSegError("This model has no background network.")
    background = model.background.eval()
    total = source.estimated_length()
    counts = np.zeros(3, np.int64)
    shares: list[float] = []
    scored = 0
    with atomic_folder(out) as folder:
        for sample in source:
            size = sample.image.shape[:2]
            originals = from_uint8_images(sample.image[None], device)
            images = resized(originals, model.image_size)
            painted = background(images)
            found = (
                ae_ne_foreground_mask(images, painted, size)
                if noise is None
                else noise_foreground_mask(images, painted.image, noise, originals)
            )
            mask = found[0].cpu().numpy()
            _save(folder / BACKGROUNDS_FOLDER / f"{sample.name}.png", to_uint8_images(resized(painted.image, size))[0])
            _save(folder / FOREGROUND_MASKS_FOLDER / f"{sample.name}.png", np.uint8(255) * mask.astype(np.uint8))
            if sample.mask is not None:
                void = source.ignored_label
                counted = np.True_ if void is None else sample.mask != void
                true = sample.mask > 0
                counts += [(pixels & counted).sum() for pixels in (mask & true, mask & ~true, ~mask & true)]
                scored += 1
            shares.append(float(mask.mean()))
            progress(len(shares), total)
        result = BackgroundMasks(
            images=len(shares),
            scored=scored,
            f_measure=f_measure(*counts.tolist()) if counts.any() else None,
            skipped=tuple(source.skipped),
            rule="predicted error" if noise is None else "noise",
            noise=None if noise is None else round(255 * float(noise.median()), 3),
            foreground_share=float(np.mean(shares)),
            note=foreground_note(shares, if_empty=EMPTY_ADVICE, if_full=FULL_ADVICE),
        )
        (folder / SUMMARY_FILE).write_text(json.dumps(asdict(result), indent=2) + "\n")
    return result


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
