import numpy as np
import pytest

from astseg.data.image_fitting import center_crop, fit_image, fit_mask

RANDOM = np.random.default_rng(0)
COLORS = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "target", "top_left", "shape"),
    [
        ((240, 320), (128, 128), (0, 40), (240, 240)),
        ((320, 240), (128, 128), (40, 0), (240, 240)),
        ((240, 320), (96, 128), (0, 0), (240, 320)),
        ((100, 100), (50, 100), (25, 0), (50, 100)),
        ((1, 1), (64, 128), (0, 0), (1, 1)),
        ((1, 1000), (128, 64), (0, 499), (1, 1)),
    ],
)
def test_crops_the_largest_centered_part(
    size: tuple[int, int], target: tuple[int, int], top_left: tuple[int, int], shape: tuple[int, int]
) -> None:
    rows, columns = center_crop(size, target)
    assert (rows.start, columns.start) == top_left
    assert (rows.stop - rows.start, columns.stop - columns.start) == shape


def test_shrinks_an_image_by_the_mean_and_keeps_one_that_fits() -> None:
    # With antialiasing every pixel counts: a fine checkerboard becomes grey.
    checker = np.indices((64, 64)).sum(0) % 2 * 255
    shrunk = fit_image(np.repeat(checker[..., None], 3, -1).astype(np.uint8), (8, 8))
    assert shrunk.shape == (8, 8, 3)
    assert np.abs(shrunk.astype(int) - 127).max() < 6
    np.testing.assert_array_equal(fit_image(COLORS, (5, 7)), COLORS)


def test_masks_keep_their_labels_and_their_place() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[:20, 10:30], mask[20:, 30:50] = 3, 200
    expected = np.zeros((8, 8), np.uint8)
    expected[:4, :4], expected[4:, 4:] = 3, 200
    np.testing.assert_array_equal(fit_mask(mask, (8, 8)), expected)
