"""The callbacks that a recipe asks for, which change the course of training."""

from collections.abc import Callable

from astseg.training.baseline_placement import BaselinePlacement
from astseg.training.batches import TrainingImages
from astseg.training.callbacks import Callback
from astseg.training.complexity import ComplexityCheck
from astseg.training.config import Recipe
from astseg.training.dead_slots import DeadSlotReset


def recipe_callbacks(
    recipe: Recipe, images: TrainingImages, note: Callable[[str], None] = lambda text: None
) -> list[Callback]:
    """Return the callbacks that the recipe asks for.

    Args:
        recipe: what is trained.
        images: the training images.
        note: told in a sentence or two what people should know.
    """
    callbacks: list[Callback] = []
    if recipe.foreground.reinitialize_slots_until:
        callbacks.append(DeadSlotReset(recipe.foreground.reinitialize_slots_until))
    if recipe.foreground.scenario == "baseline" and recipe.architecture.slot_position_prior:
        callbacks.append(BaselinePlacement(recipe.foreground.baseline.placement_step, note))
    if recipe.background.automatic_complexity:
        callbacks.append(ComplexityCheck(images))
    return callbacks
