"""A recipe for the background alone, chosen by the images and the machine."""

from dataclasses import replace

import torch

from astseg.data.store import Store
from astseg.training.config import BackgroundTraining, Recipe
from astseg.training.recipe_reasons import (
    Reason,
    RecipeChoice,
    background_reason,
    check_memory,
    fitted_to_time,
    images_reason,
    is_static,
    memory_reason,
)
from astseg.training.recipe_request import buildable, refusing
from astseg.training.small_recipes import cpu_recipe, custom_images_recipe


def choose_background(store: Store, device: torch.device, minutes: float) -> RecipeChoice:
    """Choose a recipe for the background alone.

    On a GPU it is AE-NE, which finds out by itself whether there is one background or many. It trains for the minutes
    as if there were one; if there turn out to be many, it starts again with the larger network that they need, for as
    many minutes again. A step of AE-NE takes seconds on a CPU, which gets the network of `choose_recipe` instead.

    Raises:
        AstSegError: the images are too small, or the training does not fit into the memory.
    """
    images = store["train"].images
    if device.type == "cuda":
        recipe, complex_recipe = _ae_ne_recipes(store.image_size)
        reasons = [images_reason(store), memory_reason(recipe, device, len(images))]
        fitted, time = fitted_to_time(recipe, images, device, minutes)
        complex_fitted, complex_time = fitted_to_time(complex_recipe, images, device, minutes)
        steps, complex_steps = fitted.background.steps, complex_fitted.background.steps
        settings = replace(recipe.background, steps=steps, complex_steps=complex_steps, automatic_complexity=True)
        recipe = replace(recipe, background=settings)
        more = [Reason(f"For many backgrounds: a larger network, {complex_steps} more, {complex_time}.")]
    else:
        static, why = is_static(images)
        recipe = _cpu_background_recipe(store.image_size, static)
        reasons = [background_reason(static, why), images_reason(store), memory_reason(recipe, device, len(images))]
        recipe, time = fitted_to_time(recipe, images, device, minutes)
        more = []
    return RecipeChoice(recipe, (*reasons, Reason(f"Steps: {recipe.background.steps}, {time}."), *more))


def check_background_size(image_size: tuple[int, int], device: torch.device) -> None:
    """Refuse images of a size for which `choose_background` finds no recipe, before they are prepared.

    Raises:
        AstSegError: as for `check_size`.
    """
    if device.type == "cuda":
        recipes = [_ae_ne_recipes(image_size)[0]]
    else:
        recipes = [_cpu_background_recipe(image_size, static) for static in (True, False)]
    check_memory(recipes, device)


def _cpu_background_recipe(image_size: tuple[int, int], static: bool) -> Recipe:
    with refusing():
        return _background_alone(buildable(custom_images_recipe(image_size, 1, static=static)))


def _ae_ne_recipes(image_size: tuple[int, int]) -> tuple[Recipe, Recipe]:
    """Return AE-NE's recipe for one background, and the one for many."""
    with refusing():
        recipe = buildable(replace(cpu_recipe(image_size, 1), background=BackgroundTraining(batch_size=32)))
    simple = replace(recipe.architecture, background_network="simple")
    recipe = _background_alone(replace(recipe, architecture=simple))
    return recipe, replace(recipe, architecture=replace(simple, background_network="complex"))


def _background_alone(recipe: Recipe) -> Recipe:
    return replace(recipe, foreground=replace(recipe.foreground, scenario="background"))
