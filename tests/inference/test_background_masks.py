import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.files import contents
from torch import Tensor

from astseg._core.checksums import seal_file
from astseg._core.errors import AstSegError
from astseg.data.opening import open_source
from astseg.inference.background_masks import BackgroundMasks, write_background_masks
from astseg.inference.resuming import resumable
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.base import Background, BackgroundReconstruction
from astseg.training.background_noise import measure_noise
from astseg.training.batches import TrainingImages
from astseg.training.config import Recipe

CPU = torch.device("cpu")
GREY = 100


class GreyBackground(Background):
    """Expects the same grey everywhere, and no error."""

    def forward(self, images: Tensor) -> BackgroundReconstruction:
        return BackgroundReconstruction(torch.full_like(images, GREY / 255), torch.zeros_like(images[:, :1]))


@pytest.fixture
def model(tiny_recipe: Recipe) -> AstSeg:
    model = AstSeg(tiny_recipe.architecture)
    model.background = GreyBackground()
    return model


def block_image(height: int = 32, width: int = 32) -> np.ndarray:
    image = np.full((height, width, 3), GREY, np.uint8)
    image[5:15, 12:22] = 220
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in/deep").mkdir(parents=True)
    Image.fromarray(block_image()).save(tmp_path / "in/a.png")
    Image.fromarray(block_image(64, 64)).save(tmp_path / "in/deep/b.png")
    return tmp_path / "in"


def test_writes_a_background_and_a_mask_for_every_image(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    calls = []
    result = write_background_masks(
        model, open_source(folder), tmp_path / "out", CPU, lambda done, total: calls.append(done)
    )
    assert (result.images, result.scored, result.f_measure, result.skipped) == (2, 0, None, ())
    assert calls == [1, 2]
    for name, shape in (("a", (32, 32)), ("deep/b", (64, 64))):
        background = np.asarray(Image.open(tmp_path / f"out/backgrounds/{name}.png"))
        np.testing.assert_array_equal(background, np.full((*shape, 3), GREY))
        mask = np.asarray(Image.open(tmp_path / f"out/masks/{name}.png"))
        expected = np.zeros(shape, np.uint8)
        expected[5:15, 12:22] = 255
        assert set(np.unique(mask)) == {0, 255}
        if shape == model.image_size:
            np.testing.assert_array_equal(mask, expected)
        else:  # what the network saw was half as large
            assert ((mask > 0) & (expected > 0)).sum() / ((mask > 0) | (expected > 0)).sum() > 0.6


def test_what_is_too_fine_for_the_network_is_no_foreground(model: AstSeg, tmp_path: Path) -> None:
    """Lines that the image has lost when it was made small enough for the network."""
    image = np.full((256, 256, 3), GREY, np.uint8)
    image[::8, :, :] += 60
    image[100:160, 60:120] = 220
    Image.fromarray(image).save(tmp_path / "a.png")
    write_background_masks(model, open_source(tmp_path / "a.png"), tmp_path / "out", CPU)
    mask = np.asarray(Image.open(tmp_path / "out/masks/a.png")) > 0
    assert mask[106:154, 66:114].all()
    mask = mask.copy()
    mask[84:176, 44:136] = False
    assert not mask.any()


def test_f_measure_over_all_pixels(model: AstSeg, tmp_path: Path) -> None:
    images = np.stack([block_image(), block_image()])
    masks = np.zeros((2, 32, 32), np.uint8)
    masks[0, 5:15, 12:22] = 2  # found whole
    masks[1, 5:25, 12:22] = 1  # found by half
    np.savez(tmp_path / "set.npz", images=images, masks=masks)
    result = write_background_masks(model, open_source(tmp_path / "set.npz"), tmp_path / "out", CPU)
    true_positives, false_negatives = 200, 100
    assert result.f_measure == pytest.approx(2 * true_positives / (2 * true_positives + false_negatives))


def test_f_measure_where_nothing_is_true_and_nothing_found(model: AstSeg, tmp_path: Path) -> None:
    empty = np.full((1, 32, 32, 3), block_image()[-1, -1], np.uint8)
    np.savez(tmp_path / "set.npz", images=empty, masks=np.zeros((1, 32, 32), np.uint8))
    result = write_background_masks(model, open_source(tmp_path / "set.npz"), tmp_path / "out", CPU)
    assert (result.scored, result.foreground_share, result.f_measure) == (1, 0.0, 1.0)


def test_what_is_not_scored_counts_for_nothing(model: AstSeg, tmp_path: Path) -> None:
    truth = np.zeros((1, 32, 32), np.uint8)
    truth[:, 5:15, 12:22], truth[:, 5:15, 12:17], truth[:, 20:] = 1, 85, 85
    np.savez(tmp_path / "a.npz", images=block_image()[None], masks=truth)
    for ignored, score in ((frozenset({85}), 1.0), (frozenset(), 2 * 100 / (2 * 100 + 12 * 32))):
        source = open_source(tmp_path / "a.npz", ignored=ignored)
        result = write_background_masks(model, source, tmp_path / f"{len(ignored)}", CPU)
        assert result.f_measure == pytest.approx(score)


def test_only_images_whose_truth_is_known_are_scored(model: AstSeg, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "in" / kind).mkdir(parents=True)
    for name in "ab":
        Image.fromarray(block_image()).save(tmp_path / f"in/images/{name}.png")
    (tmp_path / "in/images/c.png").write_text("broken")
    mask = np.zeros((32, 32), np.uint8)
    mask[5:15, 12:22] = 1
    Image.fromarray(mask).save(tmp_path / "in/masks/a.png")
    (tmp_path / "in/masks/b.png").write_text("broken")
    result = write_background_masks(model, open_source(tmp_path / "in"), tmp_path / "out", CPU)
    assert (result.images, result.scored, result.f_measure) == (2, 1, 1.0)
    assert [name for name, _ in result.skipped] == ["images/c"]


@pytest.mark.parametrize(("grey", "share", "note"), [(GREY, 0, "cover only 0.0 %"), (220, 1, "more than half")])
def test_masks_that_look_wrong_are_told(model: AstSeg, tmp_path: Path, grey: int, share: float, note: str) -> None:
    Image.fromarray(np.full((32, 32, 3), grey, np.uint8)).save(tmp_path / "a.png")
    result = write_background_masks(model, open_source(tmp_path / "a.png"), tmp_path / "out", CPU)
    assert result.foreground_share == share
    assert result.note is not None
    assert note in result.note


def test_the_summary_holds_what_is_returned(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    result = write_background_masks(model, open_source(folder), tmp_path / "out", CPU)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary.pop("skipped") == []
    assert summary == {name: getattr(result, name) for name in summary}
    assert (summary["rule"], summary["noise"], summary["note"]) == ("predicted error", None, None)
    masks = [np.asarray(Image.open(tmp_path / f"out/masks/{name}.png")) > 0 for name in ("a", "deep/b")]
    assert summary["foreground_share"] == pytest.approx((masks[0].mean() + masks[1].mean()) / 2)


class UnsureBackground(GreyBackground):
    """Expects to be off by half of the range, as networks do that have learned for a minute."""

    def forward(self, images: Tensor) -> BackgroundReconstruction:
        return BackgroundReconstruction(super().forward(images).image, torch.full_like(images[:, :1], 0.5))


def test_the_measured_noise_needs_no_prediction_of_the_error(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    model.background = UnsureBackground()
    off = np.random.default_rng(0).normal(0, 3, (300, 32, 32, 1)).round()
    images = (GREY + off).repeat(3, -1).astype(np.uint8)
    noise = measure_noise(model, TrainingImages(images, CPU))
    assert 255 * noise.median() == pytest.approx(3, rel=0.1)
    source = open_source(folder)
    assert write_background_masks(model, source, tmp_path / "predicted", CPU).foreground_share == 0
    result = write_background_masks(model, source, tmp_path / "measured", CPU, noise=noise)
    assert result.rule == "noise"
    assert result.noise == pytest.approx(3, rel=0.1)
    mask = np.asarray(Image.open(tmp_path / "measured/masks/a.png")) > 0
    expected = np.zeros((32, 32), bool)
    expected[5:15, 12:22] = True
    np.testing.assert_array_equal(mask, expected)


def test_no_background_network(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    model.background = None
    with pytest.raises(AstSegError, match="no background network"):
        write_background_masks(model, open_source(folder), tmp_path / "out", CPU)


class StoppedBackground(UnsureBackground):
    """Counts what it paints, each time a little brighter at one side, and is stopped before one of the images."""

    def __init__(self, stop_before: int | None = None) -> None:
        super().__init__()
        self.painted = 0
        self.stop_before = stop_before

    def forward(self, images: Tensor) -> BackgroundReconstruction:
        if self.painted == self.stop_before:
            raise KeyboardInterrupt
        self.painted += 1
        ramp = torch.linspace(0, 0.1, images.shape[-1])
        return BackgroundReconstruction(super().forward(images).image + ramp, 0.03 * images[:, :1])


@pytest.mark.parametrize("by_noise", [True, False])
def test_what_was_stopped_ends_as_if_nothing_had_happened(model: AstSeg, tmp_path: Path, by_noise: bool) -> None:
    random = np.random.default_rng(0)
    for name, side in (("a", 32), ("b", 50), ("c", 32), ("d", 20)):
        (tmp_path / "in/images").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in/masks").mkdir(parents=True, exist_ok=True)
        image = random.integers(GREY - 9, GREY + 9, (side, side, 3), np.uint8)
        image[5:15, 3:14] += 80
        Image.fromarray(image).save(tmp_path / f"in/images/{name}.png")
        Image.fromarray((image[..., 0] > GREY + 40).astype(np.uint8)).save(tmp_path / f"in/masks/{name}.png")
    (tmp_path / "in/images/broken.png").write_text("broken")
    noise = torch.full((32, 32), 0.02) if by_noise else None

    def write(out: Path, stop_before: int | None = None) -> tuple[BackgroundMasks, int, int]:
        model.background = background = StoppedBackground(stop_before)
        with resumable(out, {"rule": by_noise}) as kept:
            source = open_source(tmp_path / "in")
            result = write_background_masks(model, source, out, CPU, noise=noise, kept=kept)
        return result, background.painted, kept.found

    whole, painted, found = write(tmp_path / "whole")
    assert (painted, found) == (4, 0)
    assert 0 < whole.foreground_share < 1
    for count in (2, 1):  # the second time, after one further image
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "out", count)
        assert not (tmp_path / "out").exists()
    assert write(tmp_path / "out") == (whole, 1, 3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "whole"]


@pytest.mark.parametrize(
    "changed", [{"background": torch.zeros(1, 3, 4, 4)}, {"mask": torch.zeros(1, 32, 32)}, {"a": 1}]
)
def test_whole_files_of_anything_else_are_made_anew(
    model: AstSeg, folder: Path, tmp_path: Path, changed: dict[str, object]
) -> None:
    def write(out: Path, stop_before: int | None = None) -> int:
        model.background = StoppedBackground(stop_before)
        with resumable(out, {}) as kept:
            write_background_masks(model, open_source(folder), out, CPU, kept=kept)
        return kept.found

    write(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", 1)
    file = tmp_path / ".out.kept" / "000000.pt"
    torch.save(torch.load(file, weights_only=True) | changed, file)
    seal_file(file)
    assert write(tmp_path / "out") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_nothing_half_written(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_background_masks(model, open_source(folder), tmp_path / "out", CPU, interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_folder_that_is_taken(model: AstSeg, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="exists already"):
        write_background_masks(model, open_source(folder), folder, CPU)
