from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from astseg._core.settings_io import override
from astseg.data.store import Bytes
from astseg.model.ast_seg import AstSeg
from astseg.model.segmentation import evaluation_mode
from astseg.training import slot_places
from astseg.training.batches import TrainingImages, TrainingSet
from astseg.training.callbacks import Callback
from astseg.training.config import Recipe
from astseg.training.loop import Trainer
from astseg.training.slot_places import place_slots
from astseg.training.state import TrainState

CPU = torch.device("cpu")


@pytest.fixture
def recipe(tiny_recipe: Recipe) -> Recipe:
    """Baseline training of six steps, with places after the third."""
    return override(
        tiny_recipe,
        {
            "foreground.scenario": "baseline",
            "architecture.slot_position_prior": True,
            "architecture.background_network": "static",
        },
    )


class Watching(Callback):
    """Keeps the weights after the third step, when slots are placed, and the places after each."""

    def __init__(self) -> None:
        self.places: list[torch.Tensor] = []
        self.modes: set[tuple[bool, ...]] = set()
        self.weights: dict[str, Any] = {}

    def on_step_end(self, state: TrainState) -> None:
        assert state.model.places is not None
        self.places.append(state.model.places.centres.detach().clone())
        self.modes.add(tuple(module.training for module in state.model.modules()))
        if state.step == 3:
            self.weights = {name: value.clone() for name, value in state.model.state_dict().items()}


def test_places_come_when_the_background_is_known(recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
    watching = Watching()
    Trainer(recipe, tiny_images, tmp_path, CPU, seed=5, callbacks=[watching]).run()
    assert [bool(places.any()) for places in watching.places] == [False, False, True, True, True, True]
    assert not torch.equal(*watching.places[-2:]), "they are learned from then on"
    assert len(watching.modes) == 1, "training goes on in its mode"
    model = AstSeg(recipe.architecture)
    model.load_state_dict(watching.weights)
    images = TrainingImages(tiny_images, CPU)
    with torch.no_grad(), evaluation_mode(model):
        painted = model.reconstruct_backgrounds(images[np.arange(len(images))])
    bytes_ = (255 * painted).permute(0, 2, 3, 1).numpy()
    backgrounds = TrainingImages(bytes_, CPU)
    backgrounds._to_floats = lambda values: values.permute(0, 3, 1, 2) / 255  # type: ignore[method-assign]
    place_slots(model, TrainingSet(images, backgrounds), 5)
    assert model.places is not None
    torch.testing.assert_close(model.places.centres, watching.places[2])


@pytest.mark.parametrize("stopped_after", [2, 3, 4])
def test_a_resumed_run_places_them_once(recipe: Recipe, tiny_images: Bytes, tmp_path: Path, stopped_after: int) -> None:
    folders = [tmp_path / "whole", tmp_path / "resumed"]
    for folder in folders:
        folder.mkdir()
    whole = Trainer(recipe, tiny_images, folders[0], CPU)
    whole.run()
    begun = Trainer(recipe, tiny_images, folders[1], CPU)
    assert not begun.run(lambda: begun.state.step == stopped_after)
    resumed = Trainer.resume(tiny_images, folders[1], CPU)
    assert resumed.run()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


class Notes(Callback):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_note(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize("explained", [True, False])
def test_slots_without_places_are_told(
    recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, explained: bool
) -> None:
    if explained:  # what is unexplained is at most 1
        monkeypatch.setattr(slot_places, "RESIDUAL_THRESHOLD", 1.0)
    notes = Notes()
    trainer = Trainer(recipe, tiny_images, tmp_path, CPU, callbacks=[notes])
    assert trainer.run()
    assert trainer.model.places is not None
    assert bool(trainer.model.places.inverse_widths.any()) != explained
    assert len(notes.texts) == explained
    assert all("without places of their own" in text for text in notes.texts)
    assert all("earlier foreground.baseline.placement_step" in text for text in notes.texts)
