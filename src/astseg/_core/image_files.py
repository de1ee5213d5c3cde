"""Reading image files as 8-bit RGB, as a viewer shows them."""

import math
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from astseg._core.errors import AstSegError, naming
from astseg._core.input_files import NotAFileError, regular_size

Bytes: TypeAlias = npt.NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "TGA", "PCX", "SGI", "QOI")
"""The formats that are read, whatever the suffix of a file; none of them runs a program or opens another file."""
MAGIC_FORMATS = tuple(name for name in FORMATS if name not in ("TGA", "PCX"))
"""The formats that are recognized by their first bytes, so that text files are not mistaken for images."""
IMAGE_SUFFIXES = frozenset(
    {
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
        *(".gif", ".avif", ".avifs", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc", ".ppm", ".pgm", ".pbm", ".pnm"),
        *(".tga", ".pcx", ".sgi", ".qoi"),
    }
)
EXIF_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that shows an image upright, for each EXIF orientation."""
SINGLE_IMAGE_FORMATS = frozenset({"MPO"})
"""Formats whose further frames are previews and depth maps of the first."""
TIFF_SUBFILE_TYPE = 254
TIFF_NOT_A_PAGE = 0b101
"""The bits of a TIFF subfile that is a smaller copy of a page, or its mask."""

WHITE = (255, 255, 255, 255)
PNG_SIGNATURE_SIZE = 8
PNG_PIXELS = (b"IDAT", b"fdAT")
"""The parts of a PNG file that hold pixels."""
VALUES_AT_ONCE = 1 << 20
MIN_SIXTEEN_BIT_VALUE = 4096
"""A 16-bit image with only smaller values is 10 or 12 bits deep, and would look black."""
TOO_DARK_MESSAGE = (
    "would be black: its 16-bit values go up to {high}. "
    "If they are 10 or 12 bits deep, scale all your images to 16 bits first."
)


def read_image(path: Path | str) -> Bytes:
    """Read the first frame of an image file; see `read_images`."""
    return next(read_images(path))


def read_images(path: Path | str) -> Iterator[Bytes]:
    """Read the frames of an image file (a TIFF stack, an animation; most files have one) as a viewer shows them.

    The camera's rotation (EXIF) is applied. Grey becomes three equal channels, CMYK and palettes become RGB,
    transparent pixels are composited over white, 16-bit values are divided by 257 so that 65535 becomes 255, and
    floating-point values are expected in [0, 1]. Grey images with only the values 0 and 1 are black and white. 16-bit
    files that use 12 bits or less are refused: they would look black, and their depth is unknown. Smaller copies of
    TIFF pages and the previews in an MPO are skipped.

    Yields:
        H x W x 3 RGB; only one frame is in memory at a time.

    Raises:
        AstSegError: the file is missing, damaged, has too many pixels, or its range of values is unknown.
    """
    path = Path(path)
    with open_image(path) as image:
        deep = ";16" in str(getattr(image, "tile", ""))  # 16-bit colors, of which Pillow keeps the upper eight bits
        for _ in load_frames(image):
            with _metadata_warnings_ignored():
                rgb = _to_array(to_rgb(image))
            if deep and 0 < rgb.max() < MIN_SIXTEEN_BIT_VALUE / 256:
                raise AstSegError(TOO_DARK_MESSAGE.format(high=f"{rgb.max()} of 255 once they have 8 bits"))
            yield rgb


def count_images(path: Path) -> int:
    """Count the frames of an image file by its headers, up to where it breaks off; an unreadable file counts as 1."""
    count = 0
    with suppress(AstSegError), open_image(path) as image:
        if image.format in SINGLE_IMAGE_FORMATS:
            return 1
        for _ in _seek_frames(image):
            count += 1
    return max(1, count)


@contextmanager
def open_image(path: Path, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Open an image file, and turn all errors in the block into an `AstSegError` that names the file.

    Raises:
        AstSegError: as `read_images`.
    """
    try:
        regular_size(path)
        # Pillow, if it opened the file, would leave it open after a Ctrl-C while it reads the header.
        with path.open("rb") as file:
            with _metadata_warnings_ignored():
                Image.init()
                # Not every Pillow has all formats (AVIF, for instance). MPO counts as JPEG until it has been opened.
                image = Image.open(file, formats=[name for name in formats if name in Image.OPEN])
            with image:
                yield image
    except AstSegError as error:
        raise naming(error, path, str(path)) from error
    except FileNotFoundError as error:
        raise AstSegError(f"There is no image {path}.") from error
    except NotAFileError as error:
        raise AstSegError(f"{path} is not an image: {error.strerror}.") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise AstSegError(f"{path} has more than {Image.MAX_IMAGE_PIXELS} pixels. Make it smaller.") from error
    except PermissionError as error:
        raise AstSegError(f"{path} cannot be read: permission denied.") from error
    except UnidentifiedImageError as error:
        raise AstSegError(f"{path} is not a readable image, or its beginning is damaged.") from error
    except MemoryError as error:
        raise AstSegError(f"{path} needs more memory than there is. Make it smaller.") from error
    except Exception as error:  # on damaged files Pillow's decoders raise errors of any type
        raise AstSegError(f"{path} is damaged or cut off: {error}.") from error


def load_frames(image: Image.Image) -> Iterator[int]:
    """Load the frames of an open file one after another, and yield their indices.

    Raises:
        AstSegError: a frame has too many pixels, or the file is a PNG with a wrong checksum.
    """
    check_png(image)
    for index in _seek_frames(image):
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise AstSegError(f"has a page of more than {Image.MAX_IMAGE_PIXELS} pixels. Make it smaller.")
        with _metadata_warnings_ignored():
            image.load()
        yield index


def check_png(image: Image.Image) -> None:
    """Compare the checksums of the pixels in a PNG file that has just been opened; Pillow compares only the others.

    Raises:
        AstSegError: one is wrong.
    """
    file = image.fp if isinstance(image, ImageFile.ImageFile) else None
    if image.format != "PNG" or file is None:
        return
    place = file.tell()
    file.seek(PNG_SIGNATURE_SIZE)
    while len(head := file.read(8)) == 8:
        left, kind = int.from_bytes(head[:4], "big"), head[4:]
        found = zlib.crc32(kind)
        while left and (part := file.read(min(left, VALUES_AT_ONCE))):
            found, left = zlib.crc32(part, found), left - len(part)
        if file.read(4) != found.to_bytes(4, "big") and kind in PNG_PIXELS:
            raise AstSegError(f"is damaged: the checksum of its {kind.decode()} part does not match.")
    file.seek(place)


@contextmanager
def _metadata_warnings_ignored() -> Iterator[None]:
    """Ignore warnings about odd metadata; raise the one about a size that would fill the memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _seek_frames(image: Image.Image) -> Iterator[int]:
    """Seek the frames one after another, without smaller copies and previews, and yield their indices."""
    for index in range(1 if image.format in SINGLE_IMAGE_FORMATS else getattr(image, "n_frames", 1)):
        with _metadata_warnings_ignored():
            image.seek(index)
        tags = getattr(image, "tag_v2", {})
        if index == 0 or not tags.get(TIFF_SUBFILE_TYPE, 0) & TIFF_NOT_A_PAGE:
            yield index


def read_exif_transpose(path: Path) -> Image.Transpose | None:
    """Return how viewers transpose an image file by its EXIF data; None if they do not, or it cannot be read."""
    try:
        with open_image(path) as image, _metadata_warnings_ignored():
            return _exif_transpose_of(image)
    except AstSegError:
        return None


def _exif_transpose_of(image: Image.Image) -> Image.Transpose | None:
    return EXIF_TRANSPOSES.get(image.getexif().get(ExifTags.Base.Orientation, 1))


def is_stored_as_shown(path: Path) -> bool:
    """Tell whether an image file holds the 8-bit colors that are shown: any program sees the same in it."""
    try:
        with open_image(path) as image, _metadata_warnings_ignored():
            if image.mode not in ("1", "L", "P", "RGB", "CMYK") or image.has_transparency_data:
                return False
            black_and_white = image.mode == "L" and image.getextrema() == (0, 1)  # other programs see two blacks
            return not black_and_white and _exif_transpose_of(image) is None
    except AstSegError:
        return False


def is_image_file(path: Path, formats: tuple[str, ...] = MAGIC_FORMATS) -> bool:
    """Tell whether a file starts like an image; by default only formats that need no suffix to be recognized count."""
    try:
        with open_image(path, formats):
            return True
    except AstSegError:
        return False


def apply_exif_transpose(image: Image.Image) -> Image.Image:
    """Transpose an image as its EXIF data say, as viewers do; an upright one is returned as it is, not copied."""
    try:
        if _exif_transpose_of(image) is None:
            return image
        return ImageOps.exif_transpose(image)
    except Exception:  # invalid EXIF data say nothing about the rotation
        return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Rotate an image upright and convert it to RGB, as `read_images` does.

    Raises:
        AstSegError: the range of its values is unknown.
    """
    image = apply_exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_eight_bits(np.array(image))).convert("RGB")
    if image.has_transparency_data:
        colored = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colored.size, WHITE), colored).convert("RGB")
    if image.mode == "L" and image.getextrema() == (0, 1):  # black and white, not two shades of black
        image = image.point(lambda value: 255 * value)
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_array(image: Image.Image) -> Bytes:
    """Return the pixels of an RGB image, copied some rows at a time: Pillow would hold all of them once more."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    step = max(1, VALUES_AT_ONCE // (3 * image.width))
    for top in range(0, image.height, step):
        bottom = min(top + step, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels


def _to_eight_bits(values: npt.NDArray[np.generic]) -> Bytes:
    """Scale the values of a 16-bit or floating-point image to 0-255."""
    low, high = float(values.min()), float(values.max())
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    if not 0 <= low <= high <= top:
        raise AstSegError(
            f"holds {values.dtype} values from {low:g} to {high:g}; they should lie in 0 to {top:g}. Scale them."
        )
    if values.dtype.kind != "f" and 0 < high < MIN_SIXTEEN_BIT_VALUE:
        raise AstSegError(TOO_DARK_MESSAGE.format(high=f"{high:g} of {top:g}"))
    return convert_by_rows(values, lambda rows: np.rint(rows.astype(np.float64) * (255 / top)).astype(np.uint8))


def convert_by_rows(
    values: npt.NDArray[np.generic], convert: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """Convert an array some rows at a time, so that what the conversion needs meanwhile stays small."""
    step = max(1, VALUES_AT_ONCE * len(values) // values.size)
    return np.concatenate([convert(values[start : start + step]) for start in range(0, len(values), step)])
