"""Named recipes: one for each row of the paper's tables, and small ones for two CPU cores.

A run is a preset plus a few overrides::

    preset = PRESETS["clevr"]
    recipe = replace(preset.recipe, backbone="./my-backbone")
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from astseg._core.errors import PresetNotFoundError, unknown_name
from astseg.data.catalog import DATASETS, TRAINING_SETS, DatasetSpec
from astseg.model.architecture import Architecture
from astseg.model.label_rule.settings import LabelRule
from astseg.model.latents import LatentLayout
from astseg.training.config import BackgroundTraining, ForegroundTraining, Recipe
from astseg.training.schedules import LearningRate
from astseg.training.shortening import with_steps
from astseg.training.small_recipes import (
    DENSE,
    ONE_COLOR_RULE,
    by_muon,
    cpu_recipe,
    for_large_images,
    lengthened,
    textures_recipe,
    widened,
)

PAPER_BACKBONE = "nvidia/mit-b3"
SMALL, LARGE = (64, 64), (128, 128)
"""The image sizes of the small recipes."""
FULL_ROW = "full"
"""The row of the published AST-Seg-B3-CT, from which every other row differs in one thing."""


@dataclass(frozen=True)
class Preset:
    """A named recipe."""

    name: str
    description: str
    recipe: Recipe
    benchmark: str | None = None
    """The data set, if this is a row of the paper's tables."""
    row: str | None = None
    """The row, if there is one; ``full`` is AST-Seg-B3-CT."""


def published_recipe(dataset: DatasetSpec) -> Recipe:
    """Return AST-Seg-B3-CT for a data set, with every value of Table 6."""
    return Recipe(
        architecture=Architecture(
            image_size=(dataset.image_size, dataset.image_size),
            num_slots=dataset.num_slots,
            feature_network="segformer-b3",
            latents=LatentLayout(anisotropic=dataset.anisotropic),
            background_network="simple" if dataset.fixed_background else "complex",
        ),
        background=BackgroundTraining(steps=2_500 if dataset.fixed_background else 500_000),
        foreground=ForegroundTraining(),
        backbone=PAPER_BACKBONE,
    )


def _rows(dataset: DatasetSpec) -> list[Preset]:
    """Return the presets of the rows of Tables 1, 2 and 4 for one data set."""
    key, base = dataset.name, published_recipe(dataset)
    architecture, foreground = base.architecture, base.foreground
    other = "isotropic" if dataset.anisotropic else "anisotropic"
    exchanged = replace(architecture.latents, anisotropic=not dataset.anisotropic)
    rows = {
        "": ("curriculum training, AST-Seg-B3-CT (Tables 1 and 2)", base),
        "baseline": (
            "baseline training, AST-Seg-B3-BT (Tables 1 and 2)",
            replace(base, foreground=replace(foreground, scenario="baseline")),
        ),
        "no-transformer": (
            "without the transformer encoder (Table 4)",
            replace(base, architecture=replace(architecture, refinement="none")),
        ),
        "one-more-slot": (
            "K = 1 + the largest number of objects (Table 4)",
            replace(base, architecture=replace(architecture, num_slots=architecture.num_slots + 1)),
        ),
        "twice-the-slots": (
            "K = 2 x the largest number of objects (Table 4)",
            replace(base, architecture=replace(architecture, num_slots=2 * architecture.num_slots)),
        ),
        "unet": (
            "the U-net of Table 8 in place of SegFormer (Table 4)",
            replace(base, architecture=replace(architecture, feature_network="unet"), backbone=None),
        ),
        "random-backbone": ("SegFormer from random weights (Table 4)", replace(base, backbone=None)),
        "no-entropy-loss": (
            "without the pixel entropy loss (Table 4)",
            replace(base, foreground=replace(foreground, entropy_weight=0.0)),
        ),
        "frozen-background": (
            "on the frozen background to the end (Table 4)",
            replace(base, foreground=replace(foreground, scenario="frozen")),
        ),
        other: (f"{other} scaling (Table 4)", replace(base, architecture=replace(architecture, latents=exchanged))),
    }
    return [
        Preset("-".join(filter(None, (key, row))), f"{dataset.title}: {description}", recipe, key, row or FULL_ROW)
        for row, (description, recipe) in rows.items()
    ]


def _natural_video() -> list[Preset]:
    """Return a preset for each of the two feature networks that the paper's authors used on natural video."""
    recipe = Recipe(
        architecture=Architecture(
            image_size=(200, 320),
            num_slots=20,
            latents=LatentLayout(appearance_dim=20, anisotropic=True, max_inverse_scale=40.0),
            per_pixel_background_activation=True,
            background_network="simple",
        ),
        background=BackgroundTraining(steps=10_000, automatic_complexity=True, complex_steps=24_000, complex_epochs=20),
        foreground=ForegroundTraining(
            steps=500_000,
            frozen_steps=60_000,
            batch_size=24,
            learning_rate=LearningRate(1e-5, warmup_steps=20_000),
            entropy_warmup_steps=20_000,
        ),
        backbone=PAPER_BACKBONE,
    )
    unet = replace(recipe, architecture=replace(recipe.architecture, feature_network="unet"), backbone=None)
    return [
        Preset("natural-video", "Natural video, 200x320, from a fixed camera", recipe),
        Preset("natural-video-unet", "Natural video, 200x320, from a fixed camera, with a U-net of 6 levels", unet),
    ]


def _small() -> list[Preset]:
    """Return the presets of small recipes for two CPU cores."""
    textures = partial(textures_recipe, num_slots=DATASETS["clevrtex"].num_slots)
    # Measured before parts of slots were compared with the ground, so they are not compared here.
    large = for_large_images(textures(LARGE), 16_000, background_error=5.0, background_likeness=0.0)
    # Four times as many pixels tell more surely what colors an object has, and what shows the ground.
    surer = {"background_error": 5.0, "histogram_pull": 3.0, "background_likeness": 0.5}
    large_camouflaged = for_large_images(textures(LARGE, backbone=DENSE), 16_600, **surer)
    camouflaged = textures(SMALL, backbone=DENSE)
    return [
        Preset("demo", "Rooms at 64x64 in minutes on two CPU cores", _demo_recipe()),
        Preset("rooms-cpu", "Rooms at 64x64 in two hours on two CPU cores", lengthened(_rooms_recipe())),
        Preset("towers-cpu", "Towers at 64x64 in two hours on two CPU cores", _towers_recipe()),
        Preset("clevr-cpu", "CLEVR at 64x64 in two hours on two CPU cores", _clevr_recipe()),
        Preset("clevrtex-cpu", "CLEVRTEX at 64x64 in half an hour on two CPU cores, by slow features", textures(SMALL)),
        Preset("clevrtex-128-cpu", "CLEVRTEX at 128x128 in an hour on two CPU cores, by slow features", large),
        Preset("clevrtex-dense-cpu", "CLEVRTEX at 64x64, by more slow features: for camouflaged objects", camouflaged),
        Preset("clevrtex-dense-128-cpu", "CLEVRTEX at 128x128, by more slow features", large_camouflaged),
    ]


def _rooms_recipe() -> Recipe:
    rooms = cpu_recipe(SMALL, DATASETS["objectsroom"].num_slots, slot_cost=12.0, background_log_activation=4.0)
    return replace(rooms, label_rule=LabelRule(background_error=35.0, background_margin=1.5))


def _demo_recipe() -> Recipe:
    rooms = _rooms_recipe()
    demo = replace(rooms, architecture=replace(rooms.architecture, slot_position_prior=True))
    return with_steps(by_muon(demo), background=1_000, foreground=4_000)


def _towers_recipe() -> Recipe:
    towers = _long_recipe(DATASETS["shapestacks"])
    # With a position prior, slots find shadows too, unless objects cast them from early on.
    return replace(
        towers,
        architecture=replace(towers.architecture, slot_position_prior=True),
        foreground=replace(towers.foreground, shadow_start=1_500),
        label_rule=replace(ONE_COLOR_RULE, background_likeness=0.2),
    )


def _clevr_recipe() -> Recipe:
    dataset = DATASETS["clevr"]
    clevr = _long_recipe(dataset)
    return replace(
        clevr,
        # With two slots more than there are objects, fewer objects share one.
        architecture=replace(widened(clevr.architecture), num_slots=dataset.num_slots + 2),
        foreground=replace(clevr.foreground, flips=True),
        label_rule=replace(
            ONE_COLOR_RULE,
            object_error=3.0,
            background_error=14.0,
            background_margin=3.0,
            neighbor_pull=6.0,
            min_pixels=6,
        ),
    )


def _long_recipe(dataset: DatasetSpec) -> Recipe:
    """Return the small recipe for a data set, with the steps of two hours."""
    return lengthened(cpu_recipe(SMALL, dataset.num_slots, anisotropic=dataset.anisotropic))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            *(row for dataset in TRAINING_SETS.values() for row in _rows(dataset)),
            *_natural_video(),
            *_small(),
        )
    }
)


def get_preset(name: str) -> Preset:
    """Return the preset with a name.

    Raises:
        PresetNotFoundError: there is none; the message suggests the most similar names.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS, PresetNotFoundError)
    return PRESETS[name]
