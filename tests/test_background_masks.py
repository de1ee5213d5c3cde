from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from astseg.background_masks import write_background_masks
from astseg.config import Recipe
from astseg.data.sources import open_source
from astseg.errors import UserError
from astseg.model.ast_seg import AstSeg
from astseg.model.background import BackgroundReconstruction

CPU = torch.device("cpu")
GREY = 100


class GreyBackground(nn.Module):
    """Expects the same grey everywhere, and no error."""

    def forward(self, images: Tensor) -> BackgroundReconstruction:
        return BackgroundReconstruction(torch.full_like(images, GREY / 255), torch.zeros_like(images[:, :1]))


@pytest.fixture
def model(tiny_recipe: Recipe) -> AstSeg:
    model = AstSeg(tiny_recipe.architecture)
    model.background = GreyBackground()
    return model


def picture(height: int = 40, width: int = 50) -> np.ndarray:
    image = np.full((height, width, 3), GREY, np.uint8)
    image[5:15, 20:30] = 220
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in/deep").mkdir(parents=True)
    Image.fromarray(picture()).save(tmp_path / "in/a.png")
    Image.fromarray(picture(64, 64)).save(tmp_path / "in/deep/b.png")
    return tmp_path / "in"


def test_writes_a_background_and_a_mask_for_every_picture(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    calls = []
    result = write_background_masks(
        model, open_source(folder), tmp_path / "out", CPU, lambda done, total: calls.append(done)
    )
    assert (result.pictures, result.scored, result.f_measure, result.skipped) == (2, 0, None, ())
    assert calls == [1, 2]
    for name, shape in (("a", (40, 50)), ("deep/b", (64, 64))):
        background = np.asarray(Image.open(tmp_path / f"out/backgrounds/{name}.png"))
        np.testing.assert_array_equal(background, np.full((*shape, 3), GREY))
        mask = np.asarray(Image.open(tmp_path / f"out/masks/{name}.png"))
        expected = np.zeros(shape, np.uint8)
        expected[5:15, 20:30] = 255
        np.testing.assert_array_equal(mask, expected)


def test_f_measure_over_all_pixels(model: AstSeg, tmp_path: Path) -> None:
    images = np.stack([picture(), picture()])
    masks = np.zeros((2, 40, 50), np.uint8)
    masks[0, 5:15, 20:30] = 2  # found whole
    masks[1, 5:25, 20:30] = 1  # found by half
    np.savez(tmp_path / "set.npz", images=images, masks=masks)
    result = write_background_masks(model, open_source(tmp_path / "set.npz"), tmp_path / "out", CPU)
    true_positives, false_negatives = 200, 100
    assert result.f_measure == pytest.approx(2 * true_positives / (2 * true_positives + false_negatives))


def test_only_pictures_whose_truth_is_known_are_scored(model: AstSeg, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "in" / kind).mkdir(parents=True)
    for name in "ab":
        Image.fromarray(picture()).save(tmp_path / f"in/images/{name}.png")
    (tmp_path / "in/images/c.png").write_text("broken")
    mask = np.zeros((40, 50), np.uint8)
    mask[5:15, 20:30] = 1
    Image.fromarray(mask).save(tmp_path / "in/masks/a.png")
    Image.fromarray(picture()).save(tmp_path / "in/masks/b.png")  # in colour
    result = write_background_masks(model, open_source(tmp_path / "in"), tmp_path / "out", CPU)
    assert (result.pictures, result.scored, result.f_measure) == (2, 1, 1.0)
    assert [name for name, _ in result.skipped] == ["images/c"]


def test_no_background_network(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    model.background = None
    with pytest.raises(UserError, match="This model has no background network"):
        write_background_masks(model, open_source(folder), tmp_path / "out", CPU)


def test_nothing_half_written(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_background_masks(model, open_source(folder), tmp_path / "out", CPU, interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_folder_that_is_taken(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        write_background_masks(model, open_source(folder), folder, CPU)
