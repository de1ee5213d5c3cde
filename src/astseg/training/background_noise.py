"""How far training images lie from their learned backgrounds where there are no objects."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from astseg._core.sampling import evenly_spaced
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.noise import background_distance, noise_from_distances
from astseg.training.batches import TrainingImages

MAX_NOISE_IMAGES = 200
"""Training images by which the noise is measured; a quarter of them already gives nearly the same masks."""
NOISE_BATCH_SIZE = 16


@torch.no_grad()
def measure_noise(model: AstSeg, images: TrainingImages) -> Float[Tensor, "height width"]:
    """Measure how far training images lie from their learned backgrounds; see `noise_from_distances`.

    Args:
        model: with a trained background network, on the device of the images.
        images: the training images, of which up to 200 evenly spaced ones are used.
    """
    assert model.background is not None
    background = model.background.eval()
    chosen = evenly_spaced(len(images), MAX_NOISE_IMAGES)
    distances = []
    for indices in np.array_split(chosen, -(-len(chosen) // NOISE_BATCH_SIZE)):
        batch = images[indices]
        distances.append(background_distance(batch, background(batch).image).cpu())
    return noise_from_distances(torch.cat(distances)).to(images.device)
