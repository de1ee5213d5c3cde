"""How many steps fit a time on the machine at hand."""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from astseg.data.store import Bytes
from astseg.training.callbacks import Callback
from astseg.training.config import Recipe, Scenario
from astseg.training.loop import Trainer
from astseg.training.schedules import LearningRate
from astseg.training.state import TrainState

TIMED_STEPS = 6
TIMED_SECONDS = 5.0
"""When these have passed since the first, no further step of the background alone is timed; two are in any case."""
BACKGROUND_SHARE = 0.2
"""The share of the time for the background alone."""
STILL_BACKGROUND_STEPS = 1_500
"""A single background has learned by then what it can, and the time is better spent on the objects."""
FROZEN_SHARE = 0.6
"""The share of the foreground's steps on the frozen background."""
SHADOW_SHARE = 0.4
"""The share of the foreground's steps without shadows, at the most."""
MIN_STEPS = 200
"""Less than this teaches nothing, however little time there is."""


class _Stopwatch(Callback):
    """Notes when each step of each phase was done."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def on_phase_start(self, state: TrainState) -> None:
        self.times[state.phase.name] = []

    def on_step_end(self, state: TrainState) -> None:
        if state.device.type == "cuda":
            torch.cuda.synchronize(state.device)
        self.times[state.phase.name].append(time.monotonic())

    def knows_enough(self) -> bool:
        """Tell whether two steps have been timed and the next would take too long."""
        return all(len(times) > 1 and times[-1] - times[0] > TIMED_SECONDS for times in self.times.values())

    def seconds_per_step(self, name: str) -> float:
        """Return the time of a step, without the first, which pays for warming up."""
        times = self.times[name]
        return (times[-1] - times[0]) / (len(times) - 1)


def fit_to_time(recipe: Recipe, images: Bytes, device: torch.device, minutes: float) -> tuple[Recipe, float]:
    """Give a scenario's phases as many steps as fit a time, measured by a few steps of each.

    Warm-ups are shortened as by ``with_steps``.

    Args:
        recipe: what to train.
        images: the training images.
        device: where.
        minutes: the time that all phases may take together.

    Returns:
        The recipe, and how many minutes it takes: more than there are where these are too few to learn anything.
    """
    scenario = recipe.foreground.scenario
    times = _seconds_per_step(recipe, images, device, scenario)
    seconds = 60 * minutes
    background_step = times.get("background", 0.0)  # baseline training has none
    background = 0.0 if scenario == "baseline" else _worthwhile(recipe, BACKGROUND_SHARE * seconds / background_step)
    frozen = {"curriculum": FROZEN_SHARE, "frozen": 1.0, "baseline": 0.0}[scenario]
    step = frozen * times.get("objects", 0.0) + (1 - frozen) * times.get("joint", 0.0)
    foreground = max(MIN_STEPS, int((seconds - background * background_step) / step))
    alone = max(MIN_STEPS, int(background))
    return with_steps(recipe, alone, foreground), (alone * background_step + foreground * step) / 60


def fit_to_steps(recipe: Recipe, foreground: int) -> Recipe:
    """Give the foreground so many steps, and the background a third of them, or what a still one needs."""
    return with_steps(recipe, int(_worthwhile(recipe, max(1, foreground // 3))), foreground)


def _worthwhile(recipe: Recipe, background: float) -> float:
    """So many steps of the background, or as many as a still one needs."""
    static = recipe.architecture.background_network == "static"
    return min(background, STILL_BACKGROUND_STEPS) if static else background


def background_steps(recipe: Recipe, images: Bytes, device: torch.device, minutes: float) -> tuple[int, float]:
    """Return how many steps of the background alone fit a time, measured by a few of the recipe's network.

    Returns:
        The steps, and how many minutes they take: more than there are where these are too few to learn anything, and
        fewer where a static background needs no more.
    """
    step = _seconds_per_step(recipe, images, device, "background")["background"]
    steps = max(MIN_STEPS, int(_worthwhile(recipe, 60 * minutes / step)))
    return steps, steps * step / 60


def _seconds_per_step(recipe: Recipe, images: Bytes, device: torch.device, scenario: Scenario) -> dict[str, float]:
    count = TIMED_STEPS
    short = replace(
        recipe,
        backbone=None,
        background=replace(recipe.background, steps=count, automatic_complexity=False),
        foreground=replace(recipe.foreground, scenario=scenario, steps=2 * count, frozen_steps=count),
    )
    stopwatch = _Stopwatch()
    first = images[: max(recipe.background.batch_size, recipe.foreground.batch_size)]
    with TemporaryDirectory() as folder:
        stop = stopwatch.knows_enough if scenario == "background" else lambda: False
        Trainer(short, first, Path(folder), device, callbacks=[stopwatch]).run(stop)
    return {name: stopwatch.seconds_per_step(name) for name in stopwatch.times}


def with_steps(recipe: Recipe, background: int, foreground: int) -> Recipe:
    """Return a recipe with other numbers of steps, and with warm-ups that fit into them.

    Learning rates warm up over a tenth of the steps at the most, the entropy over a third, the robust weight's exponent
    is at its highest after nine tenths, and the cost of slots in use over all of them. Slots are revived in the first
    half at the most.
    """
    start, ramp = recipe.background.exponent_ramp_start, recipe.background.exponent_ramp_steps
    fitting = min(1.0, 0.9 * background / max(1, start + ramp))
    return replace(
        recipe,
        background=replace(
            recipe.background,
            steps=background,
            complex_steps=background,
            complex_epochs=0,
            exponent_ramp_start=round(fitting * start),
            exponent_ramp_steps=round(fitting * ramp),
            learning_rate=_shortened(recipe.background.learning_rate, background // 10),
        ),
        foreground=replace(
            recipe.foreground,
            steps=foreground,
            frozen_steps=min(round(FROZEN_SHARE * foreground), foreground - 1),
            entropy_warmup_steps=min(recipe.foreground.entropy_warmup_steps, foreground // 3),
            slot_use_warmup_steps=min(recipe.foreground.slot_use_warmup_steps, foreground),
            reinitialize_slots_until=min(recipe.foreground.reinitialize_slots_until, foreground // 2),
            shadow_start=min(recipe.foreground.shadow_start, round(SHADOW_SHARE * foreground)),
            learning_rate=_shortened(recipe.foreground.learning_rate, foreground // 10),
        ),
    )


def _shortened(rate: LearningRate, warmup_steps: int) -> LearningRate:
    return replace(rate, warmup_steps=min(rate.warmup_steps, warmup_steps))
