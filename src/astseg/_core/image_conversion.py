"""Conversion between images as bytes, in files and stores, and as floating-point tensors in [0, 1], for the model."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from astseg._core.errors import AstSegError
from astseg._core.image_files import read_image, to_rgb
from astseg._core.tensors import FLOATING_TYPES, is_plain

ImageLike: TypeAlias = Union[Tensor, "np.ndarray[Any, np.dtype[Any]]", Image.Image, str, Path]
ImageInput: TypeAlias = ImageLike | Sequence[ImageLike]
"""One image, or several; tensors and arrays can hold several themselves."""

MAX_OVERSHOOT = 0.5
"""How far values may lie outside [0, 1], as they do at the edges of sharpened and resized images."""
TENSOR_SHAPE = "N x 3 x H x W or 3 x H x W"
ARRAY_SHAPE = "N x H x W x 3 or H x W x 3"


def scale_uint8_images(images: UInt8[Tensor, "batch height width 3"]) -> Float[Tensor, "batch 3 height width"]:
    """Convert stored bytes to images in [0, 1], with channels first in shape and last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)


def from_uint8_images(
    images: UInt8[np.ndarray, "batch height width 3"], device: torch.device | str
) -> Float[Tensor, "batch 3 height width"]:
    """Convert images as stores keep them to floating-point images in [0, 1] on a device."""
    return scale_uint8_images(torch.from_numpy(np.array(images)).to(device))


def to_uint8_images(images: Float[Tensor, "batch 3 height width"]) -> UInt8[np.ndarray, "batch height width 3"]:
    """Convert images in [0, 1] to bytes, rounded; values outside are clipped."""
    scaled = (images.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    array: UInt8[np.ndarray, "batch height width 3"] = scaled.permute(0, 2, 3, 1).cpu().numpy()
    return array


def to_float_images(
    images: ImageInput, device: torch.device | str = "cpu"
) -> tuple[Float[Tensor, "batch 3 height width"], bool]:
    """Convert images in any of the usual forms.

    Args:
        images: a tensor N x 3 x H x W or 3 x H x W of floating-point numbers in [0, 1] or bytes; an array
            N x H x W x 3, H x W x 3 or H x W of the same; a PIL image; the path of an image file; or a list of these.
        device: where to put the result.

    Returns:
        N images in [0, 1], and whether a single image was given.

    Raises:
        ValueError: one of them is not an image, or their sizes differ.
        AstSegError: a file cannot be read.
    """
    if isinstance(images, list | tuple):
        if not images:
            raise ValueError("expected images, but the list is empty")
        each = [_convert_list_item(index, image, device) for index, image in enumerate(images)]
        for index, image in enumerate(each):
            if image.shape != each[0].shape:
                sizes = [f"{one.shape[2]} x {one.shape[3]}" for one in (each[0], image)]
                raise ValueError(
                    f"images should have the same size, but image 0 has {sizes[0]} pixels and image {index} {sizes[1]}"
                )
        return torch.cat(each), False
    batch = _to_batch(images, device)  # type: ignore[arg-type]
    return batch, _is_single(images)


def check_float_images(images: object, shape: str = TENSOR_SHAPE) -> None:
    """Raise unless images are floating-point tensors in [0, 1]; other programs use values to 255 and other axis orders.

    Raises:
        ValueError: the type, the shape or the range is wrong.
    """
    if not (is_plain(images) and images.ndim in (3, 4) and images.shape[-3] == 3 and images.dtype in FLOATING_TYPES):
        hint = _hint(images, channel=-3)
        raise ValueError(
            f"expected floating-point images of shape {shape} in [0, 1], not {describe_type(images)}{hint}"
        )
    _check_pixels(images)
    low, high = (float(value) for value in images.detach().aminmax())
    if math.isnan(low):
        raise ValueError("expected images in [0, 1], but a value is NaN")
    if not -MAX_OVERSHOOT <= low <= high <= 1 + MAX_OVERSHOOT:
        hint = ". Divide them by 255, or give bytes" if low >= 0 and high <= 255 else ""
        raise ValueError(f"expected images in [0, 1], not with values from {low:g} to {high:g}{hint}")


def check_mean(images: Tensor) -> None:
    """Raise if the mean of images is NaN or far from [0, 1], as it is where bytes were not divided by 255.

    A mean is had in a thirtieth of the time of looking at each value. On a GPU nothing is looked at, because a program
    would wait for it.

    Raises:
        ValueError: it is.
    """
    if images.device.type != "cpu" or torch.compiler.is_compiling():
        return
    try:
        mean = float(images.detach().sum(dtype=torch.float32)) / images.numel()
    except RuntimeError:  # within torch.func.vmap there is no number to look at
        return
    if math.isnan(mean):
        raise ValueError("expected images in [0, 1], but a value is NaN")
    if not -MAX_OVERSHOOT <= mean <= 1 + MAX_OVERSHOOT:
        hint = ". Divide them by 255" if 0 < mean <= 255 else ""
        raise ValueError(f"expected images in [0, 1], not with a mean of {mean:g}{hint}")


def _check_pixels(images: "Tensor | np.ndarray[Any, np.dtype[Any]]") -> None:
    """Raise if there is no image, or no pixel in it.

    Raises:
        ValueError: there is none.
    """
    if 0 in images.shape:
        raise ValueError(f"expected images with pixels, not {describe_type(images)}")


def describe_type(images: object) -> str:
    """Return the type, and the shape if there is one, of what should have been images."""
    if isinstance(images, Tensor) and not is_plain(images):
        return "a tensor that is nested, sparse, quantized or without content"
    if isinstance(images, Tensor | np.ndarray):
        return f"{images.dtype} of shape {tuple(images.shape)}"
    return f"{type(images).__name__}"


def _hint(images: object, channel: int) -> str:
    """Return what to do about an array or a tensor that is not images, as far as it can be told.

    Args:
        images: what was given.
        channel: the axis where the three channels should be.
    """
    if not (is_plain(images) or isinstance(images, np.ndarray)) or images.ndim not in (3, 4):
        return ""
    channels, others = images.shape[channel], images.shape[-1 if channel == -3 else -3]
    if channels == 4:
        index = "..., :3" if channel == -1 else "..., :3, :, :"
        return f". Leave out the fourth channel, the transparency: [{index}]"
    if channels != 3 and others == 3:
        if channel == -1:
            return ". Channels come last in arrays: use numpy.moveaxis, or a tensor"
        return ". Channels come first in tensors: use permute, or an array"
    whole = "int" in str(images.dtype)  # of torch or numpy
    return ". Divide whole numbers by the largest that there can be" if channels == 3 and whole else ""


def _convert_list_item(index: int, image: ImageLike, device: torch.device | str) -> Float[Tensor, "1 3 height width"]:
    """Convert one image of a list; errors name its index."""
    try:
        if not _is_single(image):
            raise ValueError(f"expected a single image in a list, not {describe_type(image)}")
        return _to_batch(image, device)
    except AstSegError as error:
        raise AstSegError(f"Image {index}: {error}") from error
    except ValueError as error:
        raise ValueError(f"image {index}: {error}") from error


def _is_single(image: object) -> bool:
    return not isinstance(image, Tensor | np.ndarray) or image.ndim < 4


def _to_batch(image: ImageLike, device: torch.device | str) -> Float[Tensor, "batch 3 height width"]:
    if isinstance(image, str | Path):
        return from_uint8_images(read_image(image)[None], device)
    if isinstance(image, Image.Image):
        return _array_to_batch(_pil_to_array(image), device)
    if isinstance(image, np.ndarray):
        return _array_to_batch(image, device)
    if is_plain(image) and image.dtype == torch.uint8 and image.ndim in (3, 4) and image.shape[-3] == 3:
        _check_pixels(image)
        image = image.float() / 255
    check_float_images(image)
    return (image if image.ndim == 4 else image[None]).to(device)


def _pil_to_array(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """Convert a PIL image to RGB.

    Raises:
        AstSegError: the range of its values is unknown, or it cannot be read.
    """
    try:
        return np.array(to_rgb(image))
    except Exception as error:  # Pillow reads a file only now, and raises almost anything for a damaged one
        opened = getattr(image, "filename", "")  # of what Pillow has opened, but for copies
        called = f"The PIL image of mode {image.mode}{f' from {opened}' if opened else ''}"
        problem = error if isinstance(error, AstSegError) else f"cannot be read: {error}."
        raise AstSegError(f"{called} {problem}") from error


def _array_to_batch(
    array: "np.ndarray[Any, np.dtype[Any]]", device: torch.device | str
) -> Float[Tensor, "batch 3 _ _"]:
    array = np.asarray(array)  # a matrix would keep its two axes
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, -1)
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
        hint = _hint(array, channel=-1)
        raise ValueError(f"expected an array {ARRAY_SHAPE} of bytes or in [0, 1], not {describe_type(array)}{hint}")
    _check_pixels(array)
    batch = array if array.ndim == 4 else array[None]
    if batch.dtype == np.uint8:
        return from_uint8_images(batch, device)
    images = torch.from_numpy(np.ascontiguousarray(batch, np.float32)).permute(0, 3, 1, 2)
    check_float_images(images)
    return images.to(device)
