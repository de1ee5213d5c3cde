"""Losses of the user's own beside a phase's (`Callback.more_losses`)."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from astseg.model.ast_seg import AstSeg
from astseg.training.batches import Batch
from astseg.training.callbacks import Callback
from astseg.training.compilation import LossFunction
from astseg.training.diagnostics import Diagnostics
from astseg.training.phases import Losses, Schedule
from astseg.training.state import TrainState


def with_more_losses(losses_of: LossFunction, callbacks: Sequence[Callback], state: TrainState) -> LossFunction:
    """Return losses with the terms that callbacks add to them.

    Where two terms or metrics have one name, or a term is not a tensor of a single number, a step raises a ValueError.

    Args:
        losses_of: the phase's own.
        callbacks: those that add terms.
        state: of the run.
    """

    def losses(model: AstSeg, batch: Batch, schedule: Schedule) -> Losses:
        own = losses_of(model, batch, schedule)
        total, terms = own.total, dict(own.terms)
        for callback in callbacks:
            more = callback.more_losses(state, batch, own)
            if not isinstance(more, Mapping):
                raise ValueError(f"more_losses should return terms by name, {{}} for none, not {more!r:.80}")
            for name, term in more.items():
                if name in {*terms, "total", *Diagnostics._fields, *state.phase.group_rates(0)}:
                    raise ValueError(f"there is a loss or a metric '{name}' already: give this one another name")
                if not isinstance(term, Tensor):
                    raise ValueError(f"the loss '{name}' should be a tensor, not {term!r:.80}")
                if term.shape != ():
                    raise ValueError(f"the loss '{name}' should be a single number, not of shape {tuple(term.shape)}")
                terms[name], total = term, total + term
        return Losses(total, terms, own.rendering)

    return losses
