"""What is computed in single precision even where networks run in bfloat16.

Convolutions and large products may run in bfloat16 under ``torch.autocast``. Its eight bits of precision are too few
for what comes after them: positions, which are sums over a softmax; activations up to e^11 that compete for a pixel;
entropies and losses.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def single_precision(like: Tensor) -> AbstractContextManager[None]:
    """Return a context without autocast on the device of a tensor; a tensor of bfloat16 must still be converted."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def at_least_single(values: Tensor) -> Tensor:
    """Return values of 16 bits in single precision, and others as they are."""
    return values.float() if values.element_size() < 4 else values
