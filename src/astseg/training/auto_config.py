"""The choices made for people who bring images and little else: each with its reason in a sentence."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from astseg._core.errors import AstSegError, MemoryShortageError
from astseg._core.settings_io import override
from astseg.data.store import Bytes, Store
from astseg.model.ast_seg import AstSeg
from astseg.training.complexity import MIN_STATIC_IMAGES, static_share
from astseg.training.config import BackgroundTraining, Recipe
from astseg.training.memory import PROCESS_BYTES, machine_memory, training_memory
from astseg.training.presets import cpu_recipe, custom_images_recipe, get_preset, gpu_recipe
from astseg.training.time_budget import background_steps, fit_to_steps, fit_to_time, with_steps

NO_CHANGES: Mapping[str, Any] = MappingProxyType({})
STEPS = frozenset({"background.steps", "foreground.steps", "foreground.frozen_steps"})
"""The names of a recipe's steps; who sets one sets no time."""
DEFAULT_SLOTS = 8
DEFAULT_MINUTES = 30.0
STILL_SHARE = 0.75
"""With more of nearly every image as in the others, the camera stands still (``static_share``)."""
MAX_SLOTS = 254
FAR_OFF = 1.25
"""How many times the wish an estimate may be, or the wish the estimate, before one should be told."""


@dataclass(frozen=True)
class Reason:
    """Why something is as it is."""

    text: str
    wish: str | None = None
    """The argument of `choose_recipe` that would have it otherwise, where it was not given."""


@dataclass(frozen=True)
class Choice:
    """A recipe and why it is as it is."""

    recipe: Recipe
    reasons: tuple[Reason, ...]


def choose_recipe(
    store: Store,
    device: torch.device | str,
    *,
    preset: str | None = None,
    num_slots: int | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    static: bool | None = None,
    recipe: Recipe | None = None,
    changes: Mapping[str, Any] = NO_CHANGES,
) -> Choice:
    """Choose a recipe for prepared images and a machine.

    Args:
        store: the images; the model works at their size.
        device: where it will be trained.
        preset: a named recipe to begin with; by default one that suits the device.
        num_slots: K; by default the preset's, or 8.
        minutes: how long training may take; by default the preset's own number of steps, or 30 minutes.
        steps: the foreground's steps, in place of a time.
        static: whether the camera stands still, so that all images show one background; by default the images tell.
        recipe: a recipe to begin with, in place of a preset's.
        changes: values to take in place of the recipe's, by their names; see `settings_io.override`.

    Raises:
        AstSegError: the preset is unknown or has a background of its own, a number is impossible, a change does not
            fit, or the images do not suit the model or the memory.
    """
    check_wishes(
        preset=preset, num_slots=num_slots, minutes=minutes, steps=steps, static=static, recipe=recipe, changes=changes
    )
    place = torch.device(device)
    reasons = []
    usual = get_preset(preset).recipe if preset else recipe
    if usual:
        reasons.append(Reason(f"Recipe: the preset {preset}." if preset else "Recipe: as you give it."))
    else:
        how, unsaid = "as you say", None
        if static is None:
            (static, how), unsaid = _stillness(store["train"].images), "static"
        kind = "GPU" if place.type == "cuda" else "CPU"
        reasons.append(Reason(f"Recipe: the one for a {kind}.", "preset"))
        reasons.append(Reason(f"Background: {'one for all images' if static else 'many'} ({how}).", unsaid))
        chosen = minutes is not None or steps is not None or _set_steps(changes)
        minutes = minutes if chosen else DEFAULT_MINUTES
    if changes:
        reasons.append(Reason(f"Changed: {', '.join(f'{name} = {value}' for name, value in changes.items())}."))
    (recipe,) = _recipes(store.image_size, place, usual, num_slots, static, changes)
    other_size = ""
    if usual and usual.architecture.image_size != store.image_size:
        other_size = " (the recipe's own size is {}x{})".format(*usual.architecture.image_size)
    reasons.append(Reason(f"{_images(store)}{other_size}."))
    guess = "as you say" if num_slots else "the recipe has it so" if usual else "a guess"
    most = f"Objects: at most {recipe.architecture.num_slots} in an image ({guess})."
    reasons.append(Reason(most, None if num_slots else "num_slots"))
    reasons.append(_fitting_memory(recipe, place, len(store["train"])))
    if minutes is not None:
        recipe, estimate = fit_to_time(recipe, store["train"].images, place, minutes)
        why = f", {_how_long(minutes, estimate)}"
    elif steps is not None:
        recipe = fit_to_steps(recipe, steps)
        why = ", as you say"
    else:
        why = ", as you say" if _set_steps(changes) else ", as the recipe has it"
    with _suiting():
        recipe = override(recipe, changes)  # fewer steps shorten warm-ups, but for those that were set
    numbers = f"{recipe.background.steps} for the background and {recipe.foreground.steps} for the objects"
    reasons.append(Reason(f"Steps: {numbers}{why}."))
    return Choice(recipe, tuple(reasons))


def check_wishes(
    *,
    preset: str | None = None,
    num_slots: int | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    static: bool | None = None,
    recipe: Recipe | None = None,
    changes: Mapping[str, Any] = NO_CHANGES,
) -> None:
    """Refuse what `choose_recipe` could not follow, before any work is done.

    Raises:
        AstSegError: the preset is unknown or has a background of its own, a number is impossible, or a change has no
            name of a recipe's.
    """
    if preset is not None and recipe is not None:
        raise AstSegError("Give either a preset or a recipe of your own, not both.")
    if _set_steps(changes) and (minutes is not None or steps is not None):
        raise AstSegError("Give either a time, or the steps, or set the recipe's own steps, not several of them.")
    if "architecture.image_size" in changes:
        raise AstSegError("A model works at the size of its images: give the size to prepare them at instead.")
    with _suiting("This recipe cannot be"):
        override(
            get_preset(preset).recipe if preset else recipe or custom_images_recipe((64, 64), 1, static=False), changes
        )
    if (preset is not None or recipe is not None) and static is not None:
        raise AstSegError(
            "Give either a preset or a recipe, or whether the camera stands still: "
            "a recipe has a background network of its own."
        )
    if minutes is not None and steps is not None:
        raise AstSegError("Give either the minutes or the steps to train, not both.")
    if num_slots is not None and not 1 <= num_slots <= MAX_SLOTS:
        raise AstSegError(f"The number of objects should lie between 1 and {MAX_SLOTS}, not {num_slots}.")
    if (minutes is not None and not 0 < minutes < math.inf) or (steps is not None and steps < 1):
        raise AstSegError("The time and the steps to train should be more than 0.")


def check_size(
    image_size: tuple[int, int],
    device: torch.device,
    *,
    preset: str | None = None,
    num_slots: int | None = None,
    static: bool | None = None,
    recipe: Recipe | None = None,
    changes: Mapping[str, Any] = NO_CHANGES,
) -> None:
    """Refuse images of a size at which `choose_recipe` would find nothing that can be trained, before they are there.

    Args:
        image_size: height and width that the images will have.
        device: where the model will be trained.
        preset: as for `choose_recipe`.
        num_slots: as for `choose_recipe`.
        static: as for `choose_recipe`.
        recipe: as for `choose_recipe`.
        changes: as for `choose_recipe`.

    Raises:
        AstSegError: the images would not suit the model, or its training would not fit into the memory.
    """
    usual = get_preset(preset).recipe if preset else recipe
    _check_any(_recipes(image_size, device, usual, num_slots, static, changes), device)


def check_background_size(image_size: tuple[int, int], device: torch.device) -> None:
    """Refuse images of a size at which `choose_background` would find nothing that can be trained.

    Raises:
        AstSegError: as by `check_size`.
    """
    if device.type == "cuda":
        recipes = list(_large_backgrounds(image_size)[:1])
    else:
        recipes = [_small_background_recipe(image_size, static) for static in (True, False)]
    _check_any(recipes, device)


def _check_any(recipes: Sequence[Recipe], device: torch.device) -> None:
    """Refuse recipes of which even the one that takes the least memory takes too much."""
    least = min(_needed_memory(recipe, device, 1) for recipe in recipes)
    _say_memory(least, recipes[0].architecture.image_size, device)


def _recipes(
    image_size: tuple[int, int],
    device: torch.device,
    usual: Recipe | None,
    num_slots: int | None,
    static: bool | None,
    changes: Mapping[str, Any],
) -> list[Recipe]:
    """Return the usual recipe, or those between which the images will choose, changed, each built once."""
    with _suiting():
        if usual:
            found = [_adapted(usual, image_size, num_slots)]
        else:
            make = gpu_recipe if device.type == "cuda" else custom_images_recipe
            choices = (True, False) if static is None else (static,)
            found = [make(image_size, num_slots or DEFAULT_SLOTS, static=choice) for choice in choices]
        return [_buildable(override(recipe, changes)) for recipe in found]


def _set_steps(changes: Mapping[str, Any]) -> bool:
    """Tell whether a change is a number of steps."""
    return not STEPS.isdisjoint(changes)


def _fitting_memory(recipe: Recipe, device: torch.device, images: int) -> Reason:
    """Say how much memory a recipe's training takes; refuse it if the device does not have as much."""
    return _say_memory(_needed_memory(recipe, device, images), recipe.architecture.image_size, device)


def _needed_memory(recipe: Recipe, device: torch.device, images: int) -> float:
    return max(training_memory(recipe, images).values()) + (0 if device.type == "cuda" else PROCESS_BYTES)


def _say_memory(needed: float, image_size: tuple[int, int], device: torch.device) -> Reason:
    there = machine_memory(device)
    about, free = f"about {gigabytes(needed)}", f"{gigabytes(there.free)} are free"
    if needed > there.total:
        height, width = image_size
        where = "the GPU" if device.type == "cuda" else "this machine"
        raise MemoryShortageError(
            f"Training at {height}x{width} takes {about} of memory, and {where} has {gigabytes(there.total)}. "
            "Less is taken by a smaller size, then by fewer objects."
        )
    if needed > there.free:
        return Reason(f"Memory: {about}, but only {free}: end other programs, or take a smaller size.")
    return Reason(f"Memory: {about} ({free}).")


def gigabytes(count: float) -> str:
    """Say bytes in GB, with a decimal below ten.

    >>> gigabytes(7.23e9), gigabytes(25.3e9)
    ('7.2 GB', '25 GB')
    """
    return f"{count / 1e9:.{1 if count < 9.95e9 else 0}f} GB"


def choose_background(store: Store, device: torch.device, minutes: float) -> Choice:
    """Choose a recipe for the background alone.

    On a GPU it is AE-NE, which tells one background from many by itself: it takes the minutes for one background, and
    where there turn out to be many, begins anew with the larger network that they need, which gets as many minutes
    again. A processor, on which a step of AE-NE takes seconds, gets the network with which `choose_recipe` begins.

    Raises:
        AstSegError: the images are too small.
    """
    if device.type != "cuda":
        return _small_background(store, device, minutes)
    simple, wide = _large_backgrounds(store.image_size)
    memory = _fitting_memory(simple, device, len(store["train"]))
    images = store["train"].images
    steps, estimate = background_steps(simple, images, device, minutes)
    wide_steps, wide_estimate = background_steps(wide, images, device, minutes)
    automatic = replace(simple.background, steps=steps, complex_steps=wide_steps, automatic_complexity=True)
    reasons = (
        Reason(f"{_images(store)}."),
        memory,
        Reason(f"Steps: {steps}, {_how_long(minutes, estimate)}."),
        Reason(f"For many backgrounds: a larger network, {wide_steps} more, {_how_long(minutes, wide_estimate)}."),
    )
    return Choice(replace(simple, background=automatic), reasons)


def _small_background(store: Store, device: torch.device, minutes: float) -> Choice:
    """Return a recipe for the background alone that a processor can follow."""
    images = store["train"].images
    static, how = _stillness(images)
    recipe = _small_background_recipe(store.image_size, static)
    memory = _fitting_memory(recipe, device, len(images))
    steps, estimate = background_steps(recipe, images, device, minutes)
    alone = with_steps(recipe, steps, recipe.foreground.steps)
    reasons = (
        Reason(f"Background: {'one for all images' if static else 'many'} ({how})."),
        Reason(f"{_images(store)}."),
        memory,
        Reason(f"Steps: {steps}, {_how_long(minutes, estimate)}."),
    )
    return Choice(alone, reasons)


def _small_background_recipe(image_size: tuple[int, int], static: bool) -> Recipe:
    with _suiting():
        recipe = _buildable(custom_images_recipe(image_size, 1, static=static))
    return replace(recipe, foreground=replace(recipe.foreground, scenario="background"))


def _large_backgrounds(image_size: tuple[int, int]) -> tuple[Recipe, Recipe]:
    """AE-NE for one background, and for many."""
    with _suiting():
        recipe = _buildable(replace(cpu_recipe(image_size, 1), background=BackgroundTraining(batch_size=32)))
    alone = replace(recipe, foreground=replace(recipe.foreground, scenario="background"))
    shapes = [replace(recipe.architecture, background_network=network) for network in ("simple", "complex")]
    return replace(alone, architecture=shapes[0]), replace(alone, architecture=shapes[1])


@contextmanager
def _suiting(what: str = "These images do not suit the model") -> Iterator[None]:
    """Say of a recipe that cannot be made why it cannot."""
    try:
        yield
    except ValueError as error:
        raise AstSegError(f"{what}: {error}.") from error


def _images(store: Store) -> str:
    height, width = store.image_size
    return f"Images: {len(store['train'])} of {height}x{width} to learn from"


def _stillness(images: Bytes) -> tuple[bool, str]:
    """Tell whether the camera stands still, and how that is known."""
    if len(images) < MIN_STATIC_IMAGES:
        return False, f"fewer than {MIN_STATIC_IMAGES} images do not tell"
    share = static_share(images)
    return share > STILL_SHARE, f"{share:.0%} of nearly every image is as in the others"


def _how_long(wish: float, estimate: float) -> str:
    """Say what so many minutes became.

    >>> _how_long(10, 10.5), _how_long(10, 33.3)
    ('about 10 min on this machine', 'about 34 min on this machine: fewer would teach nothing')
    >>> _how_long(10, 1.2)
    'about 2 min on this machine: more would teach nothing'
    """
    about = f"about {math.ceil(estimate)} min on this machine"
    if estimate > FAR_OFF * wish:
        return f"{about}: fewer would teach nothing"
    if FAR_OFF * estimate < wish:
        return f"{about}: more would teach nothing"
    return f"about {wish:g} min on this machine"


def _adapted(recipe: Recipe, image_size: tuple[int, int], num_slots: int | None) -> Recipe:
    """Return a preset's recipe at the size of the images."""
    shape = recipe.architecture
    if image_size != shape.image_size:
        shape = replace(shape, image_size=image_size, glimpse_channels=())
    return replace(recipe, architecture=replace(shape, num_slots=num_slots or shape.num_slots))


def _buildable(recipe: Recipe) -> Recipe:
    """Return the recipe, once its networks have been built without memory; they refuse images that are too small."""
    with torch.device("meta"):
        AstSeg(recipe.architecture, recipe.label_rule)
    return recipe
