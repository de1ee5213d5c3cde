"""The ground of an image as one Gaussian in slow features, fitted so that objects do not count.

Where less than half of an image is objects, the half of its cells that lie nearest to each other are ground. Their mean
and covariance, found in a few rounds of trimming as in FAST-MCD (Rousseeuw and Van Driessen, 1999), are the background
model: nothing is trained. Whitened by them, the ground is near 0 and objects are far, whatever the ground looks like.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDS = 12
KEPT_SHARE = 0.5
"""The cells that count in each round; the breakdown point is one minus this."""
COVARIANCE_FACTOR = 2.0
"""A trimmed half underestimates the spread."""
RIDGE = 1.0
"""Added to each variance: the mean variance within textures is 1 in slow features, and none is taken for less."""


class Ground(NamedTuple):
    """The robust Gaussian of each image's ground."""

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

    An affine map of the features changes nothing but the coordinates when the ridge is 0 (affine equivariance), but for
    the start, which is the median of each direction.

    Args:
        features: slow features, scaled so that the mean variance within textures is 1.
        rounds: of keeping the nearest cells and fitting again.
        kept_share: the share of cells that is kept.
        ridge: added to each variance.
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


def bounded(
    residual: Float[Tensor, "batch directions *cells"], scale: float
) -> Float[Tensor, "batch directions *cells"]:
    """Return vectors of the same direction and a length below 1: half the way to it at ``scale`` / sqrt(3).

    A slot explains a bounded vector with a mask near 1; of unbounded ones it would paint huge values under faint masks.
    """
    return residual / (scale**2 + residual.square().sum(1, keepdim=True)).sqrt()


def _whitening(covariance: Float[Tensor, "batch directions directions"], ridge: float) -> Tensor:
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    factor = torch.linalg.cholesky(covariance + ridge * identity)
    inverse: Tensor = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    return inverse
