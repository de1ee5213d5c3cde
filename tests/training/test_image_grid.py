from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from astseg._core.settings_io import override
from astseg.data.store import Bytes, Store
from astseg.training.config import Recipe
from astseg.training.image_grid import ImageGridCallback
from astseg.training.loop import Trainer


@pytest.fixture
def names(tiny_recipe: Recipe, tiny_store: Store, tmp_path: Path) -> list[str]:
    recipe = override(tiny_recipe, {"background.steps": 20, "foreground.steps": 4, "foreground.frozen_steps": 3})
    test = tiny_store["test"]
    grid = ImageGridCallback(tmp_path, test.images[:2], test.masks_to_show(slice(2)))
    Trainer(recipe, tiny_store["train"].images, tmp_path, torch.device("cpu"), callbacks=[grid]).run()
    return sorted(file.name for file in (tmp_path / "images").iterdir())


def test_after_each_eighth_of_a_phase_and_at_its_end(names: list[str]) -> None:
    assert names == [
        *(f"0-background-{step:06d}.png" for step in (3, 5, 8, 10, 13, 15, 18, 20)),
        *(f"1-objects-{step:06d}.png" for step in (1, 2, 3)),
        "2-joint-000001.png",
    ]


def test_are_whole_images(names: list[str], tmp_path: Path) -> None:
    for name in (names[0], names[-1]):
        with Image.open(tmp_path / "images" / name) as image:
            assert np.asarray(image.convert("L")).std() > 1


def test_without_truth(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
    recipe = override(tiny_recipe, {"foreground.scenario": "baseline", "foreground.steps": 1})
    grid = ImageGridCallback(tmp_path, tiny_images[:1])
    Trainer(recipe, tiny_images, tmp_path, torch.device("cpu"), callbacks=[grid]).run()
    assert [file.name for file in (tmp_path / "images").iterdir()] == ["0-joint-000001.png"]


def test_are_not_drawn_through_a_link(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
    recipe = override(tiny_recipe, {"foreground.scenario": "baseline", "foreground.steps": 1})
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    elsewhere.mkdir()
    (run / "images").symlink_to(elsewhere)
    grid = ImageGridCallback(run, tiny_images[:1])
    Trainer(recipe, tiny_images, run, torch.device("cpu"), callbacks=[grid]).run()
    assert not list(elsewhere.iterdir())
    assert [file.name for file in (run / "images").iterdir()] == ["0-joint-000001.png"]
