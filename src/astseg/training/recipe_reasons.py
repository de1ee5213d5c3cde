"""Why a recipe is as it is, in sentences for people: its images, its memory, its time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from astseg._core.errors import MemoryShortageError
from astseg._core.machine_memory import machine_memory
from astseg._core.text import format_value
from astseg.data.store import Bytes, Store
from astseg.training.config import Recipe
from astseg.training.execution import PLAIN, Execution
from astseg.training.image_traits import MIN_STATIC_IMAGES, static_share
from astseg.training.memory import PROCESS_BYTES, training_memory
from astseg.training.time_budget import fit_to_time, measure_step_seconds

STATIC_THRESHOLD = 0.75
"""The camera is taken to stand still where ``static_share`` exceeds this."""
TIME_TOLERANCE = 1.25
"""The ratio of requested and estimated time, either way, beyond which the difference is reported."""


@dataclass(frozen=True)
class Reason:
    """Why a part of a recipe is as it is."""

    text: str
    request: str | None = None
    """The field of `RecipeRequest` that would change it; None if the user has set it, or if there is none."""


@dataclass(frozen=True)
class RecipeChoice:
    """A recipe and why it is as it is."""

    recipe: Recipe
    reasons: tuple[Reason, ...]
    execution: Execution = PLAIN
    """How its steps should be computed."""


def images_reason(store: Store, remark: str = "") -> Reason:
    """Say which images a training learns from."""
    return Reason(f"Images: {len(store['train'])} of {format_value(store.image_size)} to learn from{remark}.")


def background_reason(static: bool, why: str, request: str | None = None) -> Reason:
    """Say whether all images have one background, and how that is known."""
    return Reason(f"Background: {'one for all images' if static else 'many'} ({why}).", request)


def is_static(images: Bytes) -> tuple[bool, str]:
    """Tell whether the camera stands still, and how that is known."""
    if len(images) < MIN_STATIC_IMAGES:
        return False, f"fewer than {MIN_STATIC_IMAGES} images are too few to tell"
    share = static_share(images)
    return share > STATIC_THRESHOLD, f"{share:.0%} of the pixels are the same in nearly every image"


def check_memory(recipes: Sequence[Recipe], device: torch.device, parts: int = 1) -> None:
    """Refuse recipes that all need more memory than the device has, even for a single image."""
    memory_reason(min(recipes, key=lambda recipe: _needed_memory(recipe, device, 1, parts)), device, 1, parts)


def memory_reason(recipe: Recipe, device: torch.device, images: int, parts: int = 1) -> Reason:
    """Say how much memory training on a number of images needs, or refuse it if the device has less.

    Raises:
        MemoryShortageError: the device has less.
    """
    needed, available = _needed_memory(recipe, device, images, parts), machine_memory(device)
    about, free = f"about {gigabytes(needed)}", f"{gigabytes(available.free)} are free"
    if needed > available.total:
        where = "the GPU" if device.type == "cuda" else "this machine"
        raise MemoryShortageError(
            f"Training at {format_value(recipe.architecture.image_size)} takes {about} of memory, and {where} has "
            f"{gigabytes(available.total)}. A smaller size takes less, and so do fewer objects, and batches in parts."
        )
    if needed > available.free:
        return Reason(f"Memory: {about}, but only {free}: close other programs, or use a smaller size.")
    return Reason(f"Memory: {about} ({free}).")


def _needed_memory(recipe: Recipe, device: torch.device, images: int, parts: int) -> float:
    """Return the peak bytes of a training; on a CPU, those of the process are included."""
    return max(training_memory(recipe, images, parts).values()) + (0 if device.type == "cuda" else PROCESS_BYTES)


def gigabytes(count: float) -> str:
    """Format bytes in GB, with a decimal below ten.

    >>> gigabytes(7.23e9), gigabytes(25.3e9)
    ('7.2 GB', '25 GB')
    """
    return f"{count / 1e9:.{1 if count < 9.95e9 else 0}f} GB"


def fitted_to_time(
    recipe: Recipe, images: Bytes, device: torch.device, minutes: float, execution: Execution = PLAIN
) -> tuple[Recipe, str]:
    """Return the recipe with as many steps as fit into a time, and the time in words."""
    recipe, estimate = fit_to_time(recipe, measure_step_seconds(recipe, images, device, execution=execution), minutes)
    return recipe, _describe_time(minutes, estimate)


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
