import numpy as np
import pytest
from tests.data.benchmarks import formats

from astseg.data.benchmarks.clevrtex import decode, file_index
from astseg.data.benchmarks.staging import IMAGE, MASK


@pytest.mark.parametrize(
    ("name", "variant", "expected"),
    [
        ("clevrtex_full/12/CLEVRTEX_full_012345.png", "full", (12345, IMAGE)),
        ("./clevrtex_full/0/CLEVRTEX_full_000000_flat.png", "full", (0, MASK)),
        ("CLEVRTEX_full_000007.png", "full", (7, IMAGE)),
        ("clevrtex_full/0/CLEVRTEX_full_000000.json", "full", None),
        ("clevrtex_camo/0/CLEVRTEX_camo_000000.png", "full", None),
        ("clevrtex_full/0/._CLEVRTEX_full_000000.png", "full", None),
        ("clevr/0/CLEVR_000003_flat.png", "clevr", (3, MASK)),
        ("clevr/0/CLEVR_full_000003.png", "clevr", (3, IMAGE)),
        ("clevr/0/CLEVR_000003.png", "full", None),
    ],
)
def test_file_index(name: str, variant: str, expected: tuple[int, int] | None) -> None:
    assert file_index(name, variant) == expected


def test_the_mask_is_the_palette_index_and_not_its_color() -> None:
    labels = formats.tex_labels(4)
    for color_type, palette in ((3, formats.palette()), (0, ())):
        decoded = decode(formats.png(labels, color_type, palette), MASK, 192)
        np.testing.assert_array_equal(decoded, labels[24:216, 64:256])


def test_transparency_is_dropped() -> None:
    files = formats.tex_files(5)
    image = decode(next(data for name, data in files.items() if name.endswith("000005.png")), IMAGE, 192)
    labels = formats.tex_labels(5)[24:216, 64:256]
    np.testing.assert_array_equal(image, np.stack([labels * 20, np.full_like(labels, 5), 90 - labels], -1))


def test_a_mask_in_colors_is_refused() -> None:
    with pytest.raises(ValueError, match="palette"):
        decode(formats.png(np.zeros((240, 320, 3), np.uint8), 2), MASK, 128)


def test_damaged_files() -> None:
    data = formats.png(np.random.default_rng(0).integers(0, 9, (240, 320), np.uint8), 0)
    for damaged in (data[:1000], b"", b"not an image", data[:60] + bytes(20) + data[80:]):
        with pytest.raises(ValueError, match=r"truncated|identify|checksum"):
            decode(damaged, MASK, 128)
    with pytest.raises(ValueError, match=r"^cannot identify it as a PNG image$"):  # and no place in memory
        decode(b"", MASK, 128)
    with pytest.raises(ValueError, match="smaller"):
        decode(formats.png(np.zeros((64, 64), np.uint8), 0), MASK, 128)
