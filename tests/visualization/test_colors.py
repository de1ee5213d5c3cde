import numpy as np
import numpy.typing as npt
import pytest

from astseg.visualization.colors import contours, label_colors, overlay

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer]


def test_background_is_black_and_all_colors_differ() -> None:
    colors = label_colors(255)
    assert colors.shape == (256, 3)
    assert colors.dtype == np.uint8
    assert colors[0].tolist() == [0, 0, 0]
    assert len(np.unique(colors, axis=0)) == 256


@pytest.mark.parametrize("count", [0, 1, 7, 8, 24])
def test_a_label_keeps_its_color_whatever_the_count(count: int) -> None:
    np.testing.assert_array_equal(label_colors(count), label_colors(255)[: count + 1])


# Ottosson, "A perceptual color space for image processing" (2020): linear sRGB -> cone responses -> Oklab.
CONES_FROM_RGB = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
OKLAB_FROM_CONES = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
# Viénot, Brettel and Mollon (1999), "Digital video colormaps for checking the legibility of displays by dichromats".
DEUTERANOPE_FROM_RGB = [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]


def appearance(rgb: Floats) -> Floats:
    """N x 6: colors in Oklab, as most people and as deuteranopes see them."""
    linear = (rgb / 255) ** 2.2
    seen = (linear, (linear @ np.transpose(DEUTERANOPE_FROM_RGB)).clip(0, 1))
    oklab = (np.cbrt(one @ np.transpose(CONES_FROM_RGB)) @ np.transpose(OKLAB_FROM_CONES) for one in seen)
    return np.concatenate(list(oklab), axis=1)


def test_no_later_color_is_farther_from_those_before_it() -> None:
    features = appearance(np.vstack([label_colors(255), [[255, 255, 255]]]).astype(float))
    earlier = [np.linalg.norm(features[[-1, *range(n)]] - features[n], axis=1).min() for n in range(8, 256)]
    assert (np.diff(earlier) < 1e-6).all()  # had a later one been farther, it would have come first
    assert earlier[24 - 8] > 0.15  # about 0.02 is just seen
    assert (features[1:-1, 0] > 0.35).all()  # none is as dark as the background


def test_the_first_colors_are_okabe_and_itos() -> None:
    known = [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)]
    assert label_colors(7)[1:].tolist() == list(map(list, known))


def test_colors_cannot_be_changed_from_outside() -> None:
    label_colors(3)[1] = 0
    assert label_colors(3)[1].any()


@pytest.mark.parametrize("count", [-1, 256])
def test_refuses_an_impossible_count(count: int) -> None:
    with pytest.raises(ValueError, match="labels"):
        label_colors(count)


def contours_by_distance(labels: Integers, width: int) -> npt.NDArray[np.bool_]:
    """Object pixels with another label within `width` steps up, down, left or right."""
    rows, columns = np.indices(labels.shape)
    edge = np.zeros(labels.shape, bool)
    for row, column in np.ndindex(*labels.shape):
        other = labels != labels[row, column]
        distance = abs(rows - row) + abs(columns - column)
        edge[row, column] = labels[row, column] > 0 and bool((distance[other] <= width).any())
    return edge


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 9)])
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("coarse", [1, 4])
def test_contours_match_a_slow_reference(shape: tuple[int, int], width: int, coarse: int) -> None:
    labels = np.random.default_rng(0).integers(0, 3, shape).repeat(coarse, 0).repeat(coarse, 1)
    np.testing.assert_array_equal(contours(labels, width), contours_by_distance(labels, width))


@pytest.mark.parametrize(("side", "width"), [(64, 1), (1199, 1), (1200, 2), (3000, 5)])
def test_contours_are_wider_in_large_images(side: int, width: int) -> None:
    labels = np.zeros((20, side), np.uint8)
    labels[:, side // 2 :] = 1
    colored = overlay(np.zeros((20, side, 3), np.uint8), labels)[10]
    assert (colored == label_colors(1)[1]).all(axis=-1).sum() == width


def test_overlay_mixes_inside_draws_contours_and_leaves_the_background() -> None:
    image = np.full((6, 6, 3), 100, np.uint8)
    labels = np.zeros((6, 6), np.uint8)
    labels[1:6, 1:6] = 2
    color = label_colors(2)[2].astype(float)
    result = overlay(image, labels, opacity=0.25)
    assert result[0, 0].tolist() == [100, 100, 100]
    np.testing.assert_array_equal(result[1, 3], color)
    np.testing.assert_array_equal(result[3, 3], np.rint(100 + 0.25 * (color - 100)))
    assert (image == 100).all()


@pytest.mark.parametrize(("height", "width"), [(40, 33), (1, 1), (7, 1300)])
@pytest.mark.parametrize("opacity", [0.0, 0.45, 0.7])
def test_overlay_is_that_of_blending_pixel_by_pixel(height: int, width: int, opacity: float) -> None:
    rng = np.random.default_rng(height)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    labels = np.kron(rng.integers(0, 5, (-(-height // 8), -(-width // 8))), np.ones((8, 8), int))[:height, :width]
    strength = np.where(contours(labels, max(1, width // 600)), 1.0, opacity) * (labels > 0)
    exact = image + strength[..., None] * (label_colors(5)[labels].astype(float) - image)
    np.testing.assert_allclose(overlay(image, labels, opacity), exact, atol=0.5001)
    np.testing.assert_array_equal(
        overlay(image[:, ::-1], labels[:, ::-1], opacity), overlay(image, labels, opacity)[:, ::-1]
    )


def test_overlay_with_full_opacity_is_the_colors() -> None:
    labels = np.arange(256).reshape(16, 16)
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    result = overlay(image, labels, opacity=1)
    np.testing.assert_array_equal(result[labels > 0], label_colors(255)[1:])
    np.testing.assert_array_equal(result[0, 0], image[0, 0])


@pytest.mark.parametrize("labels", [np.zeros((3, 4), int), np.full((4, 4), 256), np.full((4, 4), -1)])
def test_overlay_refuses_labels_that_do_not_fit(labels: Integers) -> None:
    with pytest.raises(ValueError, match="labels"):
        overlay(np.zeros((4, 4, 3), np.uint8), labels)
