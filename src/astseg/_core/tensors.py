"""Which tensors can be computed with, and their values as arrays."""

from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

FLOATING_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Of numbers that are computed with; torch has others to store them in."""


def is_plain(value: object) -> TypeGuard[Tensor]:
    """Tell whether a value is a tensor whose numbers lie in memory one by one.

    >>> [is_plain(value) for value in (torch.zeros(2), torch.zeros(2).to_sparse(), torch.zeros(2).to("meta"), [0.0])]
    [True, False, False, False]
    """
    if not isinstance(value, Tensor) or value.is_nested or value.is_quantized or value.is_meta:
        return False
    return value.layout == torch.strided


def to_array(values: Any) -> np.ndarray:
    """Return a tensor on any device, an array or a list of arrays as an array in main memory."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
