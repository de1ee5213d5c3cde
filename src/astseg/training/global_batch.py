"""A step in parts that equals a step on the whole batch: several processes have a part each, or one has all in turn.

Every loss is a mean over images, so that the losses and gradients of the parts, weighted by their shares, add up to
those of the whole batch. Two things need care:

* Batch normalization looks across images. Its mean and variance are those of all parts that are computed at the same
  time, in all processes.
* Random numbers must not depend on the number of parts. With each part they are drawn for all images of the batch, and
  the part takes its own. (On a GPU, those of several parts differ from those of one.)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from astseg._core import processes
from astseg.model.single_precision import at_least_single
from astseg.training.batch_part import BatchPart
from astseg.training.global_draws import DRAWING, GlobalDraws


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace the gradients by their sums over all processes, in one message."""
    if processes.count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = processes.add_up(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    sums = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, total in zip(gradients, sums, strict=True):
        gradient.copy_(total.view(gradient.shape))


class GlobalBatch(TorchFunctionMode):
    """Within this context, training computes on a part of a batch what it would on the whole.

    Args:
        part: the images that are computed. They are the first axis of everything that is normalized or drawn.
    """

    def __init__(self, part: BatchPart) -> None:
        super().__init__()
        self._part = part
        self._draws = GlobalDraws(part)

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function is F.batch_norm:
            return self._batch_norm(*args, **kwargs)
        if function in DRAWING:
            with self._draws, sdpa_kernel(SDPBackend.MATH):  # fused attention, of GPUs, draws by itself
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    def _batch_norm(
        self,
        maps: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """Normalize as `torch.nn.functional.batch_norm`, by the mean and variance of all parts, in one message."""
        if not training:
            return F.batch_norm(maps, running_mean, running_var, weight, bias, False, momentum, eps)
        others = [0, *range(2, maps.ndim)]
        shape = [1, -1] + [1] * (maps.ndim - 2)
        wide = at_least_single(maps)  # as torch's own accumulates
        own_mean = wide.mean(others)
        count = torch.full_like(own_mean, maps.numel() // maps.shape[1])
        own_squares = (wide - own_mean.view(shape)).square().sum(others)
        counts, means, squares = _of_all(torch.stack((count, own_mean, own_squares))).unbind(1)
        total = counts.sum(0)
        if total[0] <= 1:
            raise ValueError("batch normalization needs more than 1 value of a channel: take larger or fewer parts")
        mean = (counts * means).sum(0) / total
        variance = (squares + counts * (means - mean).square()).sum(0) / total
        with torch.no_grad():
            if running_mean is not None:
                running_mean.lerp_(mean, momentum)
            if running_var is not None:
                running_var.lerp_(variance * total / (total - 1), momentum)
        scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
        shift = (0 if bias is None else bias) - mean * scale
        return (wide * scale.view(shape) + shift.view(shape)).to(maps.dtype)


class _Total(torch.autograd.Function):
    """The sum over all processes, through which gradients flow."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return processes.add_up(values.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return processes.add_up(gradient.clone(memory_format=torch.contiguous_format))


def _of_all(values: Tensor) -> Tensor:
    """Return the values of each process, stacked."""
    placed = torch.zeros(processes.count(), *values.shape, dtype=values.dtype, device=values.device)
    placed[processes.rank()] = values
    stacked: Tensor = _Total.apply(placed)  # type: ignore[no-untyped-call]
    return stacked
