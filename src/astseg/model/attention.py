"""From attention logits to positions and object queries: equations 10 to 16 of the paper, as pure functions.

Positions are in the frame of spatial transformers: x runs from -1 at the left to +1 at the right, y from -1 at the
top to +1 at the bottom.
"""

from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

CornerConvention: TypeAlias = Literal["published", "consistent"]
"""Where the frame's -1 and +1 lie.

``published``: on the centers of the map's first and last cells (equations 12 and 13). The spatial transformer puts
them on the outer borders of the image, so a predicted displacement is larger than the true one by w*/(w* - 1).
``consistent``: on the outer borders in both.
"""


COLOR_SCALE = 0.25  # a mean difference of colors that is too large for shading alone


class ObjectQueries(NamedTuple):
    """The position and the pooled features of each of the K slots."""

    positions: Float[Tensor, "batch slots 2"]
    """x and y."""
    features: Float[Tensor, "batch slots features"]
    """The feature map, pooled under the slot's attention."""


def spatial_softmax(logits: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch height width"]:
    """Convert each map of logits into weights that sum to one over the map (equation 11)."""
    return logits.flatten(-2).softmax(-1).view_as(logits)


def cell_coordinates(
    cells: int, convention: CornerConvention = "published", *, like: Tensor | None = None
) -> Float[Tensor, "cells"]:
    """Return the coordinates of the centers of a row of cells (equations 12 and 13).

    Args:
        cells: the number of cells along a side of the map. A single cell lies at 0.
        convention: the frame of the coordinates.
        like: a tensor with the device and type of the result.

    >>> cell_coordinates(3).tolist()
    [-1.0, 0.0, 1.0]
    >>> cell_coordinates(2, "consistent").tolist()
    [-0.5, 0.5]
    """
    dtype, device = (like.dtype, like.device) if like is not None else (None, None)
    if cells == 1:
        return torch.zeros(1, dtype=dtype, device=device)
    end = 1.0 if convention == "published" else 1.0 - 1.0 / cells
    return torch.linspace(-end, end, cells, dtype=dtype, device=device)


def coordinate_map(
    size: tuple[int, int], convention: CornerConvention = "published", *, like: Tensor | None = None
) -> Float[Tensor, "2 height width"]:
    """Return the x and y coordinates of the cells of a map of this height and width, as two channels."""
    y, x = (cell_coordinates(cells, convention, like=like) for cells in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


def soft_argmax(
    attention: Float[Tensor, "*batch height width"], convention: CornerConvention = "published"
) -> Float[Tensor, "*batch 2"]:
    """Return the center of mass (x, y) of attention maps that sum to one (equations 14 and 15).

    >>> attention = torch.zeros(3, 3)
    >>> attention[0, 2] = 1  # all weight on the upper right cell
    >>> soft_argmax(attention).tolist()
    [1.0, -1.0]
    """
    x = attention.sum(-2) @ cell_coordinates(attention.shape[-1], convention, like=attention)
    y = attention.sum(-1) @ cell_coordinates(attention.shape[-2], convention, like=attention)
    return torch.stack((x, y), -1)


def attention_pooling(
    attention: Float[Tensor, "batch slots height width"],
    features: Float[Tensor, "batch features height width"],
) -> Float[Tensor, "batch slots features"]:
    """Return the mean of the feature map under each attention map (equation 16), as one matrix product."""
    return attention.flatten(2) @ features.flatten(2).transpose(1, 2)


def evidence_by_colors(
    images: Float[Tensor, "batch 3 height width"],
    backgrounds: Float[Tensor, "batch 3 height width"],
    map_size: tuple[int, int],
) -> Float[Tensor, "batch 1 map_height map_width"]:
    """Return how much images differ from their backgrounds in each cell of a map, from 0 to 1. Not in the paper.

    Added to all attention logits, it draws every slot to the pixels that the background does not explain, from the
    first step. Each slot still has to learn which of the objects is its own.
    """
    distance = (images - backgrounds.detach()).abs().mean(1, keepdim=True)
    return F.adaptive_avg_pool2d((distance / COLOR_SCALE).tanh(), map_size)


def gather_queries(
    attention: Float[Tensor, "batch slots height width"],
    features: Float[Tensor, "batch features height width"],
    convention: CornerConvention = "published",
) -> ObjectQueries:
    """Return the positions and pooled features of all slots from their attention maps (equations 12 to 16)."""
    # Positions are pooled coordinates, so one product computes both. Do not split it: in single precision another order
    # of summation changes a position's last digit, which visibly moves a strongly reduced glimpse.
    coordinates = coordinate_map((features.shape[-2], features.shape[-1]), convention, like=features)
    triplets = torch.cat((coordinates.expand(features.shape[0], -1, -1, -1), features), 1)
    pooled = attention_pooling(attention, triplets)
    return ObjectQueries(pooled[..., :2], pooled[..., 2:])
