"""Recipes for images of another size."""

import math
from dataclasses import replace

from astseg.model.glimpses import published_glimpse_channels
from astseg.training.config import Recipe


def at_size(recipe: Recipe, image_size: tuple[int, int]) -> Recipe:
    """Return a recipe for the same images at another height and width.

    Settings that depend on the number of pixels change with it: the smallest object, the cost of a slot in use, and the
    channels of glimpses, if they are the published ones for the size that glimpses cover.

    >>> from astseg.training.presets import PRESETS
    >>> at_size(PRESETS["clevr"].recipe, (64, 64)).architecture.glimpse_channels
    (64, 32, 16, 8)
    """
    architecture, foreground, rule = recipe.architecture, recipe.foreground, recipe.label_rule
    before = architecture.image_size
    if image_size == before:
        return recipe
    area, area_before = math.prod(image_size), math.prod(before)
    channels = architecture.glimpse_channels
    # The order matters: a recipe for 64x64 may have both, and small ones are enough for what its glimpses cover.
    if channels == covering_glimpse_channels(before, architecture.latents.min_inverse_scale):
        channels = covering_glimpse_channels(image_size, architecture.latents.min_inverse_scale)
    elif channels == published_glimpse_channels(before):
        channels = published_glimpse_channels(image_size)
    return replace(
        recipe,
        architecture=replace(architecture, image_size=image_size, glimpse_channels=channels),
        foreground=replace(foreground, slot_use_weight=foreground.slot_use_weight / (area / area_before)),
        label_rule=rule and replace(rule, min_pixels=rule.min_pixels * area // area_before),
    )


def covering_glimpse_channels(image_size: tuple[int, int], min_inverse_scale: float) -> tuple[int, ...]:
    """Return the published channels for images as large as the largest part of an image that a glimpse covers.

    Args:
        image_size: height and width of the images.
        min_inverse_scale: the least ratio of an image's side to a glimpse's; it is rounded down.

    >>> covering_glimpse_channels((128, 128), 2.0)
    (64, 32, 16, 8)
    """
    height, width = image_size
    whole = int(min_inverse_scale)
    return published_glimpse_channels((height // whole, width // whole))
