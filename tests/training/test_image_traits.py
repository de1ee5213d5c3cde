import numpy as np
import pytest

from astseg.model.slow_features.features import SlowFeatureLayout
from astseg.training.image_traits import far_border_share, static_share, texture_strength
from astseg.training.recipe_choice import TEXTURE_THRESHOLD


class TestStillShare:
    def test_equals_the_definition(self) -> None:
        random = np.random.default_rng(0)
        noise = random.normal(0, 30, (11, 4, 5, 3))
        images = np.clip(random.integers(0, 256, (4, 5, 3)) + noise, 0, 255).astype(np.uint8)
        shares = []
        for image in images:
            near = 0
            for i in range(4):
                for j in range(5):
                    medians = [sorted(images[:, i, j, c].tolist())[5] for c in range(3)]
                    near += sum(abs(int(image[i, j, c]) - medians[c]) for c in range(3)) < 255 * 0.25
            shares.append(near / 20)
        assert 0.1 < sorted(shares)[1] < 0.9
        assert static_share(images) == pytest.approx(sorted(shares)[1]), "the second of eleven is at a tenth"

    def test_tells_a_fixed_camera_from_others(self) -> None:
        random = np.random.default_rng(0)
        place = random.integers(0, 256, (1, 32, 32, 3)).repeat(300, 0).astype(np.uint8)
        other_places = random.integers(0, 256, (300, 32, 32, 3), np.uint8)
        for n in range(300):
            place[n, :16, n % 32] = 255 * (n % 2)  # something comes by
        assert static_share(place) > 0.95
        assert static_share(other_places) < 0.1
        assert static_share(np.concatenate((place[:180], other_places[:1].repeat(120, 0)))) < 0.1, "the camera moved"

    def test_light_is_no_camera_that_moves(self) -> None:
        random = np.random.default_rng(0)
        place = random.integers(30, 170, (32, 32, 3))
        light = np.exp(np.linspace(np.log(0.3), np.log(1.5), 40))
        film = (light[:, None, None, None] * place).astype(np.uint8)
        other_places = (light[:, None, None, None] * random.integers(30, 170, (40, 32, 32, 3))).astype(np.uint8)
        assert static_share(film) > 0.95
        assert static_share(other_places) < 0.3
        assert static_share(random.integers(0, 256, (40, 1, 1, 3), np.uint8).repeat(32, 1).repeat(32, 2)) < 0.1, (
            "colors"
        )

    def test_few_images_tell_nothing(self) -> None:
        assert static_share(np.zeros((9, 2, 2, 3), np.uint8)) == 0


def test_the_border_is_far_where_the_ground_has_several_surfaces() -> None:
    random = np.random.default_rng(0)
    colors = random.integers(0, 200, (12, 1, 1, 3), np.uint8)
    one = colors + random.integers(0, 30, (12, 32, 32, 3), np.uint8)
    several = one.copy()
    several[:, :12] = random.permutation(colors) + random.integers(0, 30, (12, 12, 32, 3), np.uint8)
    layout = SlowFeatureLayout("filters", directions=12)
    assert far_border_share(one, layout) < 0.1
    assert far_border_share(several, layout) > 0.25


def test_textures_are_told_from_flat_colors_whatever_these_are() -> None:
    random = np.random.default_rng(0)
    flat = np.broadcast_to(random.integers(0, 256, (6, 1, 1, 3), np.uint8), (6, 32, 32, 3)).copy()
    flat[:, 10:20, 10:20] = 255 - flat[:, 10:20, 10:20]
    checkered = flat.copy()
    checkered[:, ::2] = np.minimum(checkered[:, ::2].astype(int) + 60, 255)
    assert texture_strength(flat) < 1e-6
    assert texture_strength(checkered) > TEXTURE_THRESHOLD
