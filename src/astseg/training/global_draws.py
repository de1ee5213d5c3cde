"""Random numbers for a part of a batch that do not depend on how the batch is divided."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from astseg.training.batch_part import BatchPart

DROPOUTS = F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout
DRAWING = frozenset(
    {*DROPOUTS, F.multi_head_attention_forward, torch.rand, torch.rand_like, torch.randn, torch.randn_like}
)
"""The functions that draw random numbers for each image, and that `GlobalDraws` has to be around."""


class GlobalDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
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
        """Return how many rows the whole batch has where this part has this many, and which of them are this part's.

        An image may have several rows, such as one for each head. Rows that cannot be divided among the images do not
        belong to them: no more are drawn then.
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
