from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pytest
import torch

from astseg._core.errors import AstSegError
from astseg.data.catalog import TRAINING_SETS
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.features.unet import UnetMaps
from astseg.model.label_rule.settings import LabelRule
from astseg.model.latents import LatentLayout
from astseg.training.batches import Batch
from astseg.training.config import ForegroundTraining, Recipe
from astseg.training.phases import Phase, phases
from astseg.training.presets import PRESETS, get_preset
from astseg.training.schedules import LearningRate
from astseg.training.small_recipes import cpu_recipe, custom_images_recipe, gpu_recipe
from astseg.training.step import train_step

# Side, K, anisotropic, background steps, background channels: section 5.1 and Table 6.
PUBLISHED = {
    "clevrtex": (128, 10, True, 500_000, "complex"),
    "clevr": (128, 10, False, 2_500, "simple"),
    "shapestacks": (64, 6, False, 500_000, "complex"),
    "objectsroom": (64, 3, True, 500_000, "complex"),
}
OTHER_ROWS = ["baseline", "no-transformer", "one-more-slot", "twice-the-slots", "unet", "random-backbone"]
OTHER_ROWS += ["no-entropy-loss", "frozen-background"]
MakeRecipe: TypeAlias = Callable[..., Recipe]
LARGE = ["clevrtex-128-cpu", "clevrtex-dense-128-cpu"]
CPU = ["demo", "rooms-cpu", "towers-cpu", "clevr-cpu", "clevrtex-cpu", "clevrtex-dense-cpu", *LARGE]


def of_benchmark(name: str) -> str:
    return name.split("-")[0]


def published_names() -> list[str]:
    return [name for name in PRESETS if of_benchmark(name) in PUBLISHED and name not in CPU]


def test_there_is_a_preset_for_every_row() -> None:
    assert set(TRAINING_SETS) == set(PUBLISHED)
    expected = {f"{data}-{row}" for data in PUBLISHED for row in OTHER_ROWS} | set(PUBLISHED)
    expected |= {"clevrtex-isotropic", "objectsroom-isotropic", "clevr-anisotropic", "shapestacks-anisotropic"}
    assert set(published_names()) == expected
    assert set(PRESETS) == expected | {"natural-video", "natural-video-unet", *CPU}
    assert all(name == preset.name and preset.description for name, preset in PRESETS.items())


class TestTable6:
    """Whatever no row changes holds in every published preset."""

    @pytest.fixture(params=published_names())
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def recipe(self, name: str) -> Recipe:
        return PRESETS[name].recipe

    def test_background(self, name: str, recipe: Recipe) -> None:
        _, _, _, steps, channels = PUBLISHED[of_benchmark(name)]
        training = recipe.background
        assert training.batch_size == 128
        assert training.learning_rate == LearningRate(2e-3, warmup_steps=0, decay="drop", decay_start=0.8)
        assert training.steps == steps
        assert training.exponent_ramp_steps == 0
        assert not training.automatic_complexity
        assert recipe.architecture.background_network == channels

    def test_foreground(self, name: str, recipe: Recipe) -> None:
        training = recipe.foreground
        assert training.batch_size == 64
        assert training.learning_rate == LearningRate(4e-5, warmup_steps=5_000, decay="drop", decay_start=0.9)
        assert training.steps == 125_000
        assert training.frozen_steps == 30_000
        assert training.entropy_warmup_steps == 10_000
        assert training.entropy_weight == (0.0 if name.endswith("no-entropy-loss") else 1e-2)
        assert training.slot_use_weight == 0
        scenarios = {"baseline": "baseline", "frozen-background": "frozen"}
        assert training.scenario == scenarios.get(name.partition("-")[2], "curriculum")

    def test_architecture(self, name: str, recipe: Recipe) -> None:
        side, num_slots, anisotropic, _, _ = PUBLISHED[of_benchmark(name)]
        shape, row = recipe.architecture, name.partition("-")[2]
        assert shape.image_size == (side, side)
        assert shape.num_slots == {"one-more-slot": num_slots + 1, "twice-the-slots": 2 * num_slots}.get(row, num_slots)
        assert shape.feature_network == ("unet" if row == "unet" else "segformer-b3")
        assert recipe.backbone == (None if row in ("unet", "random-backbone") else "nvidia/mit-b3")
        assert shape.refinement == ("none" if row == "no-transformer" else "transformer")
        assert shape.initial_background_log_activation == 11
        assert not shape.per_pixel_background_activation
        assert shape.corner_convention == "published"
        assert shape.latents.appearance_dim == 32
        assert (shape.latents.min_inverse_scale, shape.latents.max_inverse_scale) == (1.3, 24)
        assert shape.latents.initial_inverse_scale is None
        assert not shape.latents.activation_from_appearance
        assert shape.latents.anisotropic == {"isotropic": False, "anisotropic": True}.get(row, anisotropic)
        assert shape.glimpse_channels == ((128, 64, 32, 16, 8) if side == 128 else (64, 32, 16, 8))

    @pytest.mark.parametrize("name", PUBLISHED, indirect=True)
    def test_optimizers(self, name: str, recipe: Recipe) -> None:
        model = AstSeg(tiny(recipe.architecture))
        alone = phases(recipe)[0].start(model)
        assert isinstance(alone, torch.optim.AdamW)
        assert alone.defaults["betas"] == (0.9, 0.999)
        assert alone.defaults["weight_decay"] == 0
        assert alone.defaults["lr"] == 2e-3
        objects = phases(recipe)[1].start(model)
        assert type(objects) is torch.optim.Adam
        assert objects.defaults["betas"] == (0.90, 0.98)
        assert objects.defaults["eps"] == 1e-9
        assert objects.defaults["weight_decay"] == 0
        assert objects.defaults["lr"] == 4e-5


def tiny(architecture: Architecture) -> Architecture:
    """The same at a size that a test can build."""
    network = architecture.feature_network
    network = "segformer-b0" if network.startswith("segformer") else network
    return replace(architecture, image_size=(32, 32), feature_network=network, background_network="simple")


def test_natural_video() -> None:
    recipe = PRESETS["natural-video"].recipe
    shape = recipe.architecture
    assert shape.image_size == (200, 320)
    assert 16 <= shape.num_slots <= 24
    assert shape.latents == LatentLayout(20, anisotropic=True, min_inverse_scale=1.3, max_inverse_scale=40.0)
    assert shape.per_pixel_background_activation
    assert shape.feature_network == "segformer-b3"
    training = recipe.foreground
    assert (training.steps, training.frozen_steps, training.batch_size) == (500_000, 60_000, 24)
    assert training.learning_rate == LearningRate(1e-5, warmup_steps=20_000)
    assert training.entropy_warmup_steps == 20_000
    background = recipe.background
    assert (background.steps, background.complex_steps, background.complex_epochs) == (10_000, 24_000, 20)
    assert background.automatic_complexity
    assert recipe.backbone == "nvidia/mit-b3"


def test_natural_video_with_a_unet_differs_in_its_network_alone() -> None:
    recipe, unet = (PRESETS[name].recipe for name in ("natural-video", "natural-video-unet"))
    assert unet.architecture == replace(recipe.architecture, feature_network="unet")
    assert unet == replace(recipe, architecture=unet.architecture, backbone=None)
    with torch.device("meta"):
        maps = AstSeg(unet.architecture).feature_maps
    assert isinstance(maps, UnetMaps)
    assert len(maps.down) == 6


# Rows that differ only in their training share an architecture.
ARCHITECTURES = {preset.recipe.architecture: name for name, preset in PRESETS.items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=ARCHITECTURES.values())
def test_every_preset_builds(architecture: Architecture) -> None:
    with torch.device("meta"):
        model = AstSeg(architecture)
    assert all(parameter.device.type == "meta" for parameter in model.parameters())


def batch_for(phase: Phase, model: AstSeg, images: torch.Tensor) -> Batch:
    """A batch of images with all that a phase needs beside them."""
    residuals = None
    if model.slow_features is not None and phase.trains_objects:
        residuals = images.new_zeros(len(images), model.slow_features.layout.directions, *model.grid)
    return Batch(images, images if phase.needs_backgrounds else None, residuals)


def operations(recipe: Recipe) -> tuple[object, ...]:
    """What decides which operations the steps of a recipe take: neither numbers of slots nor weights of losses do."""
    foreground = recipe.foreground
    shape = replace(recipe.architecture, num_slots=2)
    return shape, foreground.scenario, foreground.optimizer, foreground.slot_use_weight > 0


FULL_SIZED = {
    **{name: preset.recipe for name, preset in PRESETS.items() if preset.benchmark in (None, "clevrtex")},
    **{name: PRESETS[name].recipe for name in ("clevr", "shapestacks", "objectsroom")},
    "own images on a GPU": gpu_recipe((96, 128), 8),
    "own video on a GPU": gpu_recipe((96, 128), 8, static=True),
}
DIFFERENT = {operations(recipe): name for name, recipe in reversed(FULL_SIZED.items())}


@pytest.mark.parametrize("name", DIFFERENT.values())
def test_a_step_stays_on_the_device_and_never_waits_for_it(name: str) -> None:
    # With all layers, sizes and batches as they are. The device "meta" refuses most of what would be wrong or slow on a
    # GPU: a tensor that was made on the CPU (but as an index, a weight or a single number), and a number that is asked
    # for (".item()") before all is computed.
    recipe = FULL_SIZED[name]
    with torch.device("meta"):
        model = AstSeg(recipe.architecture)
    for phase in phases(recipe):
        phase.start(model)
        images = torch.empty(phase.settings.batch_size, 3, *model.image_size, device="meta")
        last = phase.settings.steps - 1 - phase.offset  # of the whole schedule: shadows are thrown by then
        losses = phase.losses(model, batch_for(phase, model, images), phase.schedule(last))
        losses.total.backward()  # type: ignore[no-untyped-call]
        assert losses.total.device.type == "meta"
        parameters = phase.parameters(model)
        without = sum(parameter.grad is None for parameter in parameters)
        assert without < 0.1 * len(parameters), "only what the step had no use for, such as a stage's last bias"
        model.zero_grad()


@pytest.mark.parametrize("name", ["natural-video", "natural-video-unet", "clevrtex-unet", "demo"])
def test_shapes_go_through(name: str) -> None:
    with torch.device("meta"):
        model = AstSeg(PRESETS[name].recipe.architecture).eval()
    found = model(torch.empty(2, 3, *model.image_size, device="meta"))
    assert found.weights.shape == (2, model.num_slots + 1, *model.image_size)
    assert found.image.shape == (2, 3, *model.image_size)


def step_of_each_phase(recipe: Recipe) -> None:
    torch.manual_seed(0)
    model = AstSeg(recipe.architecture)
    images = torch.rand(2, 3, *model.image_size)
    for phase in phases(recipe):
        optimizer = phase.start(model)
        before = {name: value.clone() for name, value in model.named_parameters() if value.requires_grad}
        losses = train_step(model, optimizer, phase, 1, batch_for(phase, model, images))
        assert losses.total.isfinite()
        assert all(value.isfinite().all() for value in model.parameters())
        assert any((value != before[name]).any() for name, value in model.named_parameters() if name in before)


@pytest.mark.parametrize("name", CPU)
def test_every_small_preset_learns_a_step(name: str) -> None:
    step_of_each_phase(PRESETS[name].recipe)


@pytest.mark.parametrize("name", ["clevr", "objectsroom-unet", "shapestacks-no-transformer"])
def test_a_preset_of_each_network_learns_a_step(name: str) -> None:
    recipe = PRESETS[name].recipe
    step_of_each_phase(replace(recipe, architecture=tiny(recipe.architecture)))


@pytest.mark.parametrize("make", [custom_images_recipe, gpu_recipe])
class TestOwnImages:
    @pytest.mark.parametrize("static", [False, True])
    def test_any_size(self, make: MakeRecipe, static: bool) -> None:
        recipe = make((96, 128), 5, static=static)
        assert recipe.architecture.background_network == ("static" if static else "region")
        assert recipe.architecture.image_size == (96, 128)
        assert recipe.architecture.num_slots == 5
        with torch.device("meta"):
            AstSeg(recipe.architecture)

    def test_what_makes_small_objects_and_few_images_work(self, make: MakeRecipe) -> None:
        recipe = make((96, 128), 5)
        assert recipe.architecture.slot_position_prior
        assert recipe.label_rule is not None
        assert not recipe.label_rule.between_objects
        assert not recipe.architecture.shadows
        assert recipe.label_rule.max_shade < LabelRule().max_shade
        assert [phase.name for phase in phases(recipe)] == ["background", "objects"]

    def test_glimpses_are_those_of_images_half_as_large(self, make: MakeRecipe) -> None:
        recipe = make((96, 128), 5)
        generator = AstSeg(replace(recipe.architecture, background_network="static")).glimpse_generator
        with torch.no_grad():
            painted = generator(torch.zeros(1, recipe.architecture.latents.appearance_dim))
        assert painted.shape[-2:] == (32, 32)  # 64x64 for these by Table 7
        assert recipe.architecture.latents.min_inverse_scale >= 2

    def test_entropy_counts_less_where_the_camera_stands_still(self, make: MakeRecipe) -> None:
        moving, still = (make((96, 128), 5, static=static).foreground.entropy_weight for static in (False, True))
        assert still < moving


@pytest.mark.parametrize(
    ("recipe", "by_muon"),
    [
        (PRESETS["demo"].recipe, True),
        (PRESETS["clevr-cpu"].recipe, False),
        (custom_images_recipe((64, 64), 3), True),
        (custom_images_recipe((64, 64), 3, static=True), False),
        (gpu_recipe((64, 64), 3), False),
        (PRESETS["clevrtex-cpu"].recipe, False),
    ],
)
def test_matrices_are_moved_by_muon_where_it_was_seen_to_help(recipe: Recipe, by_muon: bool) -> None:
    training = recipe.foreground
    assert training.optimizer == ("muon" if by_muon else "adam")
    assert training.learning_rate.peak > 2e-3 if by_muon else training.learning_rate.peak <= 1e-3


def test_networks() -> None:
    assert custom_images_recipe((64, 64), 3).architecture.feature_network == "compact-unet"
    assert gpu_recipe((64, 64), 3).architecture.feature_network == "unet"


@pytest.mark.parametrize("anisotropic", [True, False])
def test_scaling(anisotropic: bool) -> None:
    assert cpu_recipe((64, 64), 3, anisotropic=anisotropic).architecture.latents.anisotropic == anisotropic


class TestFinding:
    def test_by_name(self) -> None:
        assert get_preset("demo") is PRESETS["demo"]
        assert isinstance(get_preset("clevr").recipe.foreground, ForegroundTraining)

    def test_unknown(self) -> None:
        with pytest.raises(AstSegError, match="Did you mean 'clevr'"):
            get_preset("clever")
