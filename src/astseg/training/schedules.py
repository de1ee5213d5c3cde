"""Schedules of learning rates and loss weights: pure functions of the step, counted from 0."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from astseg._core.settings_io import NOT_NEGATIVE, POSITIVE, SHARE, check_choice, check_values

Decay: TypeAlias = Literal["drop", "cosine"]
"""``drop``: a tenth of the rate from a given share of the steps on, as in the paper. ``cosine``: from that share on,
the rate falls to 0 along half a cosine."""


def quadratic_warmup(step: int, steps: int) -> float:
    """Return a rise from 0 to 1 with the square of the step (equation 22 and the learning rate's warm-up).

    >>> [quadratic_warmup(step, 4) for step in (0, 2, 4, 100)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return min(1.0, step / steps) ** 2 if steps else 1.0


def linear_ramp(step: int, start: int, steps: int) -> float:
    """Return 0 up to the step ``start``, then a linear rise to 1 over ``steps``.

    >>> [linear_ramp(step, 4, 2) for step in (0, 4, 5, 6, 100)]
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    if step < start:
        return 0.0
    return min(1.0, (step - start) / steps) if steps else 1.0


@dataclass(frozen=True)
class LearningRate:
    """A learning rate that warms up, holds, and decays."""

    peak: float
    """The rate between warm-up and decay."""
    warmup_steps: int = 0
    """Steps over which the rate rises with the square of the step."""
    decay: Decay = "drop"
    decay_start: float = 0.9
    """The share of all steps after which the rate decays."""

    def __post_init__(self) -> None:
        check_values(self, peak=POSITIVE, warmup_steps=NOT_NEGATIVE, decay_start=SHARE)
        check_choice("decay", self.decay, Decay)

    def at(self, step: int, steps: int) -> float:
        """Return the rate at a step, counted from 0, of a training of ``steps``.

        >>> LearningRate(1.0).at(89, 100), LearningRate(1.0).at(90, 100)
        (1.0, 0.1)
        """
        rate = self.peak * quadratic_warmup(step + 1, self.warmup_steps)
        progress = step / steps
        if progress < self.decay_start:
            return rate
        if self.decay == "drop":
            return rate * 0.1
        return rate * 0.5 * (1 + math.cos(math.pi * (progress - self.decay_start) / (1 - self.decay_start)))
