import numpy as np
import torch

from astseg._core.image_conversion import as_bytes, as_pictures


def test_every_byte_survives_the_way_there_and_back() -> None:
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    pictures = as_pictures(images, "cpu")
    assert pictures.shape == (1, 3, 16, 16)
    assert (pictures.min(), pictures.max()) == (0, 1)
    np.testing.assert_array_equal(as_bytes(pictures), images)


def test_what_lies_outside_is_clipped() -> None:
    outside = torch.tensor([-0.5, 1.5]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert as_bytes(outside).reshape(2, 3).tolist() == [[0, 0, 0], [255, 255, 255]]
