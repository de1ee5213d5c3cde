from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from tests.data.drawn_masks import discs, grey

from astseg.data.mask_edges import harden


@pytest.mark.parametrize("values", [(255, 255), (120, 240), (100, 255)])
@pytest.mark.parametrize("colored", [False, True])
def test_smoothed_edges_go_to_one_side_or_the_other(values: tuple[int, int], colored: bool) -> None:
    soft, exact = discs(values)
    assert len(np.unique(soft)) > 8
    if colored:  # from blue to red by height
        mask = grey(soft.astype(np.int64) << 16 | (255 - soft.astype(np.int64)), "color")
        hard = harden(mask) >> 16
    else:
        hard = harden(grey(soft))
    assert set(np.unique(hard)) == {0, *values}
    assert (hard != exact).sum() <= 0.02 * (soft != exact).sum()  # half-covered pixels may go either way


def test_a_single_line_of_half_covered_pixels_is_no_object() -> None:
    mask = np.zeros((20, 20), np.int64)
    mask[5:15, 5:15], mask[4, 5:15] = 255, 127
    assert set(np.unique(harden(grey(mask)))) == {0, 255}


@given(
    st.lists(
        st.tuples(
            st.integers(0, 28),
            st.integers(0, 28),
            st.integers(1, 9),
            st.integers(1, 9),
            st.sampled_from([1, 2, 40, 250]),
        ),
        max_size=6,
    )
)
def test_masks_without_slopes_are_unchanged(boxes: list[tuple[int, int, int, int, int]]) -> None:
    # Thin or small boxes that never touch, so that no value is between two others.
    mask = np.zeros((60, 60), np.int64)
    for top, left, height, width, value in boxes:
        if not mask[2 * top - 1 : 2 * top + height + 1, 2 * left - 1 : 2 * left + width + 1].any():
            mask[2 * top : 2 * top + height, 2 * left : 2 * left + width] = value
    np.testing.assert_array_equal(harden(grey(mask)), mask)


@pytest.mark.parametrize("kind", ["index", "number"])
def test_indices_and_numbers_are_never_smoothed(kind: Literal["index", "number"]) -> None:
    soft, _ = discs((255, 255))
    np.testing.assert_array_equal(harden(grey(soft, kind)), soft)


def test_regions_too_smooth_for_an_area_get_the_nearest_value() -> None:
    mask = np.zeros((80, 80))
    mask[5:35, 5:35], mask[60:64, 60:64] = 240, 240
    soft = ndimage.gaussian_filter(mask, 1.5).round().astype(np.int64)
    hard = harden(grey(soft))
    assert set(np.unique(hard)) == {0, 240}
    assert hard[61, 61] == 240
