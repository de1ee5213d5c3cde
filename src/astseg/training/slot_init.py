"""Where slots begin to look: at the middles of K regions that share what the backgrounds leave unexplained."""

import warnings

import numpy as np
import torch
from scipy.cluster.vq import kmeans2

from astseg.model.ast_seg import AstSeg
from astseg.model.attention import coordinate_map
from astseg.training.batches import TrainingSet

PLACED_BY = 512  # images at the most
BATCH = 64  # of these at a time
POINTS = 20_000  # of their pixels at the most
CLEARLY_UNEXPLAINED = 0.5  # of 1: leaves out what a good background is off by
OVERLAP = 2.5  # a slot's reach, in standard deviations of its region: regions overlap, so that no object is nobody's
MIN_REGION = 4  # pixels: a standard deviation of less would be finer than the attention maps
ITERATIONS = 30


@torch.no_grad()
def initialize_slot_prior(model: AstSeg, training_set: TrainingSet, seed: int) -> None:
    """Spread the slots' places over where objects are in the training images, by k-means.

    Does nothing if less than K pixels are unexplained.

    Args:
        model: a model with places.
        training_set: the training images, with their backgrounds or residuals.
        seed: decides which images are looked at and where k-means begins.
    """
    assert model.places is not None
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(training_set))[:PLACED_BY])
    found = []
    for indices in np.split(chosen, range(BATCH, len(chosen), BATCH)):
        images, backgrounds, residuals = training_set[indices]
        pixels = model.foreground_evidence(images, model.grid, backgrounds, residuals)
        found.append((pixels[:, 0] > CLEARLY_UNEXPLAINED).nonzero()[:, 1:].cpu())
    places = torch.cat(found)
    places = places[generator.permutation(len(places))[:POINTS]]
    coordinates = coordinate_map(model.grid, model.architecture.corner_convention)
    points = coordinates[:, places[:, 0], places[:, 1]].T
    if len(np.unique(points.numpy(), axis=0)) < model.num_slots:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a region may lose all its points: its place is as good as any
        centres, regions = kmeans2(points.double().numpy(), model.num_slots, ITERATIONS, minit="++", rng=generator)
    height, width = model.image_size
    smallest = torch.tensor((2 * MIN_REGION / width, 2 * MIN_REGION / height))
    for slot, centre in enumerate(torch.from_numpy(centres).float()):
        own = points[torch.from_numpy(regions == slot)]
        spread = (own - centre).square().mean(0).sqrt() if len(own) else smallest
        model.places.centres[slot] = centre
        model.places.inverse_widths[slot] = 1 / (OVERLAP * spread.maximum(smallest))
