"""Whether the images show one background or many, by what a background network paints (AE-NE)."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from astseg._core.processes import from_first
from astseg._core.sampling import evenly_spaced
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import TrainingImages
from astseg.training.callbacks import Callback, RestartPhase
from astseg.training.config import BackgroundTraining
from astseg.training.phases import BackgroundPhase
from astseg.training.state import TrainState

COMPLEXITY_STEPS = 2000
"""Steps of training with the simple channels before the check."""
NUM_COMPLEXITY_BATCHES = 15
COMPLEXITY_THRESHOLD = 0.24
"""The variation of backgrounds above which the simple channels do not suffice (AE-NE)."""
COMPLEXITY_SCALE = 0.25
"""The L1 distance of colors at which the variation of a pixel is tanh(1), about 0.76 (AE-NE)."""


def background_variation(backgrounds: Float[Tensor, "batch 3 height width"]) -> float:
    """Return how much backgrounds differ from their median image: from 0, if they are equal, to below 1.

    >>> background_variation(torch.full((5, 3, 2, 2), 0.5))
    0.0
    """
    # Row by row: 2 000 images of 200x320 take 1.5 GB, and their median, all at once, several times as much.
    distances = (((row - row.median(0).values).abs().sum(1)) for row in backgrounds.unbind(2))
    return float(torch.stack([torch.tanh(distance / COMPLEXITY_SCALE).mean() for distance in distances]).mean())


def complex_background_steps(settings: BackgroundTraining, images: int) -> int:
    """Return the number of steps for a background network that turned out to need the complex channels.

    >>> complex_background_steps(BackgroundTraining(complex_steps=24_000, complex_epochs=20), 200_000)
    31250
    """
    return max(settings.complex_steps, math.ceil(settings.complex_epochs * images / settings.batch_size))


@torch.no_grad()
def painted_variation(model: AstSeg, images: TrainingImages, batch_size: int) -> float:
    """Return the variation of the backgrounds that the network paints for up to fifteen batches."""
    assert model.background is not None
    chosen = evenly_spaced(len(images), NUM_COMPLEXITY_BATCHES * batch_size)
    painted = torch.empty(len(chosen), 3, *model.image_size)
    for start in range(0, len(chosen), batch_size):
        painted[start : start + batch_size] = model.background(images[chosen[start : start + batch_size]]).image
    return background_variation(painted)


@dataclass
class ComplexityCheck(Callback):
    """Restarts phase 1 with the complex channels if the backgrounds turn out to need them (AE-NE)."""

    images: TrainingImages
    """The training images."""
    steps: int = COMPLEXITY_STEPS
    """The step after which to check; the last step of a shorter phase."""
    threshold: float = COMPLEXITY_THRESHOLD
    """The variation above which the simple channels do not suffice."""

    def on_step_end(self, state: TrainState) -> RestartPhase | None:
        """Check once, if the channels are simple."""
        phase, architecture = state.phase, state.recipe.architecture
        if not isinstance(phase, BackgroundPhase) or architecture.background_network != "simple":
            return None
        if state.step != min(self.steps, phase.steps):
            return None
        variation = painted_variation(state.model, self.images, phase.settings.batch_size)
        if from_first(variation) <= self.threshold:  # all processes must agree
            return None
        wide = replace(architecture, background_network="complex")
        longer = replace(phase.settings, steps=complex_background_steps(phase.settings, len(self.images)))
        return RestartPhase(replace(state.recipe, architecture=wide, background=longer))
