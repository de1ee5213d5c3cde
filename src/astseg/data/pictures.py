"""Reading any picture as 8-bit RGB, and fitting pictures and masks to a size."""

import warnings
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from astseg.errors import UserError

Bytes: TypeAlias = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff"})

WHITE = (255, 255, 255, 255)
LABEL_MODES = ("P", "L", "1")
"""Pillow's modes of palette and 8-bit grey pictures."""
DARKEST_SIXTEEN_BITS = 4096
"""A 16-bit picture whose values stay below this is 10 or 12 bits deep, and would be black."""
TOO_DARK = (
    "would be black: its 16-bit values go up to {high}. "
    "If they are 10 or 12 bits deep, stretch all your pictures to 16 bits first."
)


def read_picture(path: Path | str) -> Bytes:
    """Read a picture the way a viewer shows it.

    The camera's rotation (EXIF) is applied. Grey becomes three equal channels, CMYK and palettes become RGB,
    transparent pixels are laid over white, 16-bit values are divided by 257 so that 65535 becomes 255, and
    floating-point values are taken to lie in [0, 1]. Of several frames only the first is read. 16-bit files that use
    12 bits or less are refused: they would be black, and nothing tells how deep they are.

    Returns:
        H x W x 3 RGB.

    Raises:
        UserError: the file is missing, damaged, too large to be a picture, or of a kind that nobody can guess.
    """
    path = Path(path)
    try:
        # Warnings about odd metadata concern nobody; the one about a size that fills the memory does.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                deep = ";16" in str(image.tile)  # of colours, of which Pillow keeps the upper eight bits
                image.load()
                rgb = np.array(_as_rgb(_upright(image)))
                if deep and 0 < rgb.max() < DARKEST_SIXTEEN_BITS / 256:
                    raise UserError(TOO_DARK.format(high=f"{rgb.max()} of 255 once they have 8 bits"))
                return rgb
    except UserError as error:
        raise UserError(f"{path} {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"There is no picture {path}.") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(f"{path} has more than {Image.MAX_IMAGE_PIXELS} pixels. Make it smaller.") from error
    except PermissionError as error:
        raise UserError(f"{path} may not be read: permission denied.") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is no picture that can be read, or it is damaged at its beginning.") from error
    except Exception as error:  # a damaged file makes Pillow's decoders raise whatever they stumble over
        raise UserError(f"{path} is damaged or cut off: {error}.") from error


def picture_mode(path: Path) -> str | None:
    """Pillow's mode of a picture, by its header; None for what is no picture."""
    try:
        with Image.open(path) as image:
            return image.mode
    except Exception:  # as in `read_picture`
        return None


def read_mask(path: Path | str) -> Bytes:
    """Read a mask whose values are labels: a palette picture (its indices) or one of 8-bit grey.

    Returns:
        H x W, 0 is the background.

    Raises:
        UserError: the file cannot be read, or is in colour, so that its values are no labels.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            mode, labels = image.mode, np.array(image)
    except Exception as error:  # as above
        raise UserError(f"The mask {path} cannot be read: {error}.") from error
    if mode not in LABEL_MODES:
        raise UserError(f"The mask {path} should be a palette or 8-bit grey picture of labels, not {mode}.")
    return labels.astype(np.uint8)


def centre_crop(size: tuple[int, int], target: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of the largest centred part of a picture that has the target's proportions.

    Args:
        size: height and width of the picture.
        target: height and width that the part will be resized to.
    """
    height, width = size
    # The largest h x w with h / w = target's ratio; at least a pixel, since pictures may be 1 x 1000.
    crop_height = max(1, min(height, round(width * target[0] / target[1])))
    crop_width = max(1, min(width, round(height * target[1] / target[0])))
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return slice(top, top + crop_height), slice(left, left + crop_width)


def fit_picture(image: Bytes, size: tuple[int, int]) -> Bytes:
    """Cut out the centre (`centre_crop`), then resize bilinearly with antialiasing.

    Args:
        image: H x W x 3.
        size: height and width wanted.

    Returns:
        height x width x 3.
    """
    return _resized(image[centre_crop((image.shape[0], image.shape[1]), size)], size, Image.Resampling.BILINEAR)


def fit_mask(mask: Bytes, size: tuple[int, int]) -> Bytes:
    """Cut and resize a mask as `fit_picture` does its picture, by the nearest pixel.

    Args:
        mask: H x W labels.
        size: height and width wanted.

    Returns:
        height x width labels.
    """
    return _resized(mask[centre_crop((mask.shape[0], mask.shape[1]), size)], size, Image.Resampling.NEAREST)


def _resized(values: Bytes, size: tuple[int, int], how: Image.Resampling) -> Bytes:
    if values.shape[:2] == size:
        return values
    return np.array(Image.fromarray(values).resize((size[1], size[0]), how))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF data that make no sense say nothing about the rotation
        return image


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.array(image))).convert("RGB")
    if image.has_transparency_data:
        colored = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colored.size, WHITE), colored).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: npt.NDArray[np.generic]) -> Bytes:
    """Scale the values of a 16-bit or floating-point picture to 0-255."""
    low, high = float(values.min()), float(values.max())
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    if not 0 <= low <= high <= top:
        raise UserError(f"holds {values.dtype} values from {low:g} to {high:g}; they should lie in 0 to {top:g}.")
    if values.dtype.kind != "f" and 0 < high < DARKEST_SIXTEEN_BITS:
        raise UserError(TOO_DARK.format(high=f"{high:g} of {top:g}"))
    return np.rint(values.astype(np.float64) * (255 / top)).astype(np.uint8)
