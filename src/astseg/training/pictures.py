"""Pictures of how a run comes along."""

import numpy as np

from astseg.data.store import Bytes
from astseg.files import atomic_write
from astseg.gallery import draw_samples, sample
from astseg.training.curriculum import Phase
from astseg.training.loop import Callback, Trainer

PICTURES_FOLDER = "pictures"
PICTURES_PER_PHASE = 8


class ImageGridCallback(Callback):
    """Draws a grid of the same few pictures from time to time: ``pictures/1-objects-002000.png``.

    Args:
        images: a handful of pictures, uint8, N x H x W x 3.
        truths: their labels where they are known.
    """

    def __init__(self, images: Bytes, truths: Bytes | None = None) -> None:
        self._images = np.array(images)
        self._truths = None if truths is None else np.array(truths)

    def step_done(self, trainer: Trainer, phase: Phase, done: int) -> None:
        """Draw after each eighth of a phase."""
        interval = max(1, phase.steps // PICTURES_PER_PHASE)
        if done % interval == 0 or done == phase.steps:
            name = f"{trainer.phase_number(phase)}-{phase.name}-{done:06d}.png"
            grid = draw_samples(sample(trainer.model, self._images, self._truths))
            with atomic_write(trainer.folder / PICTURES_FOLDER / name) as partial:
                grid.save(partial)
