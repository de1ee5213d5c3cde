"""The ground of an image as a Gaussian in slow features, fitted so that objects do not count.

Where less than half of an image is objects, the half of its cells that lie nearest to each other are ground. Their mean
and covariance, found in a few rounds of trimming as in FAST-MCD (Rousseeuw and Van Driessen, 1999), are the background
model: nothing is trained. Whitened by them, the ground is near 0 and objects are far, whatever the ground looks like.

Where the ground has several surfaces, such as a floor and walls, the first Gaussian fits the largest. Objects seldom
reach the border, so that another surface is looked for where much of the border is far from all that were found.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from astseg.model.slow_features.projection import DIRECTIONS

ROUNDS = 12
KEPT_SHARE = 0.5
"""The share of cells that counts in each round; the breakdown point is one minus this."""
COVARIANCE_FACTOR = 2.0
"""A factor on the covariance, because the nearest half of the cells underestimates it."""
RIDGE = 1.0
"""Added to each variance, so that none is below 1, the mean variance within textures in slow features."""
CLEARLY_FOREGROUND = 6.0
"""The distance from the ground, in its standard deviations, beyond which a cell is taken for foreground; for up to
`DIRECTIONS` directions."""
BORDER = 1 / 16
"""The width of the border, as a share of the grid's shorter side."""
FAR_BORDER_SHARE = 0.2
"""The share of the border that has to be far from all surfaces found for another one to be looked for."""


class Ground(NamedTuple):
    """The robust Gaussian of a ground of each image."""

    mean: Float[Tensor, "batch directions"]
    whitening: Float[Tensor, "batch directions directions"]
    """Lower triangular; the covariance of the ground, ridge included, becomes the identity."""


def fit_ground(
    features: Float[Tensor, "batch directions height width"],
    *,
    rounds: int = ROUNDS,
    kept_share: float = KEPT_SHARE,
    ridge: float = RIDGE,
) -> Ground:
    """Fit the Gaussian of each image's ground.

    It begins at the median of each direction. Apart from this start, and with a ridge of 0, the fit is affinely
    equivariant: an affine map of the features maps the Gaussian in the same way.

    Args:
        features: slow features, scaled so that the mean variance within textures is 1.
        rounds: how often the nearest cells are kept and the Gaussian is fitted to them.
        kept_share: the share of cells that is kept in each round.
        ridge: a number that is added to each variance.
    """
    cells = features.flatten(2).transpose(1, 2)
    count, directions = cells.shape[1], cells.shape[2]
    identity = torch.eye(directions, dtype=cells.dtype, device=cells.device)
    mean, covariance = cells.median(1).values, identity.expand(len(cells), -1, -1)
    kept = max(1, int(count * kept_share))
    for _ in range(rounds):
        distances = ((cells - mean[:, None]) @ _whitening(covariance, ridge).transpose(1, 2)).square().sum(-1)
        limit = distances.kthvalue(kept, -1, keepdim=True).values
        inside = (distances <= limit).to(cells.dtype)
        total = inside.sum(1)[:, None]
        mean = (cells * inside[..., None]).sum(1) / total
        centered = (cells - mean[:, None]) * inside[..., None]
        covariance = COVARIANCE_FACTOR * centered.transpose(1, 2) @ centered / total[..., None]
    return Ground(mean, _whitening(covariance, ridge))


def ground_residual(
    features: Float[Tensor, "batch directions height width"], ground: Ground
) -> Float[Tensor, "batch directions height width"]:
    """Return how far each cell is from the ground, in standard deviations of the ground: near 0 on it."""
    centered = features - ground.mean[:, :, None, None]
    return torch.einsum("bij, bjhw -> bihw", ground.whitening, centered)


class Surface(NamedTuple):
    """Another surface than the largest one of an image's ground, in the images that have one."""

    images: Int64[Tensor, "chosen"]
    """Their indices in the batch."""
    ground: Ground


def fit_surfaces(
    features: Float[Tensor, "batch directions height width"], most: int
) -> tuple[Ground, Sequence[Surface]]:
    """Fit the surfaces of each image's ground, one after the other.

    Another surface is fitted to the cells of the border that are far from all surfaces found so far, in images where
    these cells are more than `FAR_BORDER_SHARE` of the border.

    Args:
        features: slow features, scaled so that the mean variance within textures is 1.
        most: how many surfaces an image may have.
    """
    largest, others = fit_ground(features), list[Surface]()
    for _ in range(most - 1):
        far = far_border(residual_from_surfaces(features, largest, others))
        lacking = far.flatten(1).sum(1) > FAR_BORDER_SHARE * border(far.shape[1:]).sum()
        images = lacking.nonzero()[:, 0]
        if not len(images):
            break
        fitted = [fit_ground(features[index][None, :, None, far[index]]) for index in images]
        others.append(Surface(images, Ground(*(torch.cat(parts) for parts in zip(*fitted, strict=True)))))
    return largest, others


def residual_from_surfaces(
    features: Float[Tensor, "batch directions height width"], largest: Ground, others: Sequence[Surface]
) -> Float[Tensor, "batch directions height width"]:
    """Return how far each cell is from the nearest surface, as a vector.

    Its direction is that of the residual from the largest surface, so that an object before several surfaces has one
    residual; its length is the distance from the nearest.
    """
    residual = ground_residual(features, largest)
    if not others:
        return residual
    distance = residual.norm(dim=1, keepdim=True)
    nearest = distance.clone()
    for images, ground in others:
        from_other = ground_residual(features[images], ground).norm(dim=1, keepdim=True)
        nearest[images] = torch.minimum(nearest[images], from_other)
    shorter: Tensor = nearest / distance.clamp(min=torch.finfo(distance.dtype).tiny)
    return residual * shorter


def far_border(residual: Float[Tensor, "batch directions height width"]) -> Bool[Tensor, "batch height width"]:
    """Return the cells of the border that are clearly foreground."""
    at_border = border(residual.shape[2:]).to(residual.device)
    return at_border.logical_and(residual.norm(dim=1) > clearly_foreground(residual.shape[1]))


def clearly_foreground(directions: int) -> float:
    """Return the distance from the ground, in its standard deviations, beyond which a cell is taken for foreground.

    The distances of the ground's own cells grow with the square root of the number of directions.

    >>> clearly_foreground(12), clearly_foreground(16), clearly_foreground(64)
    (6.0, 6.0, 12.0)
    """
    return CLEARLY_FOREGROUND * max(1.0, math.sqrt(directions / DIRECTIONS))


def border(size: Sequence[int]) -> Bool[Tensor, "height width"]:
    """Return which cells of a grid lie at its border."""
    width = max(1, round(min(size) * BORDER))
    cells = torch.ones(tuple(size), dtype=torch.bool)
    cells[width:-width, width:-width] = False
    return cells


def bounded(
    residual: Float[Tensor, "batch directions *cells"], scale: float
) -> Float[Tensor, "batch directions *cells"]:
    """Return vectors of the same direction and a length below 1; a length of ``scale`` / sqrt(3) becomes 0.5.

    A slot explains a bounded vector with a mask near 1; of unbounded ones it would paint huge values under faint masks.
    """
    return residual / (scale**2 + residual.square().sum(1, keepdim=True)).sqrt()


def _whitening(covariance: Float[Tensor, "batch directions directions"], ridge: float) -> Tensor:
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    factor = torch.linalg.cholesky(covariance + ridge * identity)
    inverse: Tensor = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    return inverse
