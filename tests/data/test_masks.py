from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage
from tests.data.drawn_masks import discs, grey

from astseg._core.errors import AstSegError
from astseg.data.masks import (
    IGNORED_LABEL,
    Labels,
    MaskCoding,
    choose_coding,
    decode_mask,
    read_raw_masks,
    rotate_like_image,
    share_ignored_label,
)

LABELS = np.zeros((12, 16), np.uint8)
LABELS[1:5, 1:6], LABELS[6:11, 8:15] = 1, 2
COLORS = np.array([[0, 0, 0], [200, 30, 30], [30, 30, 200]], np.uint8)


def labels_in(path: Path, **options: Any) -> tuple[list[Labels], MaskCoding]:
    """Read a mask file as a set of its own."""
    masks = list(read_raw_masks(path))
    coding = choose_coding(masks, **options)
    return [decode_mask(mask, coding) for mask in masks], coding


def palette_image(labels: Labels, colors: npt.ArrayLike) -> Image.Image:
    image = Image.fromarray(labels)
    image.putpalette(np.asarray(colors, np.uint8).reshape(-1).tolist())
    return image


@pytest.mark.parametrize(
    "image",
    [
        palette_image(LABELS, COLORS),
        palette_image(LABELS, [[9, 9, 9], [8, 8, 8], [7, 7, 7]]),  # without black, indices are still labels
        Image.fromarray(LABELS),
        Image.fromarray(LABELS.astype(np.uint16)),
        Image.fromarray(np.stack([LABELS] * 3, -1)),
    ],
)
def test_labels_are_read_as_they_are(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "a.png")
    (labels,), coding = labels_in(tmp_path / "a.png")
    np.testing.assert_array_equal(labels, LABELS)
    assert coding == MaskCoding()


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_every_color_but_black_is_an_object(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(COLORS[LABELS]).save(tmp_path / f"a.{suffix}")
    (labels,), coding = labels_in(tmp_path / f"a.{suffix}")
    red_is_higher = [0, 2, 1]  # as 0xRRGGBB
    np.testing.assert_array_equal(labels, np.array(red_is_higher, np.uint8)[LABELS])
    assert "color" in coding.description


def test_without_black_the_background_is_the_color_at_the_border(tmp_path: Path) -> None:
    colors = np.array([[255, 255, 255], [200, 30, 30], [30, 30, 200]], np.uint8)
    Image.fromarray(colors[LABELS]).save(tmp_path / "a.png")
    (labels,), _ = labels_in(tmp_path / "a.png")
    np.testing.assert_array_equal(labels > 0, LABELS > 0)
    assert len(np.unique(labels)) == 3


def test_what_is_transparent_is_background(tmp_path: Path) -> None:
    cut_out = np.dstack([np.full((*LABELS.shape, 3), 90, np.uint8), np.where(LABELS == 1, 255, 0).astype(np.uint8)])
    Image.fromarray(cut_out).save(tmp_path / "a.png")
    (labels,), _ = labels_in(tmp_path / "a.png")
    np.testing.assert_array_equal(labels > 0, LABELS == 1)


def test_numbers_beyond_a_byte_are_objects_in_their_order(tmp_path: Path) -> None:
    numbers = np.array([0, 26001, 26000], np.uint16)[LABELS]
    Image.fromarray(numbers).save(tmp_path / "a.png")
    (labels,), coding = labels_in(tmp_path / "a.png")
    np.testing.assert_array_equal(labels, np.array([0, 2, 1], np.uint8)[LABELS])
    assert coding.rule == "numbered"


def test_stuff_of_cityscapes_is_background(tmp_path: Path) -> None:
    numbers = np.array([7, 26001, 26], np.uint16)[LABELS]
    Image.fromarray(numbers).save(tmp_path / "a.png")
    (labels,), _ = labels_in(tmp_path / "a.png", cityscapes=True)
    np.testing.assert_array_equal(labels, LABELS == 1)


@pytest.mark.parametrize("kind", ["8 bits", "1 bit", "16 bits"])
def test_black_and_white_is_one_object(tmp_path: Path, kind: str) -> None:
    white = {"8 bits": np.array(255, np.uint8), "1 bit": np.array(True), "16 bits": np.array(65535, np.uint16)}[kind]
    Image.fromarray(np.where(LABELS > 0, white, np.zeros_like(white))).save(tmp_path / "a.png")
    (labels,), coding = labels_in(tmp_path / "a.png")
    np.testing.assert_array_equal(labels, LABELS > 0)
    assert coding.rule == "halves"


BLACK_WHITE = [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_indices_of_the_palette_to_which_pillow_reduces_all_images_are_no_labels(tmp_path: Path, suffix: str) -> None:
    colors = np.array([[0, 0, 0], [255, 0, 0], [0, 102, 255]], np.uint8)  # of the palette: others are dithered
    white = np.array([[0, 0, 0], [255, 255, 255], [255, 255, 255]], np.uint8)
    for palette, expected in ((colors, [0, 2, 1]), (white, [0, 1, 1])):
        image = Image.fromarray(palette[LABELS]).convert("P")
        image.save(tmp_path / f"a.{suffix}")
        (labels,), _ = labels_in(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(labels, np.array(expected)[LABELS])


@pytest.mark.parametrize("suffix", ["png", "gif", "tif"])
def test_a_palette_of_black_and_white_is_black_and_white(tmp_path: Path, suffix: str) -> None:
    shown = (LABELS > 0).astype(np.uint8)
    images = [palette_image(shown, BLACK_WHITE), palette_image(1 - shown, BLACK_WHITE[::-1])]
    images += [palette_image(np.full_like(shown, 0), BLACK_WHITE[::-1]), Image.fromarray(255 * shown)]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.{suffix}")
    masks = [next(read_raw_masks(tmp_path / f"{number}.{suffix}")) for number in range(len(images))]
    expected = [shown, shown, np.ones_like(shown), shown]
    for some in ([0], [1], [2], [3], [0, 1, 2, 3]):
        coding = choose_coding([masks[index] for index in some])
        assert coding.rule == "halves"
        for index in some:
            np.testing.assert_array_equal(decode_mask(masks[index], coding), expected[index])


def test_a_frame_of_a_black_and_white_animation_is_read_as_the_next(tmp_path: Path) -> None:
    shown = [np.equal(LABELS, label).astype(np.uint8) for label in (1, 2)]
    first, second = (Image.fromarray(255 * mask) for mask in shown)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    labels, _ = labels_in(tmp_path / "a.gif")
    np.testing.assert_array_equal(labels, shown)


def test_labels_stay_labels_though_one_of_them_is_white(tmp_path: Path) -> None:
    alone = (LABELS == 1).astype(np.uint8)
    several = [*BLACK_WHITE, [200, 30, 30]]
    for first, palette in ((alone, several), (alone, BLACK_WHITE), (2 * alone, [*BLACK_WHITE, [0, 0, 0]])):
        palette_image(first, palette).save(tmp_path / "a.png")
        palette_image(LABELS, several).save(tmp_path / "b.png")
        masks = [*read_raw_masks(tmp_path / "a.png"), *read_raw_masks(tmp_path / "b.png")]
        coding = choose_coding(masks)
        assert coding == MaskCoding()
        np.testing.assert_array_equal(decode_mask(masks[0], coding), first)
        np.testing.assert_array_equal(decode_mask(masks[1], coding), LABELS)


def test_two_indices_of_one_color_are_labels(tmp_path: Path) -> None:
    palette_image(LABELS, [*BLACK_WHITE, [255, 255, 255]]).save(tmp_path / "a.png")
    (labels,), coding = labels_in(tmp_path / "a.png")
    np.testing.assert_array_equal(labels, LABELS)
    assert coding == MaskCoding()


def test_void_of_voc_is_not_scored(tmp_path: Path) -> None:
    marked = LABELS.copy()
    marked[0] = 255
    palette = np.zeros((256, 3), np.uint8)
    palette[1:3], palette[255] = COLORS[1:], (224, 224, 192)
    for image in (palette_image(marked, palette), Image.fromarray(marked), Image.fromarray(palette[marked])):
        image.save(tmp_path / "a.png")
        (labels,), coding = labels_in(tmp_path / "a.png")
        assert len(coding.ignored) == 1
        assert "not scored" in coding.description
        np.testing.assert_array_equal(labels == IGNORED_LABEL, marked == 255)
        np.testing.assert_array_equal(labels[1:] > 0, LABELS[1:] > 0)


def test_spread_grey_values_have_no_void() -> None:
    spread = np.array([0, 127, 255], np.uint8)[LABELS]
    coding = choose_coding([grey(spread)])
    assert not coding.ignored
    np.testing.assert_array_equal(decode_mask(grey(spread), coding), spread)


def test_cdnet_scores_neither_the_outside_nor_the_unknown() -> None:
    truth = np.where(LABELS > 0, 255, 0)
    truth[0], truth[5], truth[11, :8] = 85, 170, 50
    coding = choose_coding([grey(truth)])
    labels = decode_mask(grey(truth), coding)
    np.testing.assert_array_equal(labels == IGNORED_LABEL, np.isin(truth, (85, 170)))
    np.testing.assert_array_equal(labels == 1, truth == 255)
    np.testing.assert_array_equal(labels == 0, np.isin(truth, (0, 50)))
    quiet = np.where(truth == 50, 0, truth)
    assert choose_coding([grey(quiet)], cdnet=True) == coding
    assert not choose_coding([grey(quiet)]).ignored  # these may be three objects


def test_the_user_says_what_is_not_scored() -> None:
    coding = choose_coding([grey(LABELS)], frozenset({2}))
    np.testing.assert_array_equal(decode_mask(grey(LABELS), coding), np.array([0, 1, IGNORED_LABEL], np.uint8)[LABELS])
    marked = np.where(LABELS == 2, 255, LABELS)
    assert not choose_coding([grey(marked)], frozenset()).ignored
    # As a label, 255 would be mistaken for pixels that are not scored.
    labels = decode_mask(grey(marked), choose_coding([grey(marked)], frozenset({1})))
    np.testing.assert_array_equal(labels, np.array([0, IGNORED_LABEL, 1], np.uint8)[LABELS])


def test_refuses_more_objects_than_labels() -> None:
    many = np.arange(400).repeat(9).reshape(-1, 60) + 1000
    with pytest.raises(AstSegError, match="objects up to number 400"):
        decode_mask(grey(many, "number"), choose_coding([grey(many, "number")]))


def test_refuses_values_that_are_no_labels(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 0.3, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(AstSegError, match=r"a\.tif .* 0\.3"):
        next(read_raw_masks(tmp_path / "a.tif"))
    (tmp_path / "b.png").write_text("")
    with pytest.raises(AstSegError, match=r"b\.png"):
        next(read_raw_masks(tmp_path / "b.png"))


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_lossy_compression_leaves_two_discs(tmp_path: Path, quality: int) -> None:
    _, exact = discs((120, 240))
    Image.fromarray(exact).save(tmp_path / "a.jpg", quality=quality)
    (labels,), _ = labels_in(tmp_path / "a.jpg")
    assert len(np.unique(labels)) == 3
    assert ((labels > 0) != (exact > 0)).mean() < 0.01


@pytest.mark.parametrize("turned", list(Image.Transpose))
@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("drawn_on_the_turned", [False, True])
def test_a_mask_is_rotated_like_its_image_unless_drawn_upright(
    turned: Image.Transpose, square: bool, drawn_on_the_turned: bool
) -> None:
    stored = LABELS[:12, :12] if square else LABELS
    as_shown = np.array(Image.fromarray(stored).transpose(turned))
    image = COLORS[as_shown]
    mask = as_shown if drawn_on_the_turned else stored
    np.testing.assert_array_equal(rotate_like_image(mask, image, turned), as_shown)


def test_a_mask_of_another_shape_stays_as_it_is() -> None:
    assert rotate_like_image(LABELS, np.zeros((3, 3, 3), np.uint8), Image.Transpose.ROTATE_90) is LABELS
    assert rotate_like_image(LABELS, np.zeros((3, 3, 3), np.uint8), None) is LABELS


@pytest.mark.parametrize("shown", ["a photograph", "black"])
def test_a_cut_out_is_a_mask_by_what_is_transparent(tmp_path: Path, shown: str) -> None:
    large = np.kron(LABELS, np.ones((4, 4), np.uint8))
    rgb = np.random.default_rng(0).integers(0, 256, (*large.shape, 3), dtype=np.uint8) * (shown != "black")
    Image.fromarray(np.dstack([rgb, 255 * (large > 0)]).astype(np.uint8)).save(tmp_path / "a.png")
    (labels,), _ = labels_in(tmp_path / "a.png")
    np.testing.assert_array_equal(labels, large > 0)


@pytest.mark.parametrize("sigma", [1, 3])
def test_small_objects_of_a_blurred_black_and_white_mask_stay(sigma: float) -> None:
    exact = np.zeros((120, 120), bool)
    for top, side in ((10, 40), (70, 12), (100, 9)):
        exact[top : top + side, top : top + side] = True
    soft = ndimage.gaussian_filter(np.where(exact, 255.0, 0.0), sigma).round()
    coding = choose_coding([grey(soft)])
    assert coding.rule == "halves"
    labels = decode_mask(grey(soft), coding)
    assert (labels > 0).sum() > 0.85 * exact.sum()
    assert ndimage.label(labels)[1] == 3


@pytest.mark.parametrize("quality", [60, 95])
def test_small_objects_survive_lossy_compression(tmp_path: Path, quality: int) -> None:
    exact = np.zeros((48, 64), np.uint8)
    exact[5:17, 5:15], exact[25:38, 30:47] = 255, 255
    Image.fromarray(exact).save(tmp_path / "a.jpg", quality=quality)
    (labels,), _ = labels_in(tmp_path / "a.jpg")
    assert ((labels > 0) != (exact > 0)).mean() < 0.01


def test_what_lossy_masks_lose_is_said(tmp_path: Path) -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[10:40, 10:40] = 120
    for name, lossy in (("a.jpg", True), ("a.png", False)):
        Image.fromarray(labels).save(tmp_path / name)
        coding = choose_coding(read_raw_masks(tmp_path / name))
        assert ("small objects may be lost" in coding.description) is lossy
    assert choose_coding(read_raw_masks(tmp_path / "a.png")) == coding


def test_a_lossy_mask_saved_without_loss_is_read_likewise(tmp_path: Path) -> None:
    _, exact = discs((120, 240))
    Image.fromarray(exact).save(tmp_path / "a.jpg", quality=80)
    with Image.open(tmp_path / "a.jpg") as image:
        image.save(tmp_path / "b.png")
    (labels,), _ = labels_in(tmp_path / "b.png")
    assert len(np.unique(labels)) == 3
    assert ((labels > 0) != (exact > 0)).mean() < 0.02


def test_sets_of_masks_share_the_label_of_pixels_that_are_not_scored() -> None:
    labels = np.array([[0, 7, 255, 254]], np.uint8)
    assert share_ignored_label(labels, 255, 255) is labels
    assert share_ignored_label(labels[:, :2], None, 255).tolist() == [[0, 7]]
    assert share_ignored_label(labels, None, 255).tolist() == [[0, 7, 253, 254]]
    assert share_ignored_label(labels, 7, 255).tolist() == [[0, 255, 253, 254]]
    full = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with pytest.raises(AstSegError, match=r"has 255 objects; .* at most 254 are possible"):
        share_ignored_label(full, None, 255)
