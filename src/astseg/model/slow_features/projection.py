"""The slow projection: the directions of responses in which images differ most for their inner variation.

Responses change from cell to cell with a texture's pattern, but not with what it is made of. So a direction is worth
more the more it varies between images at the same place (S_between) and the less it varies within an image (S_within).
The best are the generalized eigenvectors of S_between w = lambda S_within w with the largest lambda, found in closed
form. Variation within an image is that of pairs of cells, near ones and far ones. Pairs across an object's border are
trimmed away, because they lie far apart in the directions found so far. The projection is scaled so that the trimmed
variance within images is 1.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from astseg._core.errors import AstSegError
from astseg.model.slow_features.responses import ResponseMap

DIRECTIONS = 16
PAIRS = 100_000
NEAR, FAR = 0.1, 0.6
"""The largest distance between the cells of a pair, along rows and along columns, as a share of the grid's longer
side."""
FAR_SHARE = 0.9
"""The weight of far pairs; that of near ones is the rest."""
KEPT_NEAR, KEPT_FAR = 0.7, 0.5
"""The share of pairs that is kept in each round: the nearest."""
TRIMMING_ROUNDS = 5
TRIMMING_DIRECTIONS = 8
RIDGE = 1e-3


class SlowProjection(NamedTuple):
    """An affine map from responses to slow features."""

    mean: Float[Tensor, "channels"]
    matrix: Float[Tensor, "channels directions"]


class PairDifferences(NamedTuple):
    """What the projection is fitted to: differences of responses between cells."""

    near: Float[Tensor, "pairs channels"]
    """Within an image, near each other."""
    far: Float[Tensor, "pairs channels"]
    """Within an image, anywhere."""
    between: Float[Tensor, "pairs channels"]
    """At the same place of two images."""
    mean: Float[Tensor, "channels"]


def project(
    responses: Float[Tensor, "batch channels height width"], projection: SlowProjection
) -> Float[Tensor, "batch directions height width"]:
    """Return the slow features of responses."""
    mean, matrix = (part.to(responses.dtype) for part in projection)
    return torch.einsum("bchw, cq -> bqhw", responses - mean[:, None, None], matrix)


def project_maps(
    maps: Sequence[ResponseMap], projection: SlowProjection, grid: tuple[int, int]
) -> Float[Tensor, "batch directions rows columns"]:
    """Return the slow features of responses that are given as maps of several sizes, resized to a grid.

    Resizing acts on each channel alone and the projection on each cell alone, so they commute: few directions are
    resized in place of hundreds of channels.

    Args:
        maps: maps whose channels together are the responses.
        projection: the projection of these channels.
        grid: rows and columns.
    """
    channels = [one.values.shape[1] for one in maps]
    parts = zip(maps, torch.split(projection.mean, channels), torch.split(projection.matrix, channels), strict=True)
    projected = (one._replace(values=project(one.values, SlowProjection(*part))) for one, *part in parts)
    return torch.stack([one.on_grid(grid) for one in projected]).sum(0)


def fit_slow_projection(differences: PairDifferences, directions: int = DIRECTIONS) -> SlowProjection:
    """Find the slow directions.

    Each channel is scaled to its own spread first, so that the ridge means the same for all.

    Args:
        differences: of pairs of cells.
        directions: how many to return, the slowest first.
    """
    scale = differences.between.square().mean(0).div(2).sqrt().clamp(min=1e-6)
    near, far, between = (part / scale for part in differences[:3])
    s_between = _scatter(between)
    kept_near, kept_far = near, far
    for _ in range(TRIMMING_ROUNDS):
        s_within = (1 - FAR_SHARE) * _scatter(kept_near) + FAR_SHARE * _scatter(kept_far)
        matrix = _generalized_eigenvectors(s_between, s_within)
        kept_near = _nearest(near, matrix[:, :TRIMMING_DIRECTIONS], KEPT_NEAR)
        kept_far = _nearest(far, matrix[:, :TRIMMING_DIRECTIONS], KEPT_FAR)
    return SlowProjection(differences.mean, matrix[:, :directions] / scale[:, None])


def sample_differences(
    count: int,
    channels: int,
    grid: tuple[int, int],
    responses_of: Callable[[slice], Float[Tensor, "batch channels height width"]],
    seed: int,
    *,
    pairs: int = PAIRS,
    batch_size: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PairDifferences:
    """Draw pairs of cells, and return the differences of their responses.

    Args:
        count: how many images there are.
        channels: how many channels the responses have.
        grid: rows and columns of the responses.
        responses_of: returns the responses of some of the images.
        seed: decides the pairs.
        pairs: how many of each kind.
        batch_size: images at a time: only what the pairs need is kept.
        progress: told how many images are done.
    """
    random = np.random.default_rng(seed)
    kinds = _draw_cells(count, grid, pairs, random)
    values = [torch.empty(pairs, channels) for _ in kinds]
    for start in range(0, count, batch_size):
        batch = slice(start, min(start + batch_size, count))
        found = responses_of(batch).permute(0, 2, 3, 1)
        for kind, (image, row, column) in enumerate(kinds):
            inside = np.flatnonzero((image >= batch.start) & (image < batch.stop))
            values[kind][inside] = found[image[inside] - start, row[inside], column[inside]].float().cpu()
        progress(batch.stop, count)
    at, *others = values
    near, far, between = (torch.sub(at, other, out=other) for other in others)  # in place: they are large
    return PairDifferences(near, far, between, at.mean(0))


Cells = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Image, row and column of each cell."""


def _draw_cells(count: int, grid: tuple[int, int], pairs: int, random: np.random.Generator) -> Sequence[Cells]:
    image = random.integers(count, size=pairs)
    row, column = (random.integers(side, size=pairs) for side in grid)

    def around(share: float) -> Cells:
        reach = max(1, round(share * max(grid)))
        rows, columns = (
            np.clip(place + random.integers(-reach, reach + 1, pairs), 0, side - 1)
            for place, side in zip((row, column), grid, strict=True)
        )
        return image, rows, columns

    other = (image + random.integers(1, max(count, 2), pairs)) % count
    return (image, row, column), around(NEAR), around(FAR), (other, row, column)


def _scatter(differences: Float[Tensor, "pairs channels"]) -> Float[Tensor, "channels channels"]:
    return differences.T @ differences / (2 * len(differences))


def _nearest(
    differences: Float[Tensor, "pairs channels"], matrix: Float[Tensor, "channels directions"], share: float
) -> Float[Tensor, "kept channels"]:
    distances = (differences @ matrix).square().sum(1)
    return differences[distances <= distances.kthvalue(max(1, int(share * len(distances)))).values]


def _generalized_eigenvectors(s_between: Tensor, s_within: Tensor) -> Float[Tensor, "channels channels"]:
    """Return the eigenvectors w of s_between w = lambda s_within w, largest lambda first, with w' s_within w = 1."""
    if not s_between.diagonal().mean() > 0:
        raise AstSegError("All images are the same, or there is only one, so that no textures can be told apart.")
    ridge = RIDGE * s_between.diagonal().mean() * torch.eye(len(s_within))
    inverse = torch.linalg.inv(torch.linalg.cholesky(s_within + ridge))
    _, vectors = torch.linalg.eigh(inverse @ s_between @ inverse.T)
    whitened: Tensor = inverse.T @ vectors.flip(1)
    return whitened
