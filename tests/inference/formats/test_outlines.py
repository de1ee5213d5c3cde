import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import gaussian_filter, label
from tests.inference.formats.decoders import Mask, cover_centers

from astseg.inference.formats.outlines import mask_to_polygon, polygon_to_mask


def disc(radius: float) -> Mask:
    y, x = np.mgrid[: 2 * radius + 1, : 2 * radius + 1] - radius
    return np.asarray(x**2 + y**2 <= radius**2)


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)).filter(np.any))
@settings(max_examples=100, deadline=None)
def test_any_mask_comes_back(mask: Mask) -> None:
    polygon = mask_to_polygon(mask)
    assert len(polygon) >= 4
    assert (polygon >= 0).all()
    assert (polygon <= mask.shape[::-1]).all()
    np.testing.assert_array_equal(cover_centers(polygon, *mask.shape), mask)
    assert not (mask & ~polygon_to_mask(polygon, *mask.shape)).any()


@pytest.mark.parametrize("seed", range(5))
def test_one_part_with_holes_comes_back_for_readers_that_take_the_sides(seed: int) -> None:
    mask = gaussian_filter(np.random.default_rng(seed).standard_normal((40, 50)), 2) < 0.03
    mask[[0, -1]] = mask[:, [0, -1]] = True  # joins all parts
    mask = label(mask)[0] == 1
    np.testing.assert_array_equal(polygon_to_mask(mask_to_polygon(mask), *mask.shape), mask)


def test_parts_are_joined_by_the_shortest_lines() -> None:
    mask = np.zeros((5, 12), bool)
    mask[:, :2] = mask[:, 4:6] = mask[:, 9:] = True
    extra = polygon_to_mask(mask_to_polygon(mask), *mask.shape) & ~mask
    assert extra.sum() == 2 + 3


@given(arrays(bool, (14, 17)).filter(np.any), st.floats(0, 4))
@settings(max_examples=50, deadline=None)
def test_no_point_is_further_away_than_the_tolerance(mask: Mask, tolerance: float) -> None:
    exact, simple = mask_to_polygon(mask), mask_to_polygon(mask, tolerance)
    assert 3 <= len(simple) <= len(exact)
    assert len(np.unique(simple, axis=0)) >= 3
    begins, along = simple, np.roll(simple, -1, axis=0) - simple
    lengths = np.maximum((along**2).sum(1), 1e-12)
    for point in exact:
        share = np.clip(((point - begins) * along).sum(1) / lengths, 0, 1)
        assert np.hypot(*(begins + share[:, None] * along - point).T).min() <= tolerance + 1e-6


def test_a_disc_needs_few_points() -> None:
    mask = disc(60)
    sizes = [len(mask_to_polygon(mask, tolerance)) for tolerance in (0, 1, 2)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] < sizes[0] / 7
    kept = polygon_to_mask(mask_to_polygon(mask, 1), *mask.shape)
    assert (kept & mask).sum() / (kept | mask).sum() > 0.97


def test_one_pixel_keeps_its_corners_whatever_the_tolerance() -> None:
    np.testing.assert_allclose(
        mask_to_polygon(np.ones((1, 1), bool), 100),
        [(0.0625, 0.0625), (0.9375, 0.0625), (0.9375, 0.9375), (0.0625, 0.9375)],
    )
