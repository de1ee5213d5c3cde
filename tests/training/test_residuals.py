import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from astseg.model.ast_seg import AstSeg
from astseg.training import residuals
from astseg.training.batches import Batch, TrainingArray, TrainingImages, TrainingSet, flipped
from astseg.training.callbacks import Callback
from astseg.training.config import Recipe
from astseg.training.dead_slots import reinitialize_dead_slots
from astseg.training.loop import Trainer
from astseg.training.losses import feature_loss
from astseg.training.residuals import cached_residuals, fit_projection
from astseg.training.small_recipes import textures_recipe

CPU = torch.device("cpu")


def silent(what: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def recipe() -> Recipe:
    recipe = textures_recipe((32, 32), 3, backbone="filters")
    return replace(
        recipe,
        background=replace(recipe.background, steps=2, batch_size=4, exponent_ramp_start=0, exponent_ramp_steps=1),
        foreground=replace(recipe.foreground, steps=4, frozen_steps=2, batch_size=4),
    )


@pytest.fixture
def stored() -> np.ndarray:
    random = np.random.default_rng(0)
    images = random.integers(60, 120, (20, 32, 32, 3), np.uint8)
    for index, image in enumerate(images):
        image[4 + index % 8 : 14 + index % 8, 10:22, index % 3] = 250
    return images


class TestCache:
    @pytest.fixture
    def model(self, recipe: Recipe, stored: np.ndarray) -> AstSeg:
        model = AstSeg(recipe.architecture)
        assert model.slow_features is not None
        fit_projection(model.slow_features, TrainingImages(stored, CPU), 0, silent)
        return model

    def test_is_what_the_model_computes(self, model: AstSeg, stored: np.ndarray, tmp_path: Path) -> None:
        images = TrainingImages(stored, CPU)
        told: list[tuple[str, int, int]] = []
        found = cached_residuals(model, images, tmp_path, lambda *done: told.append(done))
        assert model.slow_features is not None
        expected = model.slow_features(images[np.arange(20)]).coarse
        np.testing.assert_allclose(found, expected, atol=1e-3)
        assert told[-1] == ("Computing slow features", 20, 20)

    def test_is_computed_once_and_goes_on(
        self, model: AstSeg, stored: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(residuals, "BLOCK_SIZE", 8)
        monkeypatch.setattr(residuals, "MAX_BATCH_SIZE", 4)
        images = TrainingImages(stored, CPU)

        def stop(what: str, done: int, total: int) -> None:
            if done > 12:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cached_residuals(model, images, tmp_path, stop)
        assert json.loads((tmp_path / "residuals.json").read_text())["done"] == 8
        told: list[int] = []
        found = np.array(cached_residuals(model, images, tmp_path, lambda what, done, total: told.append(done)))
        assert told == [12, 16, 20]
        assert not cached_residuals(model, images, tmp_path, stop).flags.writeable
        np.testing.assert_array_equal(found, cached_residuals(model, images, tmp_path / "..", silent))

    @pytest.mark.parametrize("damage", ["note", "file", "bit", "sums", "older", "images"])
    def test_what_is_damaged_or_of_other_images_is_computed_again(
        self, model: AstSeg, stored: np.ndarray, tmp_path: Path, damage: str
    ) -> None:
        expected = np.array(cached_residuals(model, TrainingImages(stored, CPU), tmp_path, silent))
        if damage == "note":
            (tmp_path / "residuals.json").write_text("{")
        elif damage == "file":
            (tmp_path / "residuals.npy").write_bytes(b"")
        elif damage in ("bit", "sums"):
            file = tmp_path / ("residuals.npy" if damage == "bit" else "residuals.crc32")
            content = bytearray(file.read_bytes())
            content[-9] ^= 1
            file.write_bytes(content)
        elif damage == "older":  # an older astseg wrote no checksums
            (tmp_path / "residuals.crc32").unlink()
        images = TrainingImages(255 - stored if damage == "images" else stored, CPU)
        told: list[int] = []
        found = cached_residuals(model, images, tmp_path, lambda what, done, total: told.append(done))
        assert np.array_equal(found, expected) == (damage != "images")
        assert bool(told) == (damage != "older"), "computed again"

    def test_a_link_is_not_written_through(self, model: AstSeg, stored: np.ndarray, tmp_path: Path) -> None:
        for name in ("residuals.npy", "residuals.json", "residuals.crc32"):
            (tmp_path / name).symlink_to("mine")
        (tmp_path / "mine").write_text("mine")
        cached_residuals(model, TrainingImages(stored, CPU), tmp_path, silent)
        assert (tmp_path / "mine").read_text() == "mine"
        assert not (tmp_path / "residuals.npy").is_symlink()

    def test_other_features_are_computed_again(self, model: AstSeg, stored: np.ndarray, tmp_path: Path) -> None:
        images = TrainingImages(stored, CPU)
        first = np.array(cached_residuals(model, images, tmp_path, silent))
        assert model.slow_features is not None
        model.slow_features.matrix.mul_(2)
        assert np.abs(first - cached_residuals(model, images, tmp_path, silent)).max() > 0.1


def test_feature_loss_is_the_sum_over_cells() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(2, 4, 3, 5, generator=generator).softmax(1)
    vectors, residuals = torch.randn(2, 3, 6, generator=generator), torch.randn(2, 6, 3, 5, generator=generator)
    expected = 0.0
    for n in range(2):
        for i in range(3):
            for j in range(5):
                painted = sum(weights[n, 1 + k, i, j] * vectors[n, k] for k in range(3))
                expected += float((painted - residuals[n, :, i, j]).abs().sum() ** 2)
    assert feature_loss(weights, vectors, residuals).item() == pytest.approx(expected / (2 * 3 * 5) / 6, rel=1e-5)


def test_a_mirrored_batch_is_mirrored_as_a_whole() -> None:
    batch = Batch(*(torch.rand(64, channels, 4, 6) for channels in (3, 3, 2)))
    found = flipped(batch, 0, 1, 2)
    mirrored = [not torch.equal(after, before) for before, after in zip(batch.images, found.images, strict=True)]
    assert 16 < sum(mirrored) < 48
    for before, after in zip(batch, found, strict=True):
        assert before is not None
        assert after is not None
        for is_mirrored, one, other in zip(mirrored, before, after, strict=True):
            assert torch.equal(other, one.flip(-1) if is_mirrored else one)
    assert torch.equal(found.images, flipped(batch, 0, 1, 2).images)
    assert not torch.equal(found.images, flipped(batch, 0, 1, 3).images)
    assert flipped(Batch(batch.images), 0, 1, 2).residuals is None


class TestTraining:
    def weights(self, trainer: Trainer) -> dict[str, torch.Tensor]:
        return trainer.model.state_dict()

    def test_ends_as_if_it_had_never_stopped(self, recipe: Recipe, stored: np.ndarray, tmp_path: Path) -> None:
        whole = Trainer(recipe, stored, tmp_path / "whole", CPU, seed=5)
        assert whole.run()
        trainer = Trainer(recipe, stored, tmp_path / "parts", CPU, seed=5)
        while not trainer.run(lambda: True):
            trainer = Trainer.resume(stored, tmp_path / "parts", CPU)
        for name, value in self.weights(whole).items():
            assert torch.equal(value, self.weights(trainer)[name]), name

    def test_slots_learn_from_features_and_colors(self, recipe: Recipe, stored: np.ndarray, tmp_path: Path) -> None:
        told: list[dict[str, float]] = []

        class Recorder(Callback):
            def on_metrics(self, state: object, metrics: object) -> None:
                told.append(metrics.losses)  # type: ignore[attr-defined]

        Trainer(recipe, stored, tmp_path, CPU, callbacks=[Recorder()], report_every=1).run()
        assert {"features", "reconstruction", "entropy", "slot_use"} <= told[-1].keys()

    def test_dead_slots_are_found_by_the_residuals(self, recipe: Recipe, stored: np.ndarray, tmp_path: Path) -> None:
        torch.manual_seed(0)
        model = AstSeg(recipe.architecture)
        assert model.slow_features is not None
        images = TrainingImages(stored, CPU)
        fit_projection(model.slow_features, images, 0, silent)
        found = TrainingSet(images, residuals=TrainingArray(cached_residuals(model, images, tmp_path, silent), CPU))
        with torch.no_grad():
            model.background_log_activation.fill_(50.0)
        batch = found[np.arange(20)]
        assert reinitialize_dead_slots(model, torch.optim.Adam(model.parameters()), batch) == []
        with torch.no_grad():
            model.background_log_activation.fill_(-50.0)
        assert len(reinitialize_dead_slots(model, torch.optim.Adam(model.parameters()), batch)) < 3
