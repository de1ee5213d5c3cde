"""A recipe with other numbers of steps, whose warm-ups fit into them."""

from dataclasses import replace

from astseg.training.config import Recipe
from astseg.training.schedules import LearningRate

FROZEN_SHARE = 0.6
"""The share of the foreground's steps on the frozen background."""
MAX_SHADOWLESS_SHARE = 0.4
"""The largest share of the foreground's steps without shadows."""
MAX_SHADOWLESS_BASELINE_SHARE = 0.65
"""The same in baseline training."""


def with_steps(recipe: Recipe, background: int, foreground: int) -> Recipe:
    """Return a recipe with other numbers of steps, and with warm-ups that fit into them.

    The limits, as shares of the background's or the foreground's steps:

    * Learning rates warm up for at most a tenth, and the weight of the entropy for at most a third.
    * The robust weight's exponent rises within nine tenths, and the cost of slots in use by the end.
    * Dead slots are reset in the first half.
    * In a curriculum, three fifths are on the frozen background, whatever the recipe's own share is (the paper's is a
      quarter): this is better for short trainings.
    * In baseline training, the objects' learning rate warms up for at most two fifths, and slots are placed in the
      first quarter.
    """
    baseline = recipe.foreground.baseline
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
            baseline=replace(
                baseline,
                objects_warmup_steps=min(baseline.objects_warmup_steps, 2 * foreground // 5),
                placement_step=min(baseline.placement_step, max(1, foreground // 4)),
                shadow_start=min(baseline.shadow_start, round(MAX_SHADOWLESS_BASELINE_SHARE * foreground)),
            ),
            entropy_warmup_steps=min(recipe.foreground.entropy_warmup_steps, foreground // 3),
            slot_use_warmup_steps=min(recipe.foreground.slot_use_warmup_steps, foreground),
            reinitialize_slots_until=min(recipe.foreground.reinitialize_slots_until, foreground // 2),
            shadow_start=min(recipe.foreground.shadow_start, round(MAX_SHADOWLESS_SHARE * foreground)),
            learning_rate=_shortened(recipe.foreground.learning_rate, foreground // 10),
        ),
    )


def _shortened(rate: LearningRate, max_warmup_steps: int) -> LearningRate:
    return replace(rate, warmup_steps=min(rate.warmup_steps, max_warmup_steps))
