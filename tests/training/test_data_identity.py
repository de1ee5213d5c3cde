import numpy as np
import pytest

from astseg._core import checksums
from astseg.data.store import Bytes
from astseg.training.data_identity import DataIdentity, identify


def test_images_are_themselves(tiny_images: Bytes) -> None:
    assert not identify(tiny_images).differs_from(identify(tiny_images.copy(), "sum"))


@pytest.mark.parametrize("change", ["bit", "half", "order", "shape"])
def test_others_differ(tiny_images: Bytes, change: str) -> None:
    others = tiny_images.copy()
    if change == "bit":
        others[5, 3, 2, 1] ^= 1
    elif change == "half":
        others[6:] = 0
    elif change == "order":
        others = others[::-1]
    else:
        others = others.reshape(12, 16, 64, 3)
    assert identify(others).differs_from(identify(tiny_images))


def test_the_file_tells_what_was_not_looked_at(tiny_images: Bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "WHOLE_BYTES", 1)
    monkeypatch.setattr(checksums, "SAMPLED_ROWS", 2)
    others = tiny_images.copy()
    others[5] = 0
    assert not identify(others).differs_from(identify(tiny_images))
    assert identify(others, "one").differs_from(identify(tiny_images, "another"))
    assert not identify(others, "one").differs_from(identify(tiny_images, "one"))
    others[-1] = 0
    assert identify(others, "one").differs_from(identify(tiny_images, "one"))


def test_an_unknown_file_is_no_difference() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    assert not identify(images, "one").differs_from(DataIdentity(identify(images).looked_at))
