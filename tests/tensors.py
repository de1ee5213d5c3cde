"""Tensors for tests."""

import torch
from torch import Tensor


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return values in [0, 1) in double precision, the same for a seed."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
