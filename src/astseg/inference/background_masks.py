"""Foreground masks from the background network alone, image by image.

The output folder holds ``backgrounds/NAME.png`` and ``masks/NAME.png`` (255 is foreground), each of the size of its
image, and ``summary.json``: `BackgroundMasks`.
"""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from astseg._core.atomic_io import atomic_folder
from astseg._core.errors import AstSegError
from astseg._core.file_names import BACKGROUNDS_FOLDER, FOREGROUND_MASKS_FOLDER, SUMMARY_FILE
from astseg._core.image_conversion import from_uint8_images, to_uint8_images
from astseg._core.image_files import Bytes
from astseg._core.progress import Progress
from astseg.data.sources import Source
from astseg.evaluation.metrics import f_measure
from astseg.inference.foreground_share import ForegroundShares
from astseg.inference.resuming import Answer, KeptAnswers
from astseg.inference.segmenting import same_sized_batches
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.ae_ne_mask import ae_ne_foreground_mask
from astseg.model.backgrounds.base import Background
from astseg.model.label_rule.foreground import noise_foreground_mask
from astseg.model.resizing import resized

IMAGES_AT_ONCE = 16
"""How many images of one size are kept together, since writing a file for each would take as long as painting."""
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
    kept: KeptAnswers | None = None,
) -> BackgroundMasks:
    """Write the background of every image, and a mask of where the image differs from it.

    Args:
        model: with a trained background network; on ``device``.
        source: the images, of any size.
        out: the folder to make.
        device: where the model is.
        progress: called with the number of images done, and of all.
        noise: what `measure_noise` returned; if None, the masks follow AE-NE's rule, for networks that have learned
            to predict their error.
        kept: what was found before a run was stopped, to go on with.

    Raises:
        AstSegError: the model has no background network, or the folder is not empty or cannot be written.
    """
    if model.background is None:
        raise AstSegError("This model has no background network.")
    background = model.background.eval()
    total = source.estimated_length()
    score = _MaskScore()
    shares = ForegroundShares()
    with atomic_folder(out) as folder:
        for batch in same_sized_batches(source, IMAGES_AT_ONCE):
            images = from_uint8_images(np.stack([sample.image for sample in batch]), device)
            ask = partial(_paint_and_mask, background, images, model.image_size, noise)
            fits = partial(_fits, images=images, model_size=model.image_size)
            found = ask() if kept is None else kept.answer(images, ask, fits)
            for sample, painted, marked in zip(batch, found["background"], found["mask"], strict=True):
                mask = marked.cpu().numpy() > 0
                painting = to_uint8_images(resized(painted[None], sample.image.shape[:2]))[0]
                _save(folder / BACKGROUNDS_FOLDER / f"{sample.name}.png", painting)
                _save(folder / FOREGROUND_MASKS_FOLDER / f"{sample.name}.png", np.uint8(255) * mask.astype(np.uint8))
                if sample.mask is not None:
                    score.add(mask, sample.mask, source.ignored_label)
                shares.add(float(mask.mean()))
                progress(shares.images, total)
        result = BackgroundMasks(
            images=shares.images,
            scored=score.images,
            f_measure=score.value,
            skipped=tuple(source.skipped),
            rule="predicted error" if noise is None else "noise",
            noise=None if noise is None else round(255 * float(noise.median()), 3),
            foreground_share=shares.mean,
            note=shares.note(if_empty=EMPTY_ADVICE, if_full=FULL_ADVICE),
        )
        (folder / SUMMARY_FILE).write_text(json.dumps(asdict(result), indent=2) + "\n")
    return result


class _MaskScore:
    """The F-measure of masks, over all pixels of the images together."""

    def __init__(self) -> None:
        self.images = 0
        """The images that were added."""
        self._pixels = 0
        self._counts = np.zeros(3, np.int64)
        """The pixels that are rightly foreground, wrongly foreground, and wrongly background."""

    def add(self, mask: npt.NDArray[np.bool_], truth: Bytes, ignored_label: int | None) -> None:
        """Add an image.

        Args:
            mask: H x W, where its foreground was found.
            truth: H x W, 0 is the background.
            ignored_label: the value in ``truth`` of pixels that are not scored; None if all are.
        """
        counted = np.full(mask.shape, True) if ignored_label is None else truth != ignored_label
        true = truth > 0
        self._counts += [(pixels & counted).sum() for pixels in (mask & true, mask & ~true, ~mask & true)]
        self._pixels += int(counted.sum())
        self.images += 1

    @property
    def value(self) -> float | None:
        """Between 0 and 1; None if no pixel was to be scored."""
        return f_measure(*self._counts.tolist()) if self._pixels else None


def _paint_and_mask(
    background: Background,
    images: Float[Tensor, "batch 3 height width"],
    model_size: tuple[int, int],
    noise: Float[Tensor, "rows columns"] | None,
) -> Answer:
    """Return the ``background`` of each image, of the model's size and in [0, 1], and its ``mask``: 1 is foreground.

    A mask takes many times the memory of its image, so images are painted one by one.
    """
    height, width = images.shape[2:]
    backgrounds, masks = [], []
    for image in images[:, None]:
        small = resized(image, model_size)
        painted = background(small)
        backgrounds.append(painted.image)
        if noise is None:
            masks.append(ae_ne_foreground_mask(small, painted, (height, width)))
        else:
            masks.append(noise_foreground_mask(small, painted.image, noise, image))
    return {"background": torch.cat(backgrounds), "mask": torch.cat(masks).to(torch.uint8)}


def _fits(answer: Answer, images: Float[Tensor, "batch 3 height width"], model_size: tuple[int, int]) -> bool:
    """Tell whether an answer has the shapes of what `_paint_and_mask` returns."""
    return (
        answer.keys() == {"background", "mask"}
        and answer["background"].is_floating_point()
        and answer["background"].shape == (len(images), 3, *model_size)
        and answer["mask"].dtype == torch.uint8
        and answer["mask"].shape == (len(images), *images.shape[2:])
    )


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
