"""Recipes that are not the paper's: small ones for two CPU cores, and one for a user's own images on a GPU."""

from dataclasses import replace
from typing import NamedTuple

from astseg._core.settings_io import override
from astseg.model.architecture import Architecture
from astseg.model.label_rule.foreground import NOISE_MULTIPLE
from astseg.model.label_rule.settings import LabelRule
from astseg.model.latents import LatentLayout
from astseg.model.refinement import TransformerLayout
from astseg.model.slow_features.build import Backbone
from astseg.model.slow_features.features import SlowFeatureLayout
from astseg.model.slow_features.projection import DIRECTIONS
from astseg.training.config import BackgroundTraining, BaselineTraining, ForegroundTraining, Recipe
from astseg.training.schedules import LearningRate
from astseg.training.sizes import covering_glimpse_channels

MUON_PEAK = 3e-3
"""The peak of the learning rate of small networks with Muon: three times Adam's (``docs/lab/experiments.md``)."""
STATIC_ENTROPY_WEIGHT = 1e-3
"""A tenth of the paper's. On roads, a larger weight makes slots give up; on towers, so small a one leaves objects mixed
(``docs/lab/experiments.md``)."""
ONE_COLOR_RULE = LabelRule(duplicate_likeness=0.3, division_likeness=0.7, border_exponent=0.5)
"""For objects of one color each, as benchmarks have them: two colors in a slot are two objects. A person's shirt and
trousers would be two, so recipes for a user's own images leave it out."""


def cpu_recipe(
    image_size: tuple[int, int],
    num_slots: int,
    *,
    anisotropic: bool = True,
    slot_cost: float = 4.0,
    background_log_activation: float = 2.0,
) -> Recipe:
    """Return a recipe for two CPU cores, the best one found in ``docs/lab/experiments.md``.

    Args:
        image_size: height and width in pixels.
        num_slots: K.
        anisotropic: whether the width and the height of an object scale independently.
        slot_cost: the cost of a slot in use, in pixels with a squared error of 1. A smaller or paler object is left to
            the background. Large and bright objects allow a higher cost, which splits fewer of them between slots.
        background_log_activation: the background's lead before training; the smaller, the sooner many slots are used.
    """
    latents = LatentLayout(anisotropic=anisotropic, min_inverse_scale=2.0, initial_inverse_scale=5.0)
    return Recipe(
        architecture=Architecture(
            image_size=image_size,
            num_slots=num_slots,
            feature_network="compact-unet",
            refinement="none",
            latents=latents,
            # A glimpse covers at most half of the image's width and height, so half the size is enough.
            glimpse_channels=covering_glimpse_channels(image_size, latents.min_inverse_scale),
            initial_background_log_activation=background_log_activation,
            residual_attention_bias=4.0,
            shadows=True,
            background_network="region",
        ),
        label_rule=ONE_COLOR_RULE,
        background=BackgroundTraining(
            steps=1_500,
            batch_size=32,
            learning_rate=LearningRate(5e-3, warmup_steps=30, decay="cosine", decay_start=0.3),
            exponent_ramp_start=900,
            exponent_ramp_steps=450,
        ),
        foreground=ForegroundTraining(
            steps=6_000,
            frozen_steps=3_600,
            baseline=BaselineTraining(
                background_rate=5.0, objects_warmup_steps=2_400, placement_step=1_500, shadow_start=3_900
            ),
            batch_size=16,
            learning_rate=LearningRate(1e-3, warmup_steps=150, decay="cosine", decay_start=0.5),
            entropy_warmup_steps=1_000,
            slot_use_weight=slot_cost / (image_size[0] * image_size[1]),
            slot_use_warmup_steps=6_000,
            reinitialize_slots_until=2_000,
            shadow_start=2_400,
        ),
    )


def by_muon(recipe: Recipe) -> Recipe:
    """Return a small recipe that moves matrices of weights by Muon: the demo learns as much in half the steps."""
    rate = replace(recipe.foreground.learning_rate, peak=MUON_PEAK)
    return replace(recipe, foreground=replace(recipe.foreground, optimizer="muon", learning_rate=rate))


def custom_images_recipe(image_size: tuple[int, int], num_slots: int, *, static: bool = False) -> Recipe:
    """Return a recipe for a user's own images on two CPU cores: perhaps few images, with many small objects.

    Slots start in regions of their own and are drawn more strongly to what the background leaves unexplained; otherwise
    small objects that look alike would never be separated. The background stays frozen, because a network that goes on
    learning soon memorizes a few hundred frames, objects included. Objects cast no shadows, and pixels much darker than
    the background count as objects; otherwise dark objects would be explained as shadows. The errors of objects do not
    decide between them: after little training several slots may share an object, which would break up. Before a static
    background the noise tells what is foreground, and slots divide it.

    Args:
        image_size: height and width in pixels.
        num_slots: K.
        static: whether all images show one background, as from a camera that stands still (``StaticBackground``). Small
            objects that differ little from it then need a small entropy weight, or their slots give up early.
    """
    small = cpu_recipe(image_size, num_slots)
    if not static:  # on a road, Muon finds no more
        small = by_muon(small)
    architecture = replace(
        small.architecture,
        residual_attention_bias=8.0,
        slot_position_prior=True,
        shadows=False,
        background_network="static" if static else "region",
    )
    foreground = replace(
        small.foreground,
        scenario="frozen",
        batch_size=8,
        entropy_weight=STATIC_ENTROPY_WEIGHT if static else small.foreground.entropy_weight,
    )
    rule = LabelRule(
        between_objects=False, max_shade=0.15, noise_multiple=NOISE_MULTIPLE if static else 0.0, split_parts=static
    )
    return replace(small, architecture=architecture, foreground=foreground, label_rule=rule)


class _Distances(NamedTuple):
    """Settings that depend on how large distances are in the slow features of a backbone."""

    directions: int = DIRECTIONS
    scale: float = 9.0
    background_error: float = 6.0
    duplicate_likeness: float = 2.3
    division_likeness: float = 2.8
    background_likeness: float = 0.55
    smallest_share: float = 1 / 256
    """The least share of the image that an object takes up."""
    looks: int = 2


DENSE: Backbone = "efficientnet-lite0-dense"
_DISTANCES = {
    # Distances in twice as many directions are 1.4 times as large. Objects differ from the ground in more of them. More
    # parts of the ground itself are found, too, which are small or differ little from the rest.
    DENSE: _Distances(32, 13.0, 6.0, 3.7, 5.0, background_likeness=0.45, smallest_share=9 / 1024),
    # In features that were not learned, objects are nearer to the ground and to each other, and less even themselves.
    "filters": _Distances(12, 9.0, 9.0, 1.8, 0.0, background_likeness=0.0, looks=1),
}
"""For backbones with other distances than ``efficientnet-lite0``."""


def textures_recipe(
    image_size: tuple[int, int], num_slots: int, *, backbone: Backbone = "efficientnet-lite0"
) -> Recipe:
    """Return a recipe for textured images on two CPU cores: slots explain slow features (``model.slow_features``).

    Args:
        image_size: height and width in pixels.
        num_slots: K.
        backbone: where local responses come from.
    """
    small = cpu_recipe(image_size, num_slots)
    distances = _DISTANCES.get(backbone, _Distances())
    architecture = replace(
        widened(small.architecture),
        glimpse_channels=(64, 32, 16),
        residual_attention_bias=8.0,
        slot_position_prior=True,
        slow_features=SlowFeatureLayout(backbone, distances.directions, distances.scale),
        shadows=False,
    )
    foreground = replace(
        small.foreground,
        scenario="frozen",
        steps=18_000,
        flips=True,
        color_weight=0.03,
        entropy_warmup_steps=1_000,
        slot_use_weight=8.0 / (image_size[0] * image_size[1]),
        slot_use_warmup_steps=18_000,
        reinitialize_slots_until=2_500,
    )
    rule = LabelRule(
        object_error=7.0,
        background_error=distances.background_error,
        background_likeness=distances.background_likeness,
        neighbor_pull=6.0,
        histogram_pull=2.0,
        duplicate_likeness=distances.duplicate_likeness,
        division_likeness=distances.division_likeness,
        border_exponent=0.5,
        min_pixels=int(image_size[0] * image_size[1] * distances.smallest_share),
        split_parts=True,
        looks=distances.looks,
    )
    # The background is for the colors alone, which need none of its details.
    background = replace(small.background, steps=600, exponent_ramp_start=300, exponent_ramp_steps=200)
    return replace(small, architecture=architecture, background=background, foreground=foreground, label_rule=rule)


def widened(architecture: Architecture) -> Architecture:
    """Return the architecture with wider features, and a small transformer that lets slots see each other."""
    return replace(
        architecture,
        feature_network="wide-compact-unet",
        refinement="residual",
        transformer=TransformerLayout(dimension=128, heads=4, feedforward=256, layers=2, dropout=0.0),
    )


def gpu_recipe(image_size: tuple[int, int], num_slots: int, *, static: bool = False) -> Recipe:
    """Return the recipe for a user's own images on a GPU: more steps, larger batches and the U-net of Table 8."""
    small = custom_images_recipe(image_size, num_slots, static=static)
    return replace(
        small,
        architecture=replace(small.architecture, feature_network="unet"),
        background=replace(
            small.background, steps=3_000, batch_size=128, exponent_ramp_start=1_800, exponent_ramp_steps=900
        ),
        foreground=replace(
            small.foreground,
            steps=20_000,
            frozen_steps=8_000,
            batch_size=64,
            optimizer="adam",  # of Muon, nothing was measured on a GPU
            learning_rate=LearningRate(2e-4, warmup_steps=1_000, decay="cosine", decay_start=0.5),
            entropy_warmup_steps=3_000,
            slot_use_warmup_steps=20_000,
            reinitialize_slots_until=4_000,
        ),
    )


def lengthened(recipe: Recipe) -> Recipe:
    """Return the recipe with the steps of two hours on two CPU cores."""
    return replace(
        recipe,
        background=replace(recipe.background, steps=4_000, exponent_ramp_start=2_400, exponent_ramp_steps=1_200),
        foreground=replace(
            recipe.foreground,
            steps=40_000,
            frozen_steps=20_000,
            entropy_warmup_steps=3_000,
            slot_use_warmup_steps=40_000,
            reinitialize_slots_until=4_000,
            shadow_start=12_000,
        ),
    )


def for_large_images(recipe: Recipe, steps: int, **rule: float) -> Recipe:
    """Return a recipe of slow features for larger images, on a grid of no more cells, its label rule changed."""
    changes = {
        "architecture.slow_features.stride": 4,
        "foreground.steps": steps,
        "foreground.slot_use_warmup_steps": steps,
        **{f"label_rule.{name}": value for name, value in rule.items()},
    }
    return override(recipe, changes)
