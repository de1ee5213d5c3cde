"""Tensors for tests."""

import torch
from torch import Tensor


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return values in [0, 1) in double precision, the same for a seed."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def row_of_owners(owners: str, slots: int) -> Tensor:
    """Return weights of an image with one row, each pixel owned by one layer alone, such as ``0012`` with 2 slots."""
    layers = torch.nn.functional.one_hot(torch.tensor([int(owner) for owner in owners]), slots + 1)
    return layers.T[None, :, None].double()
