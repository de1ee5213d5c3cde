from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from astseg.training.config import Recipe
from astseg.training.presets import PRESETS
from astseg.training.sizes import at_size
from astseg.training.small_recipes import cpu_recipe, custom_images_recipe, gpu_recipe, textures_recipe

Maker = Callable[[tuple[int, int], int], Recipe]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_at_its_own_size_is_itself(preset: str) -> None:
    recipe = PRESETS[preset].recipe
    assert at_size(recipe, recipe.architecture.image_size) is recipe


def test_published_glimpses_follow_the_size() -> None:
    recipe = PRESETS["clevr"].recipe
    assert at_size(recipe, (64, 64)).architecture.glimpse_channels == (64, 32, 16, 8)
    assert at_size(recipe, (64, 130)).architecture.glimpse_channels == (256, 128, 64, 32, 16, 8)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (72, 88), (96, 130), (128, 128), (200, 320)])
@pytest.mark.parametrize(
    "make",
    [
        cpu_recipe,
        partial(cpu_recipe, slot_cost=12.0),
        custom_images_recipe,
        partial(custom_images_recipe, static=True),
        gpu_recipe,
        textures_recipe,
        partial(textures_recipe, backbone="efficientnet-lite0-dense"),
    ],
)
def test_equals_the_recipe_that_is_made_for_the_size(make: Maker, size: tuple[int, int]) -> None:
    found, expected = at_size(make((64, 64), 3), size), make(size, 3)
    assert found.label_rule is not None
    assert expected.label_rule is not None
    if found.architecture.slow_features is None:  # images of unknown scale may show objects of few pixels
        found = replace(found, label_rule=replace(found.label_rule, min_pixels=expected.label_rule.min_pixels))
    assert found == expected


def test_the_smallest_object_keeps_its_share_of_the_image() -> None:
    pixels = [at_size(PRESETS["clevr-cpu"].recipe, size).label_rule for size in ((64, 64), (128, 128), (64, 32))]
    assert [rule and rule.min_pixels for rule in pixels] == [6, 24, 3]


@pytest.mark.parametrize(
    ("channels", "expected"), [((128, 64, 32, 16, 8), (256, 128, 64, 32, 16, 8)), ((64, 32, 16), (64, 32, 16))]
)
def test_other_glimpses(channels: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Those of an older recipe for a CPU, which were the published ones for whole images, and those of none."""
    recipe = cpu_recipe((128, 128), 3)
    recipe = replace(recipe, architecture=replace(recipe.architecture, glimpse_channels=channels))
    assert at_size(recipe, (256, 256)).architecture.glimpse_channels == expected
