import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from astseg.data.benchmarks.preprocessing import (
    labels_from_entities,
    open_png,
    prepare_image,
    prepare_labels,
    square_crop,
)


def test_square_crop_of_the_published_sizes() -> None:
    rows, columns = np.mgrid[:240, :320].astype(np.uint16)
    np.testing.assert_array_equal(square_crop(rows, 192), rows[24:216, 64:256])
    np.testing.assert_array_equal(square_crop(columns, 192), columns[24:216, 64:256])
    assert square_crop(rows, None) is rows
    stacked = np.stack([rows, columns])
    np.testing.assert_array_equal(square_crop(stacked, 192, axis=1), stacked[:, 24:216, 64:256])


def test_an_image_smaller_than_the_crop() -> None:
    with pytest.raises(ValueError, match="100 x 320 pixels is smaller"):
        square_crop(np.zeros((100, 320), np.uint8), 192)


def test_images_are_averaged_when_they_shrink() -> None:
    # A checkerboard of single pixels has to become grey: without antialiasing it would stay black and white.
    board = (np.indices((192, 192)).sum(0) % 2 * 255).astype(np.uint8)
    small = prepare_image(np.repeat(board[..., None], 3, 2), None, 64)
    assert small.shape == (64, 64, 3)
    assert abs(small[2:-2, 2:-2].astype(int) - 127).max() < 20


def test_images_equal_pillows_own_steps() -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    expected = Image.fromarray(image).crop((64, 24, 256, 216)).resize((128, 128), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(prepare_image(image, 192, 128), np.asarray(expected))


def test_labels_are_never_mixed() -> None:
    labels = np.random.default_rng(0).choice(np.array([0, 7, 200], np.uint8), (196, 196))
    small = prepare_labels(labels, None, 64)
    assert set(np.unique(small)) == {0, 7, 200}
    # The nearest pixel to the centre of a target pixel.
    places = (np.arange(64) + 0.5) * 196 / 64
    np.testing.assert_array_equal(small, labels[np.ix_(places.astype(int), places.astype(int))])


def test_an_image_of_the_right_size_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(prepare_image(image, None, 64), image)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_labels_from_entities_is_the_published_formula(count: int, background: int, seed: int) -> None:
    entities = np.random.default_rng(seed).choice(np.array([0, 255], np.uint8), (count, 6, 5))
    expected = np.maximum(0, entities.argmax(0) - (background - 1))
    np.testing.assert_array_equal(labels_from_entities(entities, background), expected)


def test_more_pixels_than_a_published_image_has() -> None:
    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    content = b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(ValueError, match="9000 x 9000 pixels"), open_png(content):
        pass


def test_more_entities_than_labels() -> None:
    with pytest.raises(ValueError, match="300 entities"):
        labels_from_entities(np.zeros((300, 2, 2), np.uint8), 4)
