"""Whether a set of images shows one background or many: told by the images, or by what a network paints (AE-NE)."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from astseg._core.sampling import evenly_spaced
from astseg.data.store import Bytes
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import TrainingImages
from astseg.training.callbacks import Callback, RestartPhase
from astseg.training.config import BackgroundTraining
from astseg.training.phases import BackgroundPhase
from astseg.training.state import TrainState

COMPLEXITY_STEPS = 2000
"""Steps of training with the simple channels before one looks."""
COMPLEXITY_BATCHES = 15
COMPLEXITY_THRESHOLD = 0.24
COMPLEXITY_SCALE = 0.25
STATIC_IMAGES = 200
"""How many images are looked at to tell whether the camera stands still."""
MIN_STATIC_IMAGES = 10
"""Fewer images do not tell what comes and goes."""
STATIC_DISTANCE = 0.25
"""A pixel this near to the median, as the sum of its channels, shows what the median shows."""


def static_share(images: Bytes) -> float:
    """Return how much of nearly every image shows what most images show in the same place.

    Near 1 for a camera that stands still, whatever comes and goes before it; near 0 where each image has a background
    of its own, where the camera has moved once, or where the light changes by much.

    Args:
        images: images as bytes; up to two hundred, spread over them evenly, are looked at.

    Returns:
        The share of pixels near the median of all images that nine images of ten have or exceed. 0 for fewer than
        ten images.

    >>> static_share(np.zeros((10, 2, 2, 3), np.uint8))
    1.0
    """
    if len(images) < MIN_STATIC_IMAGES:
        return 0.0
    chosen_images = images[evenly_spaced(len(images), STATIC_IMAGES)]
    median = np.median(chosen_images, 0)
    shares = [np.mean(np.abs(image - median).sum(-1) < 255 * STATIC_DISTANCE) for image in chosen_images]
    return float(np.quantile(shares, 0.1))


def background_variation(backgrounds: Float[Tensor, "batch 3 height width"]) -> float:
    """Return how much backgrounds differ from the median of their pixels: 0 for equal ones, below 1 always.

    >>> background_variation(torch.full((5, 3, 2, 2), 0.5))
    0.0
    """
    # Row by row: two thousand images of 200x320 take 1.5 GB, and their median at once several times that.
    distances = (((row - row.median(0).values).abs().sum(1)) for row in backgrounds.unbind(2))
    return float(torch.stack([torch.tanh(distance / COMPLEXITY_SCALE).mean() for distance in distances]).mean())


def complex_background_steps(settings: BackgroundTraining, images: int) -> int:
    """Return how many steps a background has once the automatic choice has fallen on the complex channels.

    >>> complex_background_steps(BackgroundTraining(complex_steps=24_000, complex_epochs=20), 200_000)
    31250
    """
    return max(settings.complex_steps, math.ceil(settings.complex_epochs * images / settings.batch_size))


@torch.no_grad()
def painted_variation(model: AstSeg, images: TrainingImages, batch_size: int) -> float:
    """Return how much the backgrounds vary that the network paints for up to fifteen batches."""
    assert model.background is not None
    chosen = evenly_spaced(len(images), COMPLEXITY_BATCHES * batch_size)
    painted = torch.empty(len(chosen), 3, *model.image_size)
    for start in range(0, len(chosen), batch_size):
        painted[start : start + batch_size] = model.background(images[chosen[start : start + batch_size]]).image
    return background_variation(painted)


@dataclass
class ComplexityCheck(Callback):
    """Begins phase 1 again with the complex channels if the backgrounds turn out to need them (AE-NE)."""

    images: TrainingImages
    """The training images."""
    steps: int = COMPLEXITY_STEPS
    """After how many steps to look; at the end of the phase if it has fewer."""
    threshold: float = COMPLEXITY_THRESHOLD
    """Backgrounds that vary more are too many for the simple channels."""

    def on_step_end(self, state: TrainState) -> RestartPhase | None:
        """Look once, at the simple channels alone."""
        phase, shape = state.phase, state.recipe.architecture
        if not isinstance(phase, BackgroundPhase) or shape.background_network != "simple":
            return None
        if state.step != min(self.steps, phase.steps):
            return None
        if painted_variation(state.model, self.images, phase.settings.batch_size) <= self.threshold:
            return None
        wide = replace(shape, background_network="complex")
        longer = replace(phase.settings, steps=complex_background_steps(phase.settings, len(self.images)))
        return RestartPhase(replace(state.recipe, architecture=wide, background=longer))
