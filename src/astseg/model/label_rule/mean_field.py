"""Neighboring pixels of similar colors prefer the same layer. Not in the paper.

The mean field of a Potts model whose links are weaker across image edges.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

NUM_MEAN_FIELD_STEPS = 5  # after three, hardly any label still changes
NEIGHBOR_OFFSETS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


def neighbor_affinities(
    images: Float[Tensor, "batch 3 height width"], likeness: float
) -> Float[Tensor, "neighbors batch 1 height width"]:
    """Return the affinity of each pixel to its eight neighbors: 1 for equal colors, near 0 across edges.

    Args:
        images: the images. Affinities to neighbors beyond the border have no meaning and no effect.
        likeness: the L1 distance of two colors at which the affinity has fallen to exp(-1).
    """
    half = len(NEIGHBOR_OFFSETS) // 2
    values = islice(_neighbor_values(images), half)
    affinities = (-torch.stack([(images - each).abs().sum(1, keepdim=True) for each in values]) / likeness).exp()
    # Affinity is mutual: in the other four directions, it is the neighbor's own affinity to the pixel.
    opposite = [list(_neighbor_values(one))[-1 - index] for index, one in enumerate(affinities)]
    return torch.cat((affinities, torch.stack(opposite[::-1])))


def mean_field_smoothing(
    log_weights: Float[Tensor, "batch layers height width"],
    affinities: Float[Tensor, "neighbors batch 1 height width"],
    pull: float,
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights of the layers in the mean field of a Potts model: similar neighbors prefer the same layer.

    Args:
        log_weights: the log-weight of each layer at each pixel without its neighbors, up to a constant.
        affinities: the affinity of each pixel to its neighbors.
        pull: the gain of a layer's log-weight per neighbor of the same color that belongs to it.

    Returns:
        Weights that sum to one over the layers.
    """
    weights = log_weights.softmax(1)
    if not pull:
        return weights
    for _ in range(NUM_MEAN_FIELD_STEPS):
        weights = weighted_neighbor_sum(weights, affinities).mul_(pull).add_(log_weights).softmax(1)
    return weights


def weighted_neighbor_sum(maps: Tensor, affinities: Iterable[Tensor]) -> Tensor:
    """Return the sum of each pixel's eight neighbors, weighted by affinity."""
    total = torch.zeros_like(maps)
    for values, affinity in zip(_neighbor_values(maps), affinities, strict=True):
        total.addcmul_(affinity, values)
    return total


def neighbor_sum(maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """Return the sum of each pixel's eight neighbors, of fewer at the border."""
    total = torch.zeros_like(maps)
    for values in _neighbor_values(maps):
        total += values
    return total


def _neighbor_values(maps: Float[Tensor, "batch channels height width"]) -> Iterator[Tensor]:
    """Yield, for each of the eight directions, the value of each pixel's neighbor; 0 beyond the border."""
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (1, 1, 1, 1))
    for down, right in NEIGHBOR_OFFSETS:
        yield padded[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]
