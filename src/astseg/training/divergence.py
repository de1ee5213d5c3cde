"""Stopping a training that has diverged, before non-finite weights are saved over good ones."""

import math

from astseg._core.errors import NonFiniteWeightsError
from astseg.model.ast_seg import AstSeg
from astseg.training.health import DIVERGED_ADVICE, judge_weights

KEPT = "What was saved before is kept, but would diverge again."


def check_weights(model: AstSeg) -> None:
    """Raise unless all weights are finite.

    Raises:
        NonFiniteWeightsError: a weight is not.
    """
    judgment = judge_weights(model)
    if not judgment.healthy:
        raise NonFiniteWeightsError(f"{judgment.finding} {KEPT} {judgment.advice}")


def check_loss(loss: float, model: AstSeg, where: str) -> None:
    """Raise unless a loss is finite.

    Args:
        loss: the mean over the whole batch.
        model: what was trained, whose weights are named as the reason if they are not finite.
        where: the phase and the step, in words.

    Raises:
        NonFiniteWeightsError: the loss is not finite.
    """
    if not math.isfinite(loss):
        check_weights(model)
        raise NonFiniteWeightsError(
            f"Training diverged: the loss is no longer finite in {where}. {KEPT} {DIVERGED_ADVICE}"
        )
