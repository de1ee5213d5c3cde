"""Reading pictures out of `.npy` and `.npz` files, one at a time."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from astseg.colors import MOST_LABELS
from astseg.errors import UserError

Bytes: TypeAlias = npt.NDArray[np.uint8]

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
IMAGE_KEYS = ("image", "images")
MASK_KEYS = ("mask", "masks")

ACCEPTED = "N x H x W x 3 or N x H x W, uint8 or floating-point in [0, 1]"


class ArrayItem(NamedTuple):
    """One picture of a file of pictures."""

    image: Bytes | None
    """H x W x 3; None where its values are no colours."""
    mask: Bytes | None
    """H x W, 0 is the background; None if there is none that could be used."""
    problem: str | None
    """Why the picture, or the mask that there might have been, cannot be used."""


@dataclass(frozen=True)
class ArrayFile:
    """A file of pictures, by its headers alone.

    Use `open_arrays` to make one.
    """

    path: Path
    count: int
    image_key: str
    """The array's name in an `.npz`; nothing in an `.npy`."""
    mask_key: str | None
    """The name of its masks; None if there are none that could be used."""
    mask_problem: str | None
    """Why the masks that it has cannot be used."""
    single: bool
    """The array is one picture, H x W x 3, and not N of them."""

    def __iter__(self) -> Iterator[ArrayItem]:
        """Read the pictures and their masks, a single one in memory at a time.

        Raises:
            UserError: the file is cut off.
        """
        with _errors_named(self.path), _member(self.path, self.image_key) as images:
            if self.mask_key is None:
                for image in _items(images, self.single):
                    yield self._item(image)
                return
            with _member(self.path, self.mask_key) as masks:
                for image, mask in zip(_items(images, self.single), _items(masks, self.single), strict=True):
                    yield self._item(image, mask)

    def _item(self, image: npt.NDArray[np.generic], mask: npt.NDArray[np.generic] | None = None) -> ArrayItem:
        colors, problem = _as_rgb(image, self.path)
        if colors is None:
            return ArrayItem(None, None, problem)
        return ArrayItem(colors, *((None, self.mask_problem) if mask is None else _as_labels(mask, self.path)))


def open_arrays(path: Path) -> ArrayFile:
    """Look into a file of pictures: its array `image` or `images`, or its only one; masks in `mask` or `masks`.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    with _errors_named(path):
        if path.suffix.lower() == ".npy":
            image_key, mask_key = "", None
        else:
            image_key, mask_key = _keys(path)
        shape = _checked_image_shape(path, image_key)
        problem = None if mask_key is None else _mask_problem(path, mask_key, shape)
        single = _is_single(shape)
        return ArrayFile(path, 1 if single else shape[0], image_key, None if problem else mask_key, problem, single)


def _keys(path: Path) -> tuple[str, str | None]:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    mask_key = next((key for key in MASK_KEYS if key in names), None)
    others = [name for name in names if name != mask_key]
    image_key = next((key for key in IMAGE_KEYS if key in names), others[0] if len(others) == 1 else None)
    if image_key is None:
        raise UserError(f"{path} holds the arrays {', '.join(names) or '(none)'}. Call the pictures 'images'.")
    return image_key, mask_key


def _checked_image_shape(path: Path, key: str) -> tuple[int, ...]:
    with _member(path, key) as file:
        shape, dtype = _read_header(file)
    # A last side of 3 is taken for colours, never for pictures that are three pixels wide.
    grey = len(shape) == 3 and not _is_single(shape)
    colored = (len(shape) == 4 and shape[-1] in (1, 3)) or _is_single(shape)
    if not (grey or colored) or not (dtype == np.uint8 or dtype.kind == "f"):
        hint = " Channels should come last." if len(shape) == 4 and shape[1] in (1, 3) else ""
        raise UserError(f"{path} should hold {ACCEPTED}, but holds {dtype} of shape {shape}.{hint}")
    if not all(shape):
        raise UserError(f"{path} holds no pictures: its shape is {shape}.")
    return shape


def _mask_problem(path: Path, key: str, image_shape: tuple[int, ...]) -> str | None:
    """Why an array cannot hold the masks of pictures; None if it can."""
    with _member(path, key) as file:
        try:
            shape, dtype = _read_header(file)
        except UserError as error:
            return f"'{key}' in {path} {error}"
    expected = image_shape[:2] if _is_single(image_shape) else image_shape[:3]
    if shape not in (expected, (*expected, 1)) or dtype.kind not in "iub":
        return f"'{key}' in {path} should hold whole numbers of shape {expected}, but is {dtype} of shape {shape}."
    return None


def _is_single(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[-1] == 3


@contextmanager
def _member(path: Path, key: str) -> Iterator[IO[bytes]]:
    if not key:
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        yield file


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    read = np.lib.format.read_array_header_1_0
    if np.lib.format.read_magic(file) != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(file)
    if dtype.hasobject:
        raise UserError("holds Python objects, which are not read. Save a plain array of numbers.")
    if columns_first:
        raise UserError("is stored columns first. Save it with numpy.ascontiguousarray.")
    return shape, dtype


def _items(file: IO[bytes], single: bool) -> Iterator[npt.NDArray[np.generic]]:
    """The pictures or masks of an open array; an array is never held as a whole, since it may exceed the memory."""
    shape, dtype = _read_header(file)
    if single:
        shape = (1, *shape)
    size = int(np.prod(shape[1:])) * dtype.itemsize
    for _ in range(shape[0]):
        data = file.read(size)
        if len(data) != size:
            raise EOFError("it is cut off")
        yield np.frombuffer(data, dtype).reshape(shape[1:])


def _as_labels(mask: npt.NDArray[np.generic], path: Path) -> tuple[Bytes | None, str | None]:
    """A mask as labels, or the reason why it holds none."""
    low, high = int(mask.min()), int(mask.max())
    if not 0 <= low <= high <= MOST_LABELS:
        return None, f"A mask in {path} holds values from {low} to {high}; labels lie in 0 to {MOST_LABELS}."
    return mask.reshape(mask.shape[:2]).astype(np.uint8), None


def _as_rgb(image: npt.NDArray[np.generic], path: Path) -> tuple[Bytes | None, str | None]:
    """A picture as bytes, or the reason why its values are no colours."""
    if image.dtype.kind == "f":
        values = image.astype(np.float32)  # in which 1 and a rounding error is 1
        low, high = values.min(), values.max()
        if not 0 <= low <= high <= 1:
            reason = f"holds floating-point values from {low:g} to {high:g}; they should lie in [0, 1]."
            return None, f"A picture in {path} {reason}"
        image = np.rint(values * 255).astype(np.uint8)
    image = image.reshape(*image.shape[:2], -1)
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)), dtype=np.uint8), None


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path} {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except Exception as error:  # zip, zlib and header parsing each raise errors of their own
        raise UserError(f"{path} is no array file that can be read: {error}.") from error
