from collections import Counter

import numpy as np
import numpy.typing as npt
import torch
from tests.data.scenes.scene_builders import ball, make_scene
from torch import Tensor

from astseg.data.scenes.culling import RAYS_PER_BUNDLE, SAMPLES_PER_PIXEL, TILE_SIDE
from astseg.data.scenes.description import Material
from astseg.data.scenes.packing import FIRST_BODY
from astseg.data.scenes.rendering import TracedScenes, majority, shade_scenes, trace_scenes

SIZE = 32


def pixel_samples(values: Tensor) -> npt.NDArray[np.int64]:
    """Convert bundles x rays to height x width x 4: tiles are in row order, samples come before pixels."""
    bundles = values.tolist()
    tiles = SIZE // TILE_SIDE
    rows = []
    for row in range(SIZE):
        for column in range(SIZE):
            tile = (row // TILE_SIDE) * tiles + column // TILE_SIDE
            pixel = (row % TILE_SIDE) * TILE_SIDE + column % TILE_SIDE
            rows.append([bundles[tile][sample * TILE_SIDE * TILE_SIDE + pixel] for sample in range(SAMPLES_PER_PIXEL)])
    return np.array(rows).reshape(SIZE, SIZE, SAMPLES_PER_PIXEL)


def labels_of(traced: TracedScenes) -> set[int]:
    return set(traced.masks.flatten().tolist())


def test_majority_agrees_with_counting() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 4, (3, RAYS_PER_BUNDLE), generator=generator)
    depth = torch.rand(3, RAYS_PER_BUNDLE, generator=generator)
    found = majority(label, depth)
    for bundle in range(3):
        for pixel in range(TILE_SIDE * TILE_SIDE):
            labels = label[bundle, pixel :: TILE_SIDE * TILE_SIDE].tolist()
            depths = depth[bundle, pixel :: TILE_SIDE * TILE_SIDE].tolist()
            counts = Counter(labels)
            nearest = {
                mine: min(d for other, d in zip(labels, depths, strict=True) if other == mine) for mine in counts
            }
            expected = max(counts, key=lambda mine: (counts[mine], -nearest[mine]))
            assert found[bundle, pixel] == expected


def test_masks_are_assembled_from_the_samples() -> None:
    visible = trace_scenes([make_scene(ball(), ball((2.5, 1.0, 1.0)))], SIZE)
    surface = pixel_samples(visible.hits.surface)
    all_agree = (surface == surface[..., :1]).all(-1)
    expected = np.maximum(surface[..., 0] - FIRST_BODY + 1, 0)
    np.testing.assert_array_equal(visible.masks[0].numpy()[all_agree], expected[all_agree])
    assert labels_of(visible) == {0, 1, 2}


def test_nearer_bodies_hide_others() -> None:
    front, behind = ball((0.0, -2.0, 1.5), 1.5), ball((0.0, 0.0, 0.4), 0.3)
    assert labels_of(trace_scenes([make_scene(front, behind)], SIZE)) == {0, 1}
    assert labels_of(trace_scenes([make_scene(behind, front)], SIZE)) == {0, 2}


def test_pixels_are_means_of_linear_light() -> None:
    """A black ball on the sky: at the rim, the square of the image's value is between black's and the sky's."""
    black = Material((0.0, 0.0, 0.0))
    visible = trace_scenes([make_scene(ball((0.0, 8.0, 2.0), 2.0, black), ball(), key=(0.0, 0.0, 0.0))], SIZE)
    rendered = shade_scenes(visible)
    surface = pixel_samples(visible.hits.surface)
    share_of_sky = (surface == 2).mean(-1)
    expected = np.sqrt(share_of_sky[..., None] * np.array([0.2, 0.4, 0.8]) ** 2) * 255
    assert {0.5, 0.75} < set(np.unique(share_of_sky))
    np.testing.assert_allclose(rendered.images[0].numpy(), expected, atol=0.6)


def test_shadow_map_marks_the_floor_beside_the_body() -> None:
    rendered = shade_scenes(trace_scenes([make_scene(ball((0.0, 0.0, 2.0)))], SIZE))
    assert rendered.shadows.shape == (1, SIZE, SIZE)
    assert 10 < rendered.shadows.sum() < 200
    assert rendered.shadows.max() == 1
    # Shaded white floor without any other light is black.
    assert rendered.images[rendered.shadows.bool() & (rendered.masks == 0)].float().mean() < 40
