"""Recipes chosen from the images, the machine and a few requests: each choice with its reason in a sentence."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from astseg._core.devices import find_device
from astseg._core.errors import AstSegError, MemoryShortageError, wrong_argument
from astseg._core.settings_io import flatten, override, to_builtins
from astseg._core.text import format_value
from astseg.data.store import Bytes, Store
from astseg.model.architecture import MAX_SLOTS, Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.slow_features.ground import FAR_BORDER_SHARE
from astseg.training.config import BackgroundTraining, Recipe, is_read
from astseg.training.execution import PLAIN, Execution
from astseg.training.image_traits import MIN_STATIC_IMAGES, far_border_share, static_share, texture_strength
from astseg.training.memory import PROCESS_BYTES, machine_memory, training_memory
from astseg.training.precision import PrecisionRequest, as_request, choose_precision
from astseg.training.presets import get_preset
from astseg.training.sizes import at_size
from astseg.training.small_recipes import cpu_recipe, custom_images_recipe, gpu_recipe, textures_recipe
from astseg.training.state import check_suits
from astseg.training.time_budget import fit_to_steps, fit_to_time, measure_step_seconds

STEP_SETTINGS = frozenset({"background.steps", "foreground.steps", "foreground.frozen_steps"})
DEFAULT_SLOTS = 8
DEFAULT_MINUTES = 30.0
STATIC_THRESHOLD = 0.75
"""The camera is taken to stand still where ``static_share`` exceeds this."""
TEXTURE_THRESHOLD = 0.025
"""The least ``texture_strength`` of textured images: between 0.019 (towers at 64 pixels, whose walls have a pattern)
and 0.038 (the CLEVRTEX look-alike at 128; 0.077 at 64); rooms and CLEVR have 0.003."""
MAX_SURFACES = 3
SURFACES_SETTING = "architecture.slow_features.surfaces"
TIME_TOLERANCE = 1.25
"""The ratio of requested and estimated time, either way, beyond which the difference is reported."""


@dataclass(frozen=True)
class RecipeRequest:
    """What a user asks for in a recipe; `choose_recipe` decides the rest, which is None.

    Raises:
        AstSegError: the preset is unknown, two requests contradict each other, a number is out of range, or a change
            does not fit a recipe.
    """

    preset: str | None = None
    """The name of the preset to start from; by default the recipe that suits the device."""
    recipe: Recipe | None = None
    """A recipe to start from, in place of a preset's."""
    num_slots: int | None = None
    """K; by default that of the preset or recipe, or 8."""
    minutes: float | None = None
    """How long training may take; by default the steps of the preset or recipe are kept, or it is 30 minutes."""
    steps: int | None = None
    """The foreground's steps, in place of a time."""
    static: bool | None = None
    """Whether the camera stands still, so that all images show one background; by default the images decide."""
    textured: bool | None = None
    """Whether objects are distinguished by their textures (`textures_recipe`); by default the images decide."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Values that replace the recipe's, by their names; see `settings_io.override`."""
    precision: PrecisionRequest = "fp32"
    """What the networks compute in while training."""
    parts: int = 1
    """In how many parts, one after the other, each batch goes through the networks."""
    compiled: bool = False
    """Whether the losses are compiled."""
    trained: Architecture | None = None
    """That of the trained model to begin with, if any."""

    def __post_init__(self) -> None:
        if self.preset is not None and self.recipe is not None:
            raise AstSegError("Give either a preset or a recipe of your own, not both.")
        if self.changes_steps and (self.minutes is not None or self.steps is not None):
            raise AstSegError("Give either a time, or the steps, or set the recipe's own steps, not several of them.")
        if "architecture.image_size" in self.changes:
            raise AstSegError("A model works at the size of its images: give the size to prepare them at instead.")
        with _refusing("This recipe cannot be"):
            make = textures_recipe if self.textured else custom_images_recipe
            override(self.base or make((64, 64), 1), self.changes)
        if self.base and (self.static is not None or self.textured is not None):
            raise AstSegError(
                "Give either a preset or a recipe, or whether the camera stands still and the images are textured: "
                "a recipe has networks of its own."
            )
        if self.static and self.textured:
            raise AstSegError("Objects before a static background are found by its image, not by textures: give one.")
        if self.minutes is not None and self.steps is not None:
            raise AstSegError("Give either the minutes or the steps to train, not both.")
        if self.num_slots is not None and not 1 <= self.num_slots <= MAX_SLOTS:
            raise AstSegError(f"The number of objects should lie between 1 and {MAX_SLOTS}, not {self.num_slots}.")
        if any(amount is not None and not 0 < amount < math.inf for amount in (self.minutes, self.steps)):
            raise AstSegError("The time and the steps to train should be more than 0.")
        if any(amount is not None and amount != int(amount) for amount in (self.steps, self.parts)) or self.parts < 1:
            raise AstSegError("The steps, and the parts of a batch, should be whole numbers of at least 1.")
        as_request(self.precision)

    @property
    def base(self) -> Recipe | None:
        """The recipe to start from; None if the device and the images decide."""
        return self.recipe if self.preset is None else get_preset(self.preset).recipe

    @property
    def changes_steps(self) -> bool:
        """Whether a change sets a number of steps."""
        return not STEP_SETTINGS.isdisjoint(self.changes)


@dataclass(frozen=True)
class Reason:
    """Why a part of a recipe is as it is."""

    text: str
    request: str | None = None
    """The field of `RecipeRequest` that would change it, if the user left it open."""


@dataclass(frozen=True)
class RecipeChoice:
    """A recipe and why it is as it is."""

    recipe: Recipe
    reasons: tuple[Reason, ...]
    execution: Execution = PLAIN
    """How its steps should be computed."""


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
    if not isinstance(store, Store):
        raise wrong_argument("choose_recipe takes a store, such as Store('my-data')", store)
    request, device = request or RecipeRequest(), find_device(device) if isinstance(device, str) else device
    base, images, minutes = request.base, store["train"].images, request.minutes
    reasons = []
    if base:
        reasons.append(Reason(f"Recipe: the preset {request.preset}." if request.preset else "Recipe: your own."))
    else:
        reasons.append(Reason(f"Recipe: the one for a {'GPU' if device.type == 'cuda' else 'CPU'}.", "preset"))
        if request.static is None:
            static, why = (False, "as textures ask for") if request.textured else _is_static(images)
            reasons.append(_background_reason(static, why, "static"))
            request = replace(request, static=static)
        else:
            reasons.append(_background_reason(request.static, "as requested"))
        if request.textured is None:
            request, reason = _choose_by_texture(request, images)
            reasons.append(reason)
        if minutes is None and request.steps is None and not request.changes_steps:
            minutes = DEFAULT_MINUTES
    if request.changes:
        changes = ", ".join(f"{name} = {value}" for name, value in request.changes.items())
        reasons.append(Reason(f"Changed: {changes}."))
    (recipe,) = _candidates(store.image_size, device, request)
    scenario = recipe.foreground.scenario
    if ignored := ", ".join(name for name in flatten(request.changes) if not is_read(name, scenario)):
        reasons.append(Reason(f"Ignored, as foreground.scenario is {scenario}: {ignored}."))
    if not base and recipe.architecture.slow_features is not None and SURFACES_SETTING not in request.changes:
        recipe, reason = _choose_surfaces(recipe, images)
        reasons.append(reason)
    other_size = ""
    if base and base.architecture.image_size != store.image_size:
        other_size = f" (the recipe's own size is {format_value(base.architecture.image_size)})"
    reasons.append(_images_reason(store, other_size))
    chosen = request.num_slots or "architecture.num_slots" in request.changes
    guess = "as requested" if chosen else "as in the recipe" if base else "a guess"
    most = f"Objects: at most {recipe.architecture.num_slots} in an image ({guess})."
    reasons.append(Reason(most, None if chosen else "num_slots"))
    needed = _needed_memory(recipe, device, len(images), request.parts)
    reasons.append(_memory_reason(needed, store.image_size, device))
    precision = choose_precision(request.precision, recipe.architecture, device)
    execution = Execution(precision, request.parts, request.compiled)
    if precision != "fp32":
        faster = "as requested" if request.precision == precision else "which this processor computes much faster"
        open_field = "precision" if request.precision == "auto" else None
        where = "all products" if precision == "tf32" else "the networks"
        reasons.append(Reason(f"Precision: {precision} in {where} ({faster}).", open_field))
    if request.parts > 1:
        reasons.append(Reason(f"Batches: in {request.parts} parts each, as requested."))
    if request.compiled:
        reasons.append(Reason("Losses: compiled, as requested; the first steps of each phase wait for it."))
    why = "as requested" if request.steps or request.changes_steps else "as in the recipe"
    asked = recipe
    with _refusing():
        if minutes is not None:
            recipe, why = _fit_to_time(recipe, images, device, minutes, execution)
        elif request.steps is not None:
            recipe = fit_to_steps(recipe, request.steps)
        recipe = override(recipe, request.changes)  # again: fitting the steps has shortened the warm-ups
    _check_placement(recipe)
    reasons.append(Reason(f"Steps: {_steps_in_words(recipe, asked)}, {why}."))
    if longer := ", ".join(f"{name} = {steps}" for name, steps in unfinished_warmups(recipe).items()):
        text = f"Warm-ups longer than these steps, so that little is learned: {longer}. Set them as well."
        reasons.append(Reason(text, None if request.steps is not None else "steps"))
    return RecipeChoice(recipe, tuple(reasons), execution)


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
    """Return the warm-ups of a recipe that its training ends before, by their names, with their steps.

    Fitting a recipe to steps or to a time shortens them, setting its steps does not.
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
    """Say how many steps each part of a training takes, beside those of the recipe that was asked for."""
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


def choose_background(store: Store, device: torch.device, minutes: float) -> RecipeChoice:
    """Choose a recipe for the background alone.

    On a GPU it is AE-NE, which finds out by itself whether there is one background or many. It trains for the minutes
    as if there were one; if there turn out to be many, it starts again with the larger network that they need, for as
    many minutes again. A step of AE-NE takes seconds on a CPU, which gets the network of `choose_recipe` instead.

    Raises:
        AstSegError: the images are too small, or the training does not fit into the memory.
    """
    images = store["train"].images

    def memory_reason(recipe: Recipe) -> Reason:
        return _memory_reason(_needed_memory(recipe, device, len(images)), store.image_size, device)

    if device.type == "cuda":
        recipe, complex_recipe = _ae_ne_recipes(store.image_size)
        reasons = [_images_reason(store), memory_reason(recipe)]
        fitted, time = _fit_to_time(recipe, images, device, minutes)
        complex_fitted, complex_time = _fit_to_time(complex_recipe, images, device, minutes)
        steps, complex_steps = fitted.background.steps, complex_fitted.background.steps
        settings = replace(recipe.background, steps=steps, complex_steps=complex_steps, automatic_complexity=True)
        recipe = replace(recipe, background=settings)
        more = [Reason(f"For many backgrounds: a larger network, {complex_steps} more, {complex_time}.")]
    else:
        static, why = _is_static(images)
        recipe = _cpu_background_recipe(store.image_size, static)
        reasons = [_background_reason(static, why), _images_reason(store), memory_reason(recipe)]
        recipe, time = _fit_to_time(recipe, images, device, minutes)
        more = []
    return RecipeChoice(recipe, (*reasons, Reason(f"Steps: {recipe.background.steps}, {time}."), *more))


def check_size(image_size: tuple[int, int], device: torch.device, request: RecipeRequest) -> None:
    """Refuse images of a size for which `choose_recipe` finds no recipe, before they are prepared.

    Args:
        image_size: height and width that the images will have.
        device: where the model will be trained.
        request: what `choose_recipe` will be asked for.

    Raises:
        AstSegError: the images would not suit the model, or the one to begin with, or its training would not fit into
            the memory.
    """
    candidates = _candidates(image_size, device, request)
    if request.trained is not None:
        for candidate in candidates:
            check_suits(request.trained, candidate)
    _check_memory(candidates, device, request.parts)


def check_background_size(image_size: tuple[int, int], device: torch.device) -> None:
    """Refuse images of a size for which `choose_background` finds no recipe, before they are prepared.

    Raises:
        AstSegError: as for `check_size`.
    """
    if device.type == "cuda":
        recipes = [_ae_ne_recipes(image_size)[0]]
    else:
        recipes = [_cpu_background_recipe(image_size, static) for static in (True, False)]
    _check_memory(recipes, device)


def _candidates(image_size: tuple[int, int], device: torch.device, request: RecipeRequest) -> list[Recipe]:
    """Return the recipes from which the images choose, with all changes; one if nothing is left to the images."""
    with _refusing():
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


def _fit_to_time(
    recipe: Recipe, images: Bytes, device: torch.device, minutes: float, execution: Execution = PLAIN
) -> tuple[Recipe, str]:
    """Return the recipe with as many steps as fit into a time, and the time in words."""
    recipe, estimate = fit_to_time(recipe, measure_step_seconds(recipe, images, device, execution=execution), minutes)
    return recipe, _describe_time(minutes, estimate)


def _cpu_background_recipe(image_size: tuple[int, int], static: bool) -> Recipe:
    with _refusing():
        return _background_alone(buildable(custom_images_recipe(image_size, 1, static=static)))


def _ae_ne_recipes(image_size: tuple[int, int]) -> tuple[Recipe, Recipe]:
    """Return AE-NE's recipe for one background, and the one for many."""
    with _refusing():
        recipe = buildable(replace(cpu_recipe(image_size, 1), background=BackgroundTraining(batch_size=32)))
    simple = replace(recipe.architecture, background_network="simple")
    recipe = _background_alone(replace(recipe, architecture=simple))
    return recipe, replace(recipe, architecture=replace(simple, background_network="complex"))


def _background_alone(recipe: Recipe) -> Recipe:
    return replace(recipe, foreground=replace(recipe.foreground, scenario="background"))


def buildable(recipe: Recipe) -> Recipe:
    """Return the recipe after building its networks without memory.

    Raises:
        AstSegError: a network refuses images of this size.
    """
    with _refusing(), torch.device("meta"):
        AstSeg(recipe.architecture, recipe.label_rule)
    return recipe


@contextmanager
def _refusing(problem: str = "These images do not suit the model") -> Iterator[None]:
    """Turn the error of an impossible setting into a user's."""
    try:
        yield
    except ValueError as error:
        raise AstSegError(f"{problem}: {error}.") from error


def _needed_memory(recipe: Recipe, device: torch.device, images: int, parts: int = 1) -> float:
    return max(training_memory(recipe, images, parts).values()) + (0 if device.type == "cuda" else PROCESS_BYTES)


def _check_memory(recipes: Sequence[Recipe], device: torch.device, parts: int = 1) -> None:
    """Refuse recipes that all need more memory than the device has, even for a single image."""
    needed = min(_needed_memory(recipe, device, 1, parts) for recipe in recipes)
    _memory_reason(needed, recipes[0].architecture.image_size, device)


def _memory_reason(needed: float, image_size: tuple[int, int], device: torch.device) -> Reason:
    """Say how much memory training needs, or refuse it if the device has less."""
    available = machine_memory(device)
    about, free = f"about {gigabytes(needed)}", f"{gigabytes(available.free)} are free"
    if needed > available.total:
        where = "the GPU" if device.type == "cuda" else "this machine"
        raise MemoryShortageError(
            f"Training at {format_value(image_size)} takes {about} of memory, and {where} has "
            f"{gigabytes(available.total)}. A smaller size takes less, and so do fewer objects, and batches in parts."
        )
    if needed > available.free:
        return Reason(f"Memory: {about}, but only {free}: close other programs, or use a smaller size.")
    return Reason(f"Memory: {about} ({free}).")


def gigabytes(count: float) -> str:
    """Format bytes in GB, with a decimal below ten.

    >>> gigabytes(7.23e9), gigabytes(25.3e9)
    ('7.2 GB', '25 GB')
    """
    return f"{count / 1e9:.{1 if count < 9.95e9 else 0}f} GB"


def _images_reason(store: Store, remark: str = "") -> Reason:
    return Reason(f"Images: {len(store['train'])} of {format_value(store.image_size)} to learn from{remark}.")


def _background_reason(static: bool, why: str, request: str | None = None) -> Reason:
    return Reason(f"Background: {'one for all images' if static else 'many'} ({why}).", request)


def _is_static(images: Bytes) -> tuple[bool, str]:
    """Tell whether the camera stands still, and how that is known."""
    if len(images) < MIN_STATIC_IMAGES:
        return False, f"fewer than {MIN_STATIC_IMAGES} images are too few to tell"
    share = static_share(images)
    return share > STATIC_THRESHOLD, f"{share:.0%} of the pixels are the same in nearly every image"


def _choose_by_texture(request: RecipeRequest, images: Bytes) -> tuple[RecipeRequest, Reason]:
    """Decide whether objects are distinguished by textures; before a static background they never need to be."""
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


def _describe_time(requested: float, estimate: float) -> str:
    """Say how many minutes training takes, and why if they are not those requested.

    >>> _describe_time(10, 10.5), _describe_time(10, 33.3)
    ('about 10 min on this machine', 'about 34 min on this machine: fewer would teach nothing')
    >>> _describe_time(10, 1.2)
    'about 2 min on this machine: more would teach nothing'
    """
    about = f"about {math.ceil(estimate)} min on this machine"
    if estimate > TIME_TOLERANCE * requested:
        return f"{about}: fewer would teach nothing"
    if TIME_TOLERANCE * estimate < requested:
        return f"{about}: more would teach nothing"
    return f"about {requested:g} min on this machine"
