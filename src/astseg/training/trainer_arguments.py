"""What a `Trainer` can take: its arguments, and the images of a run that is resumed."""

from collections.abc import Iterable
from numbers import Real

import numpy as np

from astseg._core.errors import wrong_argument
from astseg._core.settings_io import Range, check_whole_number
from astseg._core.text import format_value
from astseg.data.store import Bytes
from astseg.training.callbacks import Callback
from astseg.training.config import Recipe
from astseg.training.data_identity import identify
from astseg.training.state import TrainState


def check_arguments(recipe: object, images: Bytes, callbacks: object, report_every: int, save_every: float) -> None:
    """Raise unless a `Trainer` can take these arguments.

    Raises:
        ValueError: the images are not uint8 of the model's size, there are none, or a number is out of range.
        TypeError: the recipe, the images or a callback has another type.
    """
    if not isinstance(recipe, Recipe):
        raise wrong_argument("a Trainer takes a recipe, such as get_preset('demo').recipe", recipe)
    check_array(images)
    height, width = recipe.architecture.image_size
    if not len(images) or images.shape[1:] != (height, width, 3) or images.dtype != np.uint8:
        raise ValueError(
            f"a Trainer takes images as uint8 of shape N x {height} x {width} x 3, "
            f"not {images.dtype} of shape {images.shape}"
        )
    check_whole_number("report_every", report_every, Range(1))
    if not isinstance(save_every, Real) or not save_every >= 0:
        raise ValueError(f"save_every should be a number of seconds, at least 0, not {save_every!r}")
    if not isinstance(callbacks, Iterable):
        raise wrong_argument("callbacks are several, such as [callback]", callbacks)
    if wrong := [one for one in callbacks if not isinstance(one, Callback)]:
        raise wrong_argument("callbacks are objects of classes derived from astseg.Callback", wrong[0])


def check_array(images: object) -> None:
    """Raise unless images are an array, of any values and any shape.

    Raises:
        TypeError: they are something else.
    """
    if not hasattr(images, "shape"):
        raise wrong_argument("a Trainer takes an array of images, such as store['train'].images", images)


def differing_images(state: TrainState, images: Bytes, images_sha256: str) -> str:
    """Return in words which other images a state was trained on; empty if it was trained on these."""
    here, there = images.shape[1:3], state.recipe.architecture.image_size
    if here != there:
        return f"images of {format_value(there)}, but these have {format_value(here)}"
    if len(images) != state.num_images:
        return f"{state.num_images} images, but these are {len(images)}"
    if state.data is not None and state.data.differs_from(identify(images, images_sha256)):
        return "other images of the same number and size"
    return ""
