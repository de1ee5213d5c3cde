"""A step in parts that equals a step on the whole batch: several processes have a part each, or one has all in turn.

Every loss is a mean over images, so that shares of losses and of gradients add up to those of the whole batch. Two
things are left. Batch normalization looks across images: its mean and variance are those of the parts that are computed
at the same time. Random numbers are drawn for all images with each part, which takes its own, so that they do not
depend on the number of parts (on a GPU, those of several parts differ from those of one).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from astseg._core import processes
from astseg.model.precision import at_least_single


class BatchPart(NamedTuple):
    """The images of a batch that are computed together."""

    start: int
    stop: int
    size: int
    """The images of the whole batch."""

    @property
    def share(self) -> float:
        """Their share of the batch."""
        return (self.stop - self.start) / self.size

    def divided(self, count: int) -> "list[BatchPart]":
        """Return so many parts of this part, or one for each image; they differ by one image at most.

        All processes divide theirs into as many, as they wait for each other in each: into no more than there are
        images in the smallest.
        """
        images = self.stop - self.start
        count = min(count, images, max(1, self.size // processes.count()))
        bounds = [self.start + images * index // count for index in range(count + 1)]
        return [BatchPart(start, stop, self.size) for start, stop in pairwise(bounds)]

    @property
    def places(self) -> slice:
        """Where they are in the batch."""
        return slice(self.start, self.stop)


def own_part(size: int) -> BatchPart:
    """Return the part of a batch that this process sees; parts differ by one image at most."""
    rank, count = processes.rank(), processes.count()
    return BatchPart(size * rank // count, size * (rank + 1) // count, size)


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace the gradients by their sums over all processes, in one message."""
    if processes.count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = processes.add_up(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    sums = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, total in zip(gradients, sums, strict=True):
        gradient.copy_(total.view(gradient.shape))


def mean_over_batch(values: Mapping[str, float], part: BatchPart) -> dict[str, float]:
    """Return means over the whole batch, given those over each process's part."""
    if processes.count() == 1:
        return dict(values)
    sums = processes.add_up(torch.tensor(list(values.values()), dtype=torch.float64) * part.share)
    return dict(zip(values, sums.tolist(), strict=True))


class GlobalBatch(TorchFunctionMode):
    """Within this context, training computes on a part of a batch what it would on the whole.

    Args:
        part: the images that are computed; they come first in the shape of all that is normalized or drawn.
    """

    def __init__(self, part: BatchPart) -> None:
        super().__init__()
        self._part = part
        self._draws = _GlobalDraws(part)

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


DROPOUTS = F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout
DRAWING = frozenset(
    {*DROPOUTS, F.multi_head_attention_forward, torch.rand, torch.rand_like, torch.randn, torch.randn_like}
)
"""The functions that draw random numbers for each image."""


class _GlobalDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Draws random numbers for the whole batch, and keeps those of a part."""

    def __init__(self, part: BatchPart) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._part = part

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs, aten = kwargs or {}, torch.ops.aten
        if function is aten.bernoulli_.float:
            values, probability = (*args, 0.5)[:2]  # which is left out where it is the default
            return values.copy_(self._drawn(values, lambda whole: whole.bernoulli_(probability)))
        if function is aten.native_dropout.default:  # on a GPU
            values, probability, _ = args
            kept = self._drawn(values, lambda whole: whole.bernoulli_(1 - probability))
            return values * kept / (1 - probability), kept.bool()
        if function in (aten.rand_like.default, aten.randn_like.default) and args[0].ndim:
            uniform = function is aten.rand_like.default
            return self._drawn(args[0], lambda whole: whole.uniform_() if uniform else whole.normal_())
        if function in (aten.rand.default, aten.randn.default) and args[0]:
            rows, own = self._of_whole_batch(args[0][0])
            return function((rows, *args[0][1:]), **kwargs)[own]
        return function(*args, **kwargs)

    def _of_whole_batch(self, rows: int) -> tuple[int, slice]:
        """Return how many rows the whole batch has where this part has so many, and which of them are this part's.

        Each image has as many, such as one for each head; otherwise they are not of images, and all are this part's.
        """
        each, rest = divmod(rows, self._part.stop - self._part.start)
        if rest:
            return rows, slice(rows)
        return each * self._part.size, slice(each * self._part.start, each * self._part.stop)

    def _drawn(self, like: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Return this part of what is drawn for the whole batch, in the order in which it would lie in memory."""
        shape, strides = like.shape, like.stride()
        layout = sorted(range(like.ndim), key=lambda axis: (-strides[axis], -shape[axis]))
        rows, own = self._of_whole_batch(shape[0])
        whole = torch.empty_permuted((rows, *shape[1:]), layout, dtype=like.dtype, device=like.device)
        return draw(whole)[own]


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
