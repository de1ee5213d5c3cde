"""The first places of the slots: the centers of K clusters of the pixels that the backgrounds do not explain."""

import warnings

import numpy as np
import torch
from scipy.cluster.vq import kmeans2

from astseg.model.ast_seg import AstSeg
from astseg.model.attention import coordinate_map
from astseg.training.batches import TrainingSet

MAX_IMAGES = 512
BATCH_SIZE = 64
MAX_POINTS = 20_000  # pixels of all images together
RESIDUAL_THRESHOLD = 0.5  # of at most 1: excludes the small errors of a good background
OVERLAP = 2.5  # a slot's width in standard deviations of its region: widths overlap, so that every object is covered
MIN_REGION = 4  # pixels: a smaller standard deviation would be finer than the attention maps
MAX_ITERATIONS = 30


def without_places(advice: str) -> str:
    """Say that slots got no places.

    Args:
        advice: what to try, as the end of a sentence.
    """
    return (
        "The background explains nearly all of the images, so slots go on without places of their own. "
        f"If they find nothing, {advice}."
    )


@torch.no_grad()
def place_slots(model: AstSeg, training_set: TrainingSet, seed: int) -> bool:
    """Spread the slots over the places where the training images have objects, by k-means.

    Args:
        model: a model with a position prior.
        training_set: the training images, with their backgrounds or residuals; without either, the background network
            paints the backgrounds.
        seed: decides which images are used and where k-means begins.

    Returns:
        False if nothing was done, because fewer than K places of the images are foreground.
    """
    assert model.places is not None
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(training_set))[:MAX_IMAGES])
    found = []
    for indices in np.split(chosen, range(BATCH_SIZE, len(chosen), BATCH_SIZE)):
        images, backgrounds, residuals = training_set[indices]
        pixels = model.foreground_evidence(images, model.grid, backgrounds, residuals)
        found.append((pixels[:, 0] > RESIDUAL_THRESHOLD).nonzero()[:, 1:].cpu())
    places = torch.cat(found)
    places = places[generator.permutation(len(places))[:MAX_POINTS]]
    coordinates = coordinate_map(model.grid, model.architecture.corner_convention)
    points = coordinates[:, places[:, 0], places[:, 1]].T
    if len(np.unique(points.numpy(), axis=0)) < model.num_slots:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a region has lost all its points, which does no harm
        centers, regions = kmeans2(points.double().numpy(), model.num_slots, MAX_ITERATIONS, minit="++", rng=generator)
    height, width = model.image_size
    smallest = torch.tensor((2 * MIN_REGION / width, 2 * MIN_REGION / height))
    for slot, center in enumerate(torch.from_numpy(centers).float()):
        own = points[torch.from_numpy(regions == slot)]
        spread = (own - center).square().mean(0).sqrt() if len(own) else smallest
        model.places.centres[slot] = center
        model.places.inverse_widths[slot] = 1 / (OVERLAP * spread.maximum(smallest))
    return True
