from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from astseg._core.errors import AstSegError
from astseg._core.settings_io import override
from astseg.data.store import Bytes, Store
from astseg.evaluation.evaluator import evaluate
from astseg.hub.loading import load_model
from astseg.model import own_networks
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.attention import ObjectQueries
from astseg.model.backgrounds.base import Background, BackgroundReconstruction
from astseg.model.own_networks import build_own, register_network
from astseg.model.slow_features.features import SlowFeatureLayout
from astseg.training.config import Recipe
from astseg.training.loop import Trainer
from astseg.training.memory import training_memory

OWN = {"feature_network": "own:strided", "refinement": "own:mixing", "background_network": "own:one-color"}


class Strided(nn.Module):
    def __init__(self, size: tuple[int, int], channels: int, inputs: int) -> None:
        assert size == (32, 32)
        super().__init__()
        self.layer = nn.Conv2d(inputs, 8, 4, stride=4)
        self.output_layer = nn.Conv2d(8, channels, 1)

    def forward(self, images: Tensor) -> Any:
        return self.output_layer(self.layer(images).relu())


class Mixing(nn.Module):
    def __init__(self, columns: int) -> None:
        super().__init__()
        self.layer = nn.Linear(columns, columns)

    def forward(self, queries: ObjectQueries) -> ObjectQueries:
        mean = queries.features.mean(1, keepdim=True)
        return queries._replace(features=queries.features + self.layer(mean))


class OneColor(Background):
    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.color = nn.Parameter(torch.full((1, 3, 1, 1), 0.5))

    def forward(self, images: Tensor) -> BackgroundReconstruction:
        image = self.color.expand_as(images)
        return BackgroundReconstruction(image, torch.zeros_like(images[:, :1]))


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register_network("feature_network", "own:strided", Strided)
    register_network("refinement", "own:mixing", Mixing)
    register_network("background_network", "own:one-color", OneColor)
    yield
    for builders in own_networks._builders.values():
        builders.clear()


@pytest.fixture
def recipe(tiny_recipe: Recipe) -> Recipe:
    return override(tiny_recipe, {f"architecture.{setting}": name for setting, name in OWN.items()})


def forget() -> None:
    """What a program that has registered nothing knows."""
    for builders in own_networks._builders.values():
        builders.clear()


def test_trains_resumes_loads_and_scores_like_others(recipe: Recipe, tiny_store: Store, tmp_path: Path) -> None:
    images = tiny_store["train"].images
    whole = Trainer(recipe, images, tmp_path / "whole", "cpu")
    before = {name: value.clone() for name, value in whole.model.state_dict().items()}
    whole.run()
    first = Trainer(recipe, images, tmp_path / "two parts", "cpu")
    first.run(lambda: first.state.steps_done == 5)
    Trainer.resume(images, tmp_path / "two parts", "cpu").run()
    model = load_model(tmp_path / "two parts")
    kinds = [type(part) for part in (model.feature_maps, model.refinement, model.background)]
    assert kinds == [Strided, Mixing, OneColor]
    for name, value in model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name])
    for name in ("feature_maps.layer.weight", "refinement.layer.weight", "background.color"):
        assert not torch.equal(model.state_dict()[name], before[name])
    assert evaluate(model, tiny_store["test"]).summary().overall.images == 4


def test_slots_are_reset_in_the_last_layer(recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
    resetting = override(recipe, {"foreground.reinitialize_slots_until": 1000})
    Trainer(resetting, tiny_images, tmp_path / "run", "cpu")
    register_network(
        "feature_network", "own:strided", lambda size, channels, inputs: nn.Sequential(Strided(size, channels, inputs))
    )
    with pytest.raises(AstSegError, match=r"'own:strided' has no `output_layer`\. Call .* or set foreground\.reinit"):
        Trainer(resetting, tiny_images, tmp_path / "other", "cpu")
    Trainer(override(recipe, {"foreground.reinitialize_slots_until": 0}), tiny_images, tmp_path / "other", "cpu")


def test_memory_is_estimated(recipe: Recipe) -> None:
    assert all(needed > 0 for needed in training_memory(recipe).values())


def test_another_program_is_told_what_to_do(recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
    trainer = Trainer(recipe, tiny_images, tmp_path / "run", "cpu")
    trainer.run(lambda: True)
    forget()
    advice = r"register_network\('feature_network', 'own:strided', \.\.\.\) first"
    with pytest.raises(AstSegError, match=advice):
        load_model(tmp_path / "run")
    with pytest.raises(AstSegError, match=advice):
        Trainer.resume(tiny_images, tmp_path / "run", "cpu")
    assert not list((tmp_path / "run").glob("*damaged*"))


def test_the_later_of_two_stands() -> None:
    register_network("refinement", "own:mixing", lambda columns: nn.Linear(columns, 1))
    assert isinstance(build_own("refinement", "own:mixing", 3), nn.Linear)


@pytest.mark.parametrize(
    ("setting", "name", "message"),
    [
        ("feature_maps", "own:mine", "^setting should be one of feature_network, refinement, background_network"),
        ("refinement", "mine", "begins with 'own:' and goes on, unlike 'mine'"),
        ("refinement", "own:", "unlike 'own:'"),
        ("refinement", None, "unlike None"),
    ],
)
def test_what_cannot_be_registered(setting: Any, name: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register_network(setting, name, nn.Identity)


@pytest.mark.parametrize("setting", OWN)
def test_a_misspelled_name_is_still_found_at_once(setting: str, recipe: Recipe) -> None:
    with pytest.raises(ValueError, match=rf"^architecture\.{setting} should be one of .*, not 'mine'$"):
        override(recipe, {f"architecture.{setting}": "mine"})


def test_the_corner_convention_has_no_own_ones(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="corner_convention should be one of published, consistent"):
        override(recipe, {"architecture.corner_convention": "own:one"})


def test_a_wrong_number_of_channels(recipe: Recipe) -> None:
    register_network("feature_network", "own:strided", lambda size, channels, _: Strided(size, channels - 1, 3))
    shape = recipe.architecture
    with pytest.raises(ValueError, match=rf"should return 2 \+ {shape.latents.columns} channels, .* not"):
        AstSeg(shape).encode(torch.zeros(1, 3, 32, 32))


def test_a_background_of_another_kind(recipe: Recipe) -> None:
    register_network("background_network", "own:one-color", lambda image_size: nn.Identity())
    with pytest.raises(TypeError, match=r"'own:one-color' should build a Background .*, not .*Identity"):
        AstSeg(recipe.architecture)


def test_slow_features_are_seen_too() -> None:
    layout = SlowFeatureLayout("filters", directions=4)  # and their length, and the colors
    model = AstSeg(Architecture((64, 64), 2, feature_network="own:strided", slow_features=layout)).eval()
    assert model.feature_maps.layer.in_channels == 4 + 1 + 3
    assert model.encode(torch.rand(1, 3, 64, 64)).positions.shape == (1, 2, 2)
