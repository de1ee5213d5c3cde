"""What a user asks for in a recipe, before the images and the machine decide the rest."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch

from astseg._core.errors import AstSegError, wrong_argument
from astseg._core.settings_io import LARGEST_WHOLE_NUMBER, override
from astseg.model.architecture import MAX_SLOTS, Architecture
from astseg.model.ast_seg import AstSeg
from astseg.training.config import Recipe
from astseg.training.precision import PrecisionRequest, parse_precision
from astseg.training.presets import get_preset
from astseg.training.small_recipes import custom_images_recipe, textures_recipe

STEP_NUMBERS = frozenset({"background.steps", "foreground.steps"})
STEP_SETTINGS = STEP_NUMBERS | {"foreground.frozen_steps"}


@dataclass(frozen=True)
class RecipeRequest:
    """What a user asks for in a recipe; fields that are None are left for `choose_recipe` to decide.

    Raises:
        AstSegError: the preset is unknown, two requests contradict each other, a number is out of range, or a change
            does not fit a recipe.
        TypeError: what should be a number is none.
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
    """The precision in which the networks compute while training."""
    parts: int = 1
    """The number of parts in which each batch goes through the networks, one after the other."""
    compiled: bool = False
    """Whether the losses are compiled."""
    trained: Architecture | None = None
    """The architecture of the trained model to begin with, if any."""

    def __post_init__(self) -> None:
        if self.preset is not None and self.recipe is not None:
            raise AstSegError("Give either a preset or a recipe of your own, not both.")
        if self.changes_steps and (self.minutes is not None or self.steps is not None):
            raise AstSegError("Give either a time, or the steps, or set the recipe's own steps, not several of them.")
        if "architecture.image_size" in self.changes:
            raise AstSegError("A model works at the size of its images: give the size to prepare them at instead.")
        with refusing("This recipe cannot be"):
            make = textures_recipe if self.textured else custom_images_recipe
            override(self.base or make((64, 64), 1), self.changes)
        if self.base and (self.static is not None or self.textured is not None):
            raise AstSegError(
                "Give either a preset or a recipe, or whether the camera stands still and the images are textured: "
                "a recipe has networks of its own."
            )
        if self.static and self.textured:
            raise AstSegError("Objects before a static background are found by its image, not by textures: give one.")
        for name in ("num_slots", "minutes", "steps", "parts"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Real):
                raise wrong_argument(f"{name} should be a number", value)
        if self.minutes is not None and self.steps is not None:
            raise AstSegError("Give either the minutes or the steps to train, not both.")
        if self.num_slots is not None and not 1 <= self.num_slots <= MAX_SLOTS:
            raise AstSegError(f"The number of objects should lie between 1 and {MAX_SLOTS}, not {self.num_slots}.")
        if self.num_slots is not None and self.num_slots != int(self.num_slots):
            raise AstSegError(f"The number of objects should be a whole number, not {self.num_slots}.")
        if any(amount is not None and not 0 < amount < math.inf for amount in (self.minutes, self.steps)):
            raise AstSegError("The time and the steps to train should be more than 0.")
        if any(amount is not None and amount != int(amount) for amount in (self.steps, self.parts)) or self.parts < 1:
            raise AstSegError("The steps, and the parts of a batch, should be whole numbers of at least 1.")
        if self.steps is not None and self.steps > LARGEST_WHOLE_NUMBER:
            raise AstSegError(f"The steps to train should be at most {LARGEST_WHOLE_NUMBER}, not {self.steps}.")
        parse_precision(self.precision)

    @property
    def base(self) -> Recipe | None:
        """The recipe to start from; None if the device and the images decide."""
        return self.recipe if self.preset is None else get_preset(self.preset).recipe

    @property
    def changes_steps(self) -> bool:
        """Whether a change sets a number of steps."""
        return not STEP_SETTINGS.isdisjoint(self.changes)


def buildable(recipe: Recipe) -> Recipe:
    """Return the recipe after building its networks without memory.

    Raises:
        AstSegError: a network refuses images of this size.
    """
    with refusing(), torch.device("meta"):
        AstSeg(recipe.architecture, recipe.label_rule)
    return recipe


@contextmanager
def refusing(problem: str = "These images do not suit the model") -> Iterator[None]:
    """Turn the ValueError of an impossible setting into an AstSegError that names the problem."""
    try:
        yield
    except ValueError as error:
        raise AstSegError(f"{problem}: {error}.") from error
