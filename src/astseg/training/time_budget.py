"""How many training steps fit into a time on this machine."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from astseg.data.store import Bytes
from astseg.training.callbacks import Callback
from astseg.training.config import Recipe
from astseg.training.execution import PLAIN, Execution
from astseg.training.loop import Trainer
from astseg.training.residuals import COMPUTING_RESIDUALS
from astseg.training.shortening import FROZEN_SHARE, with_steps
from astseg.training.state import TrainState

NUM_TIMED_STEPS = 6
NUM_COMPILING_STEPS = 3
"""Steps after a phase's first in which its loss is compiled, and a GPU's graph is tried and recorded."""
MAX_TIMED_SECONDS = 5.0
"""When the timed steps of the background alone have taken longer, no further one is timed; two always are."""
BACKGROUND_SHARE = 0.2
"""The share of the time for the background alone."""
MAX_STATIC_BACKGROUND_STEPS = 1_500
"""A static background has learned all it can by then, and the time is better spent on the objects."""
MIN_STEPS = 200
"""Fewer steps teach nothing, however little time there is."""


class _StepTimer(Callback):
    """Notes when each step of each phase ended."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.times: dict[str, list[float]] = {}
        self.prepared: list[tuple[int, float]] = []

    def on_preparation(self, what: str, done: int, total: int) -> None:
        if what == COMPUTING_RESIDUALS:
            self.prepared.append((done, self._clock()))

    def preparation_seconds(self, images: int) -> float:
        """Return the seconds that the preparation of all images takes, measured after its first batch."""
        if len(self.prepared) < 2:
            return 0.0
        (first, begun), (last, ended) = self.prepared[0], self.prepared[-1]
        return images * (ended - begun) / (last - first)

    def on_phase_start(self, state: TrainState) -> None:
        self.times[state.phase.name] = []

    def on_step_end(self, state: TrainState) -> None:
        if state.device.type != "cpu":
            torch.accelerator.synchronize(state.device)
        self.times[state.phase.name].append(self._clock())

    def took_too_long(self) -> bool:
        """Tell whether at least two steps of each phase are timed and have taken long."""
        return all(len(times) > 1 and times[-1] - times[0] > MAX_TIMED_SECONDS for times in self.times.values())


def measure_step_seconds(
    recipe: Recipe,
    images: Bytes,
    device: torch.device,
    clock: Callable[[], float] = time.monotonic,
    execution: Execution = PLAIN,
) -> dict[str, float]:
    """Measure how many seconds a step of each phase takes, by training a few steps of each.

    The first step of a phase is not timed, because it is slower, nor are steps in which the loss is compiled. The time
    that all images take before the first step on objects, for slow features, is added as ``preparation``.

    Args:
        recipe: what to train.
        images: the training images.
        device: where to train.
        clock: returns seconds, counted from any moment.
        execution: how the steps are computed.

    Returns:
        The seconds by the phase's name.
    """
    untimed = 1 + NUM_COMPILING_STEPS if execution.compiled else 1
    count, alone = NUM_TIMED_STEPS - 1 + untimed, recipe.foreground.scenario == "background"
    short = replace(
        recipe,
        backbone=None,
        background=replace(recipe.background, steps=count, automatic_complexity=False),
        foreground=replace(recipe.foreground, steps=2 * count, frozen_steps=count),
    )
    timer = _StepTimer(clock)
    first = images[: max(recipe.background.batch_size, recipe.foreground.batch_size)]
    with TemporaryDirectory() as folder:
        stop = timer.took_too_long if alone and not execution.compiled else lambda: False
        Trainer(short, first, Path(folder), device, callbacks=[timer], execution=execution).run(stop)
    seconds = {name: (times[-1] - times[untimed - 1]) / (len(times) - untimed) for name, times in timer.times.items()}
    preparation = timer.preparation_seconds(len(images))
    return {**seconds, "preparation": preparation} if preparation else seconds


def fit_to_time(recipe: Recipe, step_seconds: Mapping[str, float], minutes: float) -> tuple[Recipe, float]:
    """Give the phases of a recipe as many steps as fit into a time.

    Warm-ups are shortened as by ``with_steps``.

    Args:
        recipe: what to train.
        step_seconds: what a step of each phase takes; see ``measure_step_seconds``.
        minutes: the time that all phases may take together.

    Returns:
        The recipe, and the minutes that it takes: more than asked for if these are too few to learn anything, and fewer
        if a static background that is trained alone needs no more.
    """
    scenario = recipe.foreground.scenario
    preparation = step_seconds.get("preparation", 0.0)
    seconds = max(0.0, 60 * minutes - preparation)
    if scenario == "background":
        steps = max(MIN_STEPS, int(_useful_steps(recipe, seconds / step_seconds["background"])))
        return with_steps(recipe, steps, recipe.foreground.steps), steps * step_seconds["background"] / 60
    background_step = step_seconds.get("background", 0.0)  # baseline training has none
    background = 0.0 if scenario == "baseline" else _useful_steps(recipe, BACKGROUND_SHARE * seconds / background_step)
    frozen = {"curriculum": FROZEN_SHARE, "frozen": 1.0, "baseline": 0.0}[scenario]
    step = frozen * step_seconds.get("objects", 0.0) + (1 - frozen) * step_seconds.get("joint", 0.0)
    foreground = max(MIN_STEPS, int((seconds - background * background_step) / step))
    alone = max(MIN_STEPS, int(background))
    return with_steps(recipe, alone, foreground), (preparation + alone * background_step + foreground * step) / 60


def fit_to_steps(recipe: Recipe, foreground: int) -> Recipe:
    """Give the foreground a number of steps, and the background a third of it, but no more than it needs.

    If the background is trained alone, it gets all of the steps.
    """
    if recipe.foreground.scenario == "background":
        return with_steps(recipe, foreground, recipe.foreground.steps)
    return with_steps(recipe, int(_useful_steps(recipe, max(1, foreground // 3))), foreground)


def _useful_steps(recipe: Recipe, background: float) -> float:
    """Return the background's steps, but no more than it needs.

    A static background soon stops learning. In a model of slow features the background only paints colors, for which
    the recipe's own steps are enough.
    """
    if recipe.architecture.slow_features is not None and recipe.foreground.scenario != "background":
        return min(background, recipe.background.steps)
    static = recipe.architecture.background_network == "static"
    return min(background, MAX_STATIC_BACKGROUND_STEPS) if static else background
