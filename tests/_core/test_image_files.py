import os
import struct
import tracemalloc
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, TiffImagePlugin

from astseg._core.errors import AstSegError
from astseg._core.image_files import (
    IMAGE_SUFFIXES,
    convert_by_rows,
    count_images,
    is_stored_as_shown,
    read_exif_transpose,
    read_image,
    read_images,
)

RANDOM = np.random.default_rng(0)
COLORS = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif"])
def test_reads_lossless_formats_exactly(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(COLORS).save(tmp_path / f"a.{suffix}", lossless=True)
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, COLORS)


def test_reads_jpeg_closely(tmp_path: Path) -> None:
    Image.new("RGB", (16, 8), (200, 40, 90)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (200, 40, 90)).max() < 6


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, -1), (8, 1)])
def test_applies_the_cameras_rotation(tmp_path: Path, orientation: int, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLORS).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(COLORS, turn))


def test_ignores_exif_data_that_make_no_sense(tmp_path: Path) -> None:
    Image.fromarray(COLORS).save(tmp_path / "a.png", exif=b"Exif\0\0nonsense, not TIFF")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), COLORS)


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_reads_grey_and_palettes(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(COLORS).convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.array(image.convert("RGB")))


def test_composites_transparent_pixels_over_white(tmp_path: Path) -> None:
    values = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [255] * 3, [127] * 3]]


def test_composites_a_transparent_palette_color_over_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert read_image(tmp_path / "a.png").tolist() == [[[255] * 3, [4, 5, 6]]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_scales_sixteen_bits_and_does_not_clip(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.array([[0, 257, 128 * 257, 65535]], np.uint16)).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}")[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("colored", [False, True])
@pytest.mark.parametrize(("high", "black"), [(0, False), (1023, True), (4095, True), (4096, False)])
def test_ten_and_twelve_bits_do_not_become_black(tmp_path: Path, high: int, black: bool, colored: bool) -> None:
    if colored:
        save_deep_png(tmp_path / "a.png", np.array([[[0, high, 5]]], ">u2"))
    else:
        Image.fromarray(np.array([[0, high]], np.uint16)).save(tmp_path / "a.png")
    if black:
        with pytest.raises(AstSegError, match="black"):
            read_image(tmp_path / "a.png")
    else:
        assert read_image(tmp_path / "a.png").max() == high // 256


def save_deep_png(path: Path, values: npt.NDArray[np.uint16]) -> None:
    """Write a PNG of 16-bit colors, which Pillow cannot."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def test_scales_floating_point_values(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, :, 2].tolist() == [0, 128, 255]


def test_refuses_floating_point_values_that_are_no_colors(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 300]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(AstSegError, match=r"a\.tif .* 300"):
        read_image(tmp_path / "a.tif")


def test_reads_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = read_image(tmp_path / "a.jpg")[4, 4]
    assert red > 240
    assert green < 15
    assert blue < 15


def test_reads_a_single_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.9])
def test_names_a_file_that_is_cut_off(tmp_path: Path, suffix: str, share: float) -> None:
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    Image.fromarray(RANDOM.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(whole)
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    with pytest.raises(AstSegError, match=rf"cut\.{suffix}"):
        read_image(cut)


def test_names_a_file_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("shopping list")
    with pytest.raises(AstSegError, match=r"notes\.png is not a readable image"):
        read_image(tmp_path / "notes.png")
    with pytest.raises(AstSegError, match="There is no image"):
        read_image(tmp_path / "absent.png")


def test_tells_a_forbidden_file_from_a_damaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path, formats: list[str]) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.setattr(Image, "open", forbidden)
    with pytest.raises(AstSegError, match=r"a\.png .*permission denied"):
        read_image(tmp_path / "a.png")


def test_too_little_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, formats: list[str]) -> None:
        raise MemoryError

    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.setattr(Image, "open", full)
    with pytest.raises(AstSegError, match=r"a\.png needs more memory"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("limit", [20, 10])
def test_refuses_an_image_that_would_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    Image.fromarray(COLORS).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(AstSegError, match=rf"a\.png has more than {limit} pixels"):
        read_image(tmp_path / "a.png")


def test_does_not_change_the_warning_filters(tmp_path: Path) -> None:
    Image.fromarray(COLORS).save(tmp_path / "a.png")
    before = list(warnings.filters)
    read_image(tmp_path / "a.png")
    assert warnings.filters == before


@pytest.mark.parametrize(
    "suffix", ["avif", "gif", "ppm", "pgm", "pbm", "jp2", "tga", "pcx", "sgi", "qoi", "dib", "jpe", "apng", "mpo"]
)
def test_reads_whatever_pillow_reads(tmp_path: Path, suffix: str) -> None:
    values = np.zeros((16, 16), np.uint8)
    values[4:12, 4:12] = 255
    image = Image.fromarray(values).convert("1" if suffix == "pbm" else "L" if suffix == "pgm" else "RGB")
    Image.init()
    image.save(tmp_path / f"a.{suffix}", **({"format": "MPO"} if suffix == "mpo" else {}))
    assert f".{suffix}" in IMAGE_SUFFIXES
    assert np.abs(read_image(tmp_path / f"a.{suffix}")[..., 0].astype(int) - values).max() < 30


def test_reads_no_format_that_runs_a_program(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
        with pytest.raises(AstSegError, match="not a readable image"):
            read_image(tmp_path / name)


def test_previews_and_smaller_copies_are_not_frames(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (16, 12), "white"), Image.new("RGB", (8, 6)), Image.new("RGB", (16, 12), "red")]
    with TiffImagePlugin.AppendingTiffWriter(str(tmp_path / "a.tif")) as file:
        for index, page in enumerate(pages):
            page.save(file, format="TIFF", tiffinfo={254: int(index == 1)})
            file.newFrame()
    assert count_images(tmp_path / "a.tif") == 2
    assert [image[0, 0].tolist() for image in read_images(tmp_path / "a.tif")] == [[255] * 3, [255, 0, 0]]
    pages[0].save(tmp_path / "a.mpo", save_all=True, append_images=pages[1:])
    assert count_images(tmp_path / "a.mpo") == 1
    assert len(list(read_images(tmp_path / "a.mpo"))) == 1


def test_counts_the_frames_up_to_where_a_file_breaks_off(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = [Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(4)]
    path = tmp_path / "a.png"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    content, counted = path.read_bytes(), []
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        found = 0
        with suppress(AstSegError):
            for _ in read_images(path):
                found += 1
        counted.append(count_images(path))
        assert found <= counted[-1]
    assert counted == [2, 3, 4]


def test_refuses_a_page_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Image.new("L", (2, 2)), Image.new("L", (20, 20))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(AstSegError, match=r"a\.tif has .*more than 100 pixels"):
        list(read_images(tmp_path / "a.tif"))


def test_grey_ones_are_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 255]
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 1, 2]


def test_counts_what_cannot_be_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("")
    assert count_images(tmp_path / "a.png") == 1
    assert read_exif_transpose(tmp_path / "a.png") is None


def test_formats_that_run_programs_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *arguments, **options: pytest.fail("it was run"))
    for name in ("a.png", "a.eps", "a"):
        (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
        with pytest.raises(AstSegError, match="not a readable image"):
            read_image(tmp_path / name)


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    (tmp_path / "c.png").mkdir()
    for name in "abc":
        with pytest.raises(AstSegError, match="is not an image: it is a"):
            read_image(tmp_path / f"{name}.png")


def test_a_conversion_by_rows_gives_the_same() -> None:
    values = RANDOM.random((1500, 1100))
    assert np.array_equal(convert_by_rows(values, lambda rows: np.rint(255 * rows)), np.rint(255 * values))
    assert convert_by_rows(values[:1], lambda rows: rows + 1).shape == (1, 1100)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_a_large_image_of_16_bits_needs_no_copy_in_floating_point(tmp_path: Path, suffix: str) -> None:
    side = 4000
    Image.new("I;16", (side, side), 30_000).save(tmp_path / f"a.{suffix}")
    tracemalloc.start()
    read_image(tmp_path / f"a.{suffix}")
    assert tracemalloc.get_traced_memory()[1] < 10 * side * side  # bytes; the result takes three a pixel
    tracemalloc.stop()


def test_a_damaged_pixel_of_a_png_is_noticed(tmp_path: Path) -> None:
    Image.new("P", (64, 64), 3).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    start = content.index(b"IDAT") + 4
    size = int.from_bytes(content[start - 8 : start - 4], "big")
    assert size > 8
    for place in range(start, start + size + 4):
        damaged = content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
        (tmp_path / "b.png").write_bytes(damaged)
        with pytest.raises(AstSegError, match="damaged"):
            read_image(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("name", "pixels", "stored"),
    [
        ("a.png", np.full((4, 4, 3), 9, np.uint8), True),
        ("a.png", np.array([[0, 255], [9, 1]], np.uint8), True),
        ("a.png", np.array([[0, 1], [1, 0]], np.uint8), False),
        ("a.png", np.array([[0, 65535], [9, 1]], np.uint16), False),
        ("a.tif", np.array([[0.0, 1.0], [0.5, 1]], np.float32), False),
        ("a.png", np.full((4, 4, 4), 9, np.uint8), False),
    ],
)
def test_what_other_programs_see_as_it_is_shown(tmp_path: Path, name: str, pixels: Any, stored: bool) -> None:
    Image.fromarray(pixels).save(tmp_path / name)
    assert is_stored_as_shown(tmp_path / name) == stored
