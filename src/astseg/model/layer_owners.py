"""Which layer owns a pixel: the one with the largest weight."""

from jaxtyping import Float, Int64
from torch import Tensor


def layer_owners(weights: Float[Tensor, "..."], dim: int = 1) -> Int64[Tensor, "..."]:
    """Return the index of the largest weight along a dimension, and of equal ones the first.

    As `Tensor.argmax`, which takes several times as long along a dimension other than the last.
    """
    return weights.max(dim).indices
