"""Grids of images that show the progress of a run."""

from pathlib import Path

import numpy as np

from astseg._core.atomic_io import atomic_write, unlink_link
from astseg.data.store import Bytes
from astseg.training.callbacks import Callback, ends_part
from astseg.training.state import TrainState
from astseg.visualization.gallery import draw_samples, sample

IMAGES_FOLDER = "images"
GRIDS_PER_PHASE = 8


class ImageGridCallback(Callback):
    """Draws a grid of the same few images at intervals, such as ``images/1-objects-002000.png``.

    Args:
        folder: the run's folder.
        images: a handful of images, uint8, N x H x W x 3.
        truths: their true labels, if known.
    """

    def __init__(self, folder: Path, images: Bytes, truths: Bytes | None = None) -> None:
        self._folder = folder / IMAGES_FOLDER
        self._images = np.array(images)
        self._truths = None if truths is None else np.array(truths)

    def on_phase_start(self, state: TrainState) -> None:
        """Remove a link in the place of the folder, which would lead to somebody's files."""
        unlink_link(self._folder)

    def on_step_end(self, state: TrainState) -> None:
        """Draw after each eighth of a phase."""
        phase, done = state.phase, state.step
        if ends_part(done, phase.steps, GRIDS_PER_PHASE):
            grid = draw_samples(sample(state.model, self._images, self._truths))
            with atomic_write(self._folder / f"{state.phase_index}-{phase.name}-{done:06d}.png") as partial:
                grid.save(partial)
