import math

import numpy as np
import pytest
import torch

from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.background import BackgroundReconstruction
from astseg.training.batches import Pictures
from astseg.training.complexity import background_variation, backgrounds_are_complex, still_share


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


class EchoedBackground(torch.nn.Module):
    """Paints the picture that came, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        return BackgroundReconstruction(images, images[:, :1])


@pytest.mark.parametrize(("count", "seen"), [(7, 7), (100, 30)])
@pytest.mark.parametrize("varied", [True, False])
def test_one_background_or_many(count: int, seen: int, varied: bool) -> None:
    architecture = Architecture((32, 32), 1, feature_network="compact-unet", background_network=None)
    model = AstSeg(architecture)
    model.background = EchoedBackground()
    random = np.random.default_rng(0)
    colours = random.integers(0, 256 if varied else 10, (count, 1, 1, 3), np.uint8)
    images = np.broadcast_to(colours, (count, 32, 32, 3))
    assert backgrounds_are_complex(model, Pictures(images, torch.device("cpu")), batch_size=2) is varied
    assert model.background.seen == seen, "up to fifteen batches"


class TestStillShare:
    def test_equals_the_definition(self) -> None:
        random = np.random.default_rng(0)
        noise = random.normal(0, 30, (11, 4, 5, 3))
        images = np.clip(random.integers(0, 256, (4, 5, 3)) + noise, 0, 255).astype(np.uint8)
        shares = []
        for picture in images:
            near = 0
            for i in range(4):
                for j in range(5):
                    medians = [sorted(images[:, i, j, c].tolist())[5] for c in range(3)]
                    near += sum(abs(int(picture[i, j, c]) - medians[c]) for c in range(3)) < 255 * 0.25
            shares.append(near / 20)
        assert 0.1 < sorted(shares)[1] < 0.9
        assert still_share(images) == pytest.approx(sorted(shares)[1]), "the second of eleven is at a tenth"

    def test_tells_a_fixed_camera_from_others(self) -> None:
        random = np.random.default_rng(0)
        place = random.integers(0, 256, (1, 32, 32, 3)).repeat(300, 0).astype(np.uint8)
        other_places = random.integers(0, 256, (300, 32, 32, 3), np.uint8)
        for n in range(300):
            place[n, :16, n % 32] = 255 * (n % 2)  # something comes by
        assert still_share(place) > 0.95
        assert still_share(other_places) < 0.1
        assert still_share(np.concatenate((place[:180], other_places[:1].repeat(120, 0)))) < 0.1, "the camera moved"

    def test_few_pictures_tell_nothing(self) -> None:
        assert still_share(np.zeros((9, 2, 2, 3), np.uint8)) == 0
