import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from astseg._core.settings_io import override
from astseg.data.store import Bytes
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.base import Background, BackgroundReconstruction
from astseg.training.batches import TrainingImages
from astseg.training.callbacks import Callback
from astseg.training.complexity import (
    COMPLEXITY_THRESHOLD,
    ComplexityCheck,
    background_variation,
    painted_variation,
)
from astseg.training.config import Recipe
from astseg.training.loop import Trainer
from astseg.training.state import TrainState

CPU = torch.device("cpu")


def test_equals_the_formula() -> None:
    backgrounds = np.random.default_rng(0).random((5, 3, 4, 6))
    median = np.median(backgrounds, 0)
    expected = np.mean(
        [
            math.tanh(sum(abs(b[c, j, i] - median[c, j, i]) for c in range(3)) / 0.25)
            for b in backgrounds
            for j in range(4)
            for i in range(6)
        ]
    )
    assert background_variation(torch.tensor(backgrounds)) == pytest.approx(expected)


class EchoedBackground(Background):
    """Paints the image that came, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, images: Tensor) -> BackgroundReconstruction:
        self.seen += len(images)
        return BackgroundReconstruction(images, images[:, :1])


@pytest.mark.parametrize(("count", "seen"), [(7, 7), (100, 30)])
@pytest.mark.parametrize("varied", [True, False])
def test_one_background_or_many(count: int, seen: int, varied: bool) -> None:
    architecture = Architecture((32, 32), 1, feature_network="compact-unet", background_network=None)
    model = AstSeg(architecture)
    background = model.background = EchoedBackground()
    random = np.random.default_rng(0)
    colors = random.integers(0, 256 if varied else 10, (count, 1, 1, 3), np.uint8)
    images = np.broadcast_to(colors, (count, 32, 32, 3))
    assert (painted_variation(model, TrainingImages(images, CPU), batch_size=2) > COMPLEXITY_THRESHOLD) == varied
    assert background.seen == seen, "up to fifteen batches"


ALWAYS, NEVER = -1.0, 1.0
"""Thresholds: the variation is 0 or more, and less than 1."""


class TestCheck:
    @pytest.fixture
    def recipe(self, tiny_recipe: Recipe) -> Recipe:
        return replace(
            tiny_recipe,
            architecture=replace(tiny_recipe.architecture, background_network="simple"),
            background=replace(tiny_recipe.background, steps=3, complex_steps=2),
            foreground=replace(tiny_recipe.foreground, scenario="background"),
        )

    @pytest.mark.parametrize(
        ("threshold", "look_after", "changes", "steps"),
        [
            (ALWAYS, 2, {}, [1, 2, 1, 2]),
            (NEVER, 2, {}, [1, 2, 3]),
            (ALWAYS, 2000, {}, [1, 2, 3, 1, 2]),  # at the end of a short phase
            # Twelve images twice, in batches of five.
            (ALWAYS, 2000, {"batch_size": 5, "complex_epochs": 2}, [1, 2, 3, 1, 2, 3, 4, 5]),
        ],
    )
    def test_looks_once_and_begins_again(
        self,
        recipe: Recipe,
        tiny_images: Bytes,
        tmp_path: Path,
        threshold: float,
        look_after: int,
        changes: dict[str, Any],
        steps: list[int],
    ) -> None:
        found = []

        class Recorder(Callback):
            def on_step_end(self, state: TrainState) -> None:
                found.append(state.step)

        recipe = replace(recipe, background=replace(recipe.background, **changes))
        check = ComplexityCheck(TrainingImages(tiny_images, CPU), look_after, threshold)
        trainer = Trainer(recipe, tiny_images, tmp_path, CPU, callbacks=[check, Recorder()])
        assert trainer.run()
        assert found == steps
        network = "complex" if threshold == ALWAYS else "simple"
        assert trainer.recipe.architecture.background_network == network
        assert AstSeg.from_pretrained(tmp_path / "model").architecture.background_network == network

    def test_resumes_with_the_complex_network(self, recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        def trainer(folder: str) -> Trainer:
            check = ComplexityCheck(TrainingImages(tiny_images, CPU), threshold=ALWAYS)
            return Trainer(recipe, tiny_images, tmp_path / folder, CPU, callbacks=[check])

        whole = trainer("whole")
        assert whole.run()
        # One question after the first step, one after the restart, and the third after step 1 of 2 of the new network.
        answers = iter((False, False, False, True))
        assert not trainer("stopped").run(lambda: next(answers))
        resumed = Trainer.resume(tiny_images, tmp_path / "stopped", CPU)
        assert (resumed.state.step, resumed.recipe) == (1, whole.recipe)
        assert resumed.run()
        weights = resumed.model.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in whole.model.state_dict().items())

    def test_looks_at_the_background_alone(self, tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path) -> None:
        recipe = override(tiny_recipe, {"architecture.background_network": "simple", "foreground.scenario": "baseline"})
        check = ComplexityCheck(TrainingImages(tiny_images, CPU), 1, ALWAYS)
        trainer = Trainer(recipe, tiny_images, tmp_path, CPU, callbacks=[check])
        assert trainer.run()
        assert trainer.recipe == recipe
