"""A recipe chosen by the images and the machine: whatever a user leaves open."""

from dataclasses import replace

import torch

from astseg._core.arguments import check_kind
from astseg._core.devices import find_device
from astseg._core.errors import AstSegError, wrong_argument
from astseg._core.settings_io import flatten, override, to_builtins
from astseg._core.text import format_value
from astseg.data.store import Bytes, Store
from astseg.model.slow_features.ground import FAR_BORDER_SHARE
from astseg.training.config import Recipe, is_read
from astseg.training.execution import Execution
from astseg.training.image_traits import far_border_share, texture_strength
from astseg.training.precision import choose_precision
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
from astseg.training.recipe_request import STEP_NUMBERS, RecipeRequest, buildable, refusing
from astseg.training.sizes import at_size
from astseg.training.small_recipes import custom_images_recipe, gpu_recipe, textures_recipe
from astseg.training.state import check_suits
from astseg.training.time_budget import fit_to_steps

DEFAULT_SLOTS = 8
DEFAULT_MINUTES = 30.0
TEXTURE_THRESHOLD = 0.025
"""The least ``texture_strength`` of textured images: between 0.019 (towers at 64 pixels, whose walls have a pattern)
and 0.038 (the CLEVRTEX look-alike at 128; 0.077 at 64); rooms and CLEVR have 0.003."""
MAX_SURFACES = 3
SURFACES_SETTING = "architecture.slow_features.surfaces"


def choose_recipe(store: Store, device: torch.device | str, request: RecipeRequest | None = None) -> RecipeChoice:
    """Choose a recipe for prepared images and a machine.

    Args:
        store: the images; the model works at their size.
        device: where it will be trained.
        request: what the user asks for; by default nothing.

    Raises:
        TypeError: the images are no store.
        AstSegError: the images do not suit the model or the memory, a change does not suit the images or the steps, or
            there is no such device.
    """
    check_kind("request", request, RecipeRequest, optional=True)
    if not isinstance(store, Store):
        raise wrong_argument("choose_recipe takes a store, such as Store('my-data')", store)
    request, device = request or RecipeRequest(), find_device(device) if isinstance(device, str) else device
    images = store["train"].images
    request, reasons = _with_traits(request, images, device)
    if request.changes:
        changes = ", ".join(f"{name} = {value}" for name, value in request.changes.items())
        reasons.append(Reason(f"Changed: {changes}."))
    (recipe,) = _candidates(store.image_size, device, request)
    scenario = recipe.foreground.scenario
    if ignored := ", ".join(name for name in flatten(request.changes) if not is_read(name, scenario)):
        reasons.append(Reason(f"Ignored, as foreground.scenario is {scenario}: {ignored}."))
    if not request.base and recipe.architecture.slow_features is not None and SURFACES_SETTING not in request.changes:
        recipe, reason = _choose_surfaces(recipe, images)
        reasons.append(reason)
    reasons.append(images_reason(store, _other_size(request, store)))
    reasons.append(_objects_reason(request, recipe))
    reasons.append(memory_reason(recipe, device, len(images), request.parts))
    execution, more = _choose_execution(request, recipe, device)
    reasons += more
    recipe, more = _with_steps(request, recipe, images, device, execution)
    reasons += more
    return RecipeChoice(recipe, tuple(reasons), execution)


def check_size(image_size: tuple[int, int], device: torch.device, request: RecipeRequest) -> None:
    """Refuse images of a size for which `choose_recipe` finds no recipe, before they are prepared.

    Args:
        image_size: height and width that the images will have.
        device: where the model will be trained.
        request: what the user asks for.

    Raises:
        AstSegError: the images would not suit the model, or the trained model to begin with, or the training would not
            fit into the memory.
    """
    candidates = _candidates(image_size, device, request)
    if request.trained is not None:
        for candidate in candidates:
            check_suits(request.trained, candidate)
    check_memory(candidates, device, request.parts)


def _candidates(image_size: tuple[int, int], device: torch.device, request: RecipeRequest) -> list[Recipe]:
    """Return the recipes that the request allows, with all changes: one if nothing depends on the images."""
    with refusing():
        if base := request.base:
            slots = {"architecture.num_slots": request.num_slots} if request.num_slots else {}
            recipes = [override(at_size(base, image_size), slots)]
        else:
            make = gpu_recipe if device.type == "cuda" else custom_images_recipe
            num_slots = request.num_slots or DEFAULT_SLOTS
            choices = (True, False) if request.static is None else (request.static,)
            recipes = [] if request.textured else [make(image_size, num_slots, static=static) for static in choices]
            if request.textured is not False and False in choices:
                recipes.append(textures_recipe(image_size, num_slots))
        return [buildable(override(recipe, request.changes)) for recipe in recipes]


def _with_traits(request: RecipeRequest, images: Bytes, device: torch.device) -> tuple[RecipeRequest, list[Reason]]:
    """Decide by the images what kind of recipe they need, unless a recipe is given, and say why."""
    if request.base:
        return request, [Reason(f"Recipe: the preset {request.preset}." if request.preset else "Recipe: your own.")]
    reasons = [Reason(f"Recipe: the one for a {'GPU' if device.type == 'cuda' else 'CPU'}.", "preset")]
    if request.static is None:
        static, why = (False, "as textures ask for") if request.textured else is_static(images)
        reasons.append(background_reason(static, why, "static"))
        request = replace(request, static=static)
    else:
        reasons.append(background_reason(request.static, "as requested"))
    if request.textured is None:
        request, reason = _choose_by_texture(request, images)
        reasons.append(reason)
    return request, reasons


def _choose_by_texture(request: RecipeRequest, images: Bytes) -> tuple[RecipeRequest, Reason]:
    """Decide whether objects are distinguished by textures, which is never necessary before a static background."""
    strength = 0.0 if request.static else texture_strength(images)
    textured = strength > TEXTURE_THRESHOLD
    by = "textures" if textured else "colors"
    why = "" if request.static else f" (a typical pixel differs by {strength:.3f} from its surroundings)"
    return replace(request, textured=textured), Reason(f"Objects are told by {by}{why}.", "textured")


def _choose_surfaces(recipe: Recipe, images: Bytes) -> tuple[Recipe, Reason]:
    """Decide whether the ground of an image has several surfaces."""
    layout = recipe.architecture.slow_features
    assert layout is not None
    share = far_border_share(images, layout)
    surfaces = MAX_SURFACES if share > FAR_BORDER_SHARE else 1
    many = f"up to {surfaces} surfaces" if surfaces > 1 else "one surface"
    reason = Reason(f"Ground: {many} an image ({share:.0%} of the border is clearly not the largest).")
    return override(recipe, {SURFACES_SETTING: surfaces}), reason


def _other_size(request: RecipeRequest, store: Store) -> str:
    """Return a remark on the recipe's own size, if the images have another."""
    if not request.base or request.base.architecture.image_size == store.image_size:
        return ""
    return f" (the recipe's own size is {format_value(request.base.architecture.image_size)})"


def _objects_reason(request: RecipeRequest, recipe: Recipe) -> Reason:
    chosen = request.num_slots or "architecture.num_slots" in request.changes
    guess = "as requested" if chosen else "as in the recipe" if request.base else "a guess"
    most = f"Objects: at most {recipe.architecture.num_slots} in an image ({guess})."
    return Reason(most, None if chosen else "num_slots")


def _choose_execution(request: RecipeRequest, recipe: Recipe, device: torch.device) -> tuple[Execution, list[Reason]]:
    """Decide how the steps are computed, and give a reason for everything unusual."""
    precision = choose_precision(request.precision, recipe.architecture, device)
    reasons = []
    if precision != "fp32":
        faster = "as requested" if request.precision == precision else "which this processor computes much faster"
        open_field = "precision" if request.precision == "auto" else None
        where = "all products" if precision == "tf32" else "the networks"
        reasons.append(Reason(f"Precision: {precision} in {where} ({faster}).", open_field))
    if request.parts > 1:
        reasons.append(Reason(f"Batches: in {request.parts} parts each, as requested."))
    if request.compiled:
        reasons.append(Reason("Losses: compiled, as requested; the first steps of each phase wait for it."))
    return Execution(precision, request.parts, request.compiled), reasons


def _with_steps(
    request: RecipeRequest, recipe: Recipe, images: Bytes, device: torch.device, execution: Execution
) -> tuple[Recipe, list[Reason]]:
    """Fit the steps to the request, and say how many they are.

    Raises:
        AstSegError: a change does not suit these steps.
    """
    asked = request.steps or not STEP_NUMBERS.isdisjoint(request.changes)
    own, why = recipe, "as requested" if asked else "as in the recipe"
    minutes = request.minutes
    if minutes is None and request.steps is None and not request.base and not request.changes_steps:
        minutes = DEFAULT_MINUTES
    with refusing("These steps cannot be trained"):
        if minutes is not None:
            recipe, why = fitted_to_time(recipe, images, device, minutes, execution)
        elif request.steps is not None:
            recipe = fit_to_steps(recipe, request.steps)
        recipe = override(recipe, request.changes)  # again: fitting the steps has shortened the warm-ups
    _check_placement(recipe)
    reasons = [Reason(f"Steps: {_steps_in_words(recipe, own)}, {why}.")]
    if longer := ", ".join(f"{name} = {steps}" for name, steps in unfinished_warmups(recipe).items()):
        text = f"Warm-ups longer than these steps, so that little is learned: {longer}. Set them as well."
        reasons.append(Reason(text, None if request.steps is not None else "steps"))
    return recipe, reasons


def _check_placement(recipe: Recipe) -> None:
    """Refuse a recipe whose slots have places, but would get them after its last step."""
    training = recipe.foreground
    step = training.baseline.placement_step
    if training.scenario == "baseline" and recipe.architecture.slot_position_prior and step > training.steps:
        raise AstSegError(
            f"Slots get their places after foreground.baseline.placement_step, which is {step}, and training ends "
            f"after {training.steps} steps. Set it to a quarter of them or less."
        )


def unfinished_warmups(recipe: Recipe) -> dict[str, int]:
    """Return the warm-ups of a recipe that are longer than its training: their steps by the names of the settings.

    Warm-ups are shortened when a recipe is fitted to steps or to a time, but not when its numbers of steps are set.
    """
    settings = flatten(to_builtins(recipe))
    return {
        name: steps
        for name, steps in settings.items()
        if name.endswith("warmup_steps")
        and steps > settings[f"{name.partition('.')[0]}.steps"]
        and is_read(name, recipe.foreground.scenario)
    }


def _steps_in_words(recipe: Recipe, asked: Recipe) -> str:
    """Say how many steps each part of a training takes, and whether the frozen share is not the requested one."""
    alone, objects = recipe.background.steps, recipe.foreground.steps
    match recipe.foreground.scenario:
        case "background":
            return f"{alone} for the background"
        case "baseline":
            return f"{objects} for the background and the objects together"
        case "curriculum" if (share := _frozen_share(recipe)) != (own := _frozen_share(asked)):
            frozen = f", {share:.0%} of these on the frozen background (of the recipe's own steps {own:.0%})"
        case _:
            frozen = ""
    return f"{alone} for the background and {objects} for the objects{frozen}"


def _frozen_share(recipe: Recipe) -> float:
    """Return the share of the foreground's steps on the frozen background, to a hundredth."""
    return round(recipe.foreground.frozen_steps / recipe.foreground.steps, 2)
