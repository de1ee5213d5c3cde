from pathlib import Path

import numpy as np
import pytest
import torch

from astseg._core.settings_io import override
from astseg.data.store import Bytes
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.slot_prior import SlotPositionPrior
from astseg.training import preparation
from astseg.training.batches import TrainingImages, TrainingSet
from astseg.training.config import Recipe
from astseg.training.loop import Trainer
from astseg.training.slot_places import MIN_REGION, OVERLAP, place_slots

CPU = torch.device("cpu")
SIZE = (32, 48)


def initialized(
    num_slots: int, images_and_backgrounds: tuple[TrainingImages, TrainingImages], seed: int = 0
) -> SlotPositionPrior:
    model = AstSeg(
        Architecture(SIZE, num_slots, "compact-unet", "none", background_network="region", slot_position_prior=True)
    )
    place_slots(model, TrainingSet(*images_and_backgrounds), seed)
    assert model.places is not None
    return model.places


def squares(*middles: tuple[int, int], side: int = 4, count: int = 100) -> tuple[TrainingImages, TrainingImages]:
    """Grey backgrounds, and images with a white square at one of some middles (row, column) each."""
    backgrounds = np.full((count, *SIZE, 3), 100, np.uint8)
    images = backgrounds.copy()
    for number, image in enumerate(images if middles else ()):
        row, column = middles[number % len(middles)]
        image[row - side // 2 : row + side // 2, column - side // 2 : column + side // 2] = 255
    return TrainingImages(images, CPU), TrainingImages(backgrounds, CPU)


def frame(row: float, column: float) -> list[float]:
    """x and y of a place between pixels, where -1 and +1 are the centers of the first and the last."""
    return [2 * (column - 0.5) / (SIZE[1] - 1) - 1, 2 * (row - 0.5) / (SIZE[0] - 1) - 1]


def test_one_region_each() -> None:
    middles = (8, 10), (24, 10), (16, 40)
    found = initialized(3, squares(*middles))
    expected = torch.tensor(sorted(frame(*middle) for middle in middles))
    torch.testing.assert_close(torch.tensor(sorted(found.centres.tolist())), expected, atol=0.02, rtol=0)
    # The squares are smaller than the smallest region.
    width = torch.tensor([2 * MIN_REGION / SIZE[1], 2 * MIN_REGION / SIZE[0]])
    torch.testing.assert_close(1 / found.inverse_widths, (OVERLAP * width).expand(3, 2))


def test_a_large_region_has_a_wide_reach() -> None:
    found = initialized(1, squares((16, 24), side=24))
    deviations = np.array([24, 24]) / 12**0.5 * 2 / (np.array(SIZE[::-1]) - 1)
    expected = torch.tensor(OVERLAP * deviations, dtype=torch.float32)[None]
    torch.testing.assert_close(1 / found.inverse_widths, expected, rtol=0.02, atol=0)


@pytest.mark.parametrize("num_slots", [1, 17])
def test_without_objects_for_all_nothing_is_preferred(num_slots: int) -> None:
    found = initialized(num_slots, squares(*([] if num_slots == 1 else [(8, 8)])))  # 16 pixels for 17 slots
    assert not found.inverse_widths.any()


def test_as_many_pixels_as_slots_are_enough() -> None:
    assert (initialized(16, squares((8, 8))).inverse_widths > 0).all()


def test_the_seed_decides() -> None:
    middles = [(row, column) for row in range(4, 29, 4) for column in range(4, 45, 4)]
    first, again, other = (initialized(5, squares(*middles), seed).centres for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("slot_position_prior", [False, True])
def test_happens_once_before_the_objects(
    slot_position_prior: bool, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def note(model: AstSeg, training_set: TrainingSet, seed: int) -> None:
        assert training_set.backgrounds is not None
        assert len(training_set) == len(training_set.backgrounds) == len(tiny_images)
        calls.append(seed)

    monkeypatch.setattr(preparation, "place_slots", note)
    recipe = override(tiny_recipe, {"architecture.slot_position_prior": slot_position_prior})
    trainer = Trainer(recipe, tiny_images, tmp_path, CPU, seed=7)
    steps = iter(range(recipe.background.steps + 1))
    assert not trainer.run(lambda: next(steps, None) is None)  # within the objects
    assert calls == [7] * slot_position_prior
    assert Trainer.resume(tiny_images, tmp_path, CPU).run()
    assert calls == [7] * slot_position_prior
