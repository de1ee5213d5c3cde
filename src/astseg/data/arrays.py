"""Reading images out of `.npy` and `.npz` files, one at a time.

What the numbers mean is decided over the whole file, since a dark image alone does not tell. Whole numbers of 0 and 1
are black and white; up to 255 they are bytes, up to 65535 they have 16 bits. Floating-point numbers lie in 0 to 1 or in
0 to 255, whichever most images tell.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import MIN_SIXTEEN_BIT_VALUE, TOO_DARK_MESSAGE, WHITE
from astseg.data.store import MAX_LABELS

Bytes: TypeAlias = npt.NDArray[np.uint8]
Numbers: TypeAlias = npt.NDArray[np.generic]

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
IMAGE_KEYS = ("image", "images")
MASK_KEYS = ("mask", "masks")

EXPECTED_ARRAY = "N x H x W x 3 or N x H x W, whole numbers or floating-point ones"
CHANNEL_COUNTS = (1, 3, 4)
"""Grey, RGB, RGBA."""
MAX_UNIT_RANGE_VALUE = 2.0
"""A floating-point image with larger values is no slip beyond 1: its values go up to 255."""
MAX_COLUMN_MAJOR_BYTES = 1 << 28
"""Of an array that is stored columns first, which has to be held as a whole to be read."""


class ArrayItem(NamedTuple):
    """One image of a file of images."""

    image: Bytes | None
    """H x W x 3; None where its values are no colors."""
    mask: Bytes | None
    """H x W, 0 is the background; None if there is none that could be used."""
    problem: str | None
    """Why the image, or the mask that there might have been, cannot be used."""


@dataclass(frozen=True)
class ArrayFile:
    """A file of images, by its headers alone.

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
    layout: "Layout"
    """What its axes are."""
    unread: tuple[str, ...] = ()
    """The names of its other arrays."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not as a reader may expect it, in sentences."""
        with _path_in_errors(self.path):
            scale = self._scale()
        notes = (
            "Channels come first" if self.layout.channels_first else "",
            {
                1: "Values of 0 and 1 are black and white" if scale.kind != "f" else "",
                255: "Values go from 0 to 255" if scale.kind != "u1" else "",
                65535: "Values have 16 bits, from 0 to 65535",
            }[scale.white],
            f"Not read: the arrays {', '.join(self.unread)}" if self.unread else "",
        )
        return tuple(f"{note} in {self.path}." for note in notes if note)

    def __iter__(self) -> Iterator[ArrayItem]:
        """Read the images and their masks, a single one in memory at a time.

        Raises:
            AstSegError: the file is cut off.
        """
        with _path_in_errors(self.path), _open_member(self.path, self.image_key) as images:
            scale = self._scale()
            if self.mask_key is None:
                for image in _iterate_images(images, self.layout.single):
                    yield self._item(image, scale)
                return
            with _open_member(self.path, self.mask_key) as masks:
                items = (_iterate_images(file, self.layout.single) for file in (images, masks))
                for image, mask in zip(*items, strict=True):
                    yield self._item(image, scale, mask)

    def _item(self, image: Numbers, scale: "_Scale", mask: Numbers | None = None) -> ArrayItem:
        try:
            colors = _to_rgb(np.moveaxis(image, 0, -1) if self.layout.channels_first else image, scale)
        except AstSegError as error:
            return ArrayItem(None, None, f"An image in {self.path} {error}")
        return ArrayItem(
            colors, *((None, self.mask_problem) if mask is None else _to_labels(mask, colors.shape[:2], self.path))
        )

    def _scale(self) -> "_Scale":
        facts = self.path.stat()
        return _read_scale(self.path, self.image_key, self.layout.single, facts.st_mtime_ns, facts.st_size)


class Layout(NamedTuple):
    """What the axes of an array are."""

    single: bool
    """It is one image, H x W x channels, and not N of them."""
    channels_first: bool
    """N x channels x H x W."""

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "Layout | None":
        """Return the layout of an array of images by its shape; None for other arrays.

        A last side of 3 is taken for colors, never for images that are three pixels wide; one of 1 or 4 too, where
        the others are no such sides.

        >>> Layout.of((9, 3, 20, 30)), Layout.of((20, 30, 3)), Layout.of((9, 20, 30)), Layout.of((20, 30))
        (Layout(single=False, channels_first=True), Layout(single=True, channels_first=False), \
Layout(single=False, channels_first=False), None)
        """
        large = all(side > max(CHANNEL_COUNTS) for side in shape[:-1])
        if len(shape) == 3:
            return cls(shape[-1] == 3 or (shape[-1] in CHANNEL_COUNTS and large), channels_first=False)
        if len(shape) != 4:
            return None
        if shape[-1] in CHANNEL_COUNTS:
            return cls(single=False, channels_first=False)
        first = shape[1] in CHANNEL_COUNTS and min(shape[2:]) > max(CHANNEL_COUNTS)
        return cls(single=False, channels_first=True) if first else None

    def mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the masks of images of a shape."""
        if self.channels_first:
            return (shape[0], *shape[2:])
        return shape[:2] if self.single else shape[:3]


def open_arrays(path: Path) -> ArrayFile:
    """Look into a file of images: its array `image` or `images`, or its only one; masks in `mask` or `masks`.

    Raises:
        AstSegError: the file cannot be read, or holds something else.
    """
    with _path_in_errors(path):
        if path.suffix.lower() == ".npy":
            image_key, mask_key, unread = "", None, tuple[str, ...]()
        else:
            image_key, mask_key, unread = _find_keys(path)
        shape, layout = _checked_image_shape(path, image_key)
        problem = None if mask_key is None else _mask_problem(path, mask_key, layout.mask_shape(shape))
        count = 1 if layout.single else shape[0]
        return ArrayFile(path, count, image_key, None if problem else mask_key, problem, layout, unread)


def _find_keys(path: Path) -> tuple[str, str | None, tuple[str, ...]]:
    """Return the names of the images, of the masks, and of what else an `.npz` holds."""
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    mask_key = next((key for key in MASK_KEYS if key in names), None)
    others = [name for name in names if name != mask_key]
    image_key = next((key for key in IMAGE_KEYS if key in names), others[0] if len(others) == 1 else None)
    if image_key is None:
        raise AstSegError(f"{path} holds the arrays {', '.join(names) or '(none)'}. Call the images 'images'.")
    return image_key, mask_key, tuple(name for name in others if name != image_key)


def _checked_image_shape(path: Path, key: str) -> tuple[tuple[int, ...], Layout]:
    with _open_member(path, key) as file:
        shape, dtype, _ = _read_header(file)
    layout = Layout.of(shape)
    if layout is None or dtype.kind not in "buif":
        raise AstSegError(f"{path} should hold {EXPECTED_ARRAY}, but holds {dtype} of shape {shape}.")
    if not all(shape):
        raise AstSegError(f"{path} holds no images: its shape is {shape}.")
    return shape, layout


def _mask_problem(path: Path, key: str, expected: tuple[int, ...]) -> str | None:
    """Return why an array cannot hold the masks of images; None if it can."""
    with _open_member(path, key) as file:
        try:
            shape, dtype, _ = _read_header(file)
        except AstSegError as error:
            return f"'{key}' in {path} {error}"
    one_channel = ((*expected, 1), (*expected[:-2], 1, *expected[-2:]))
    if shape not in (expected, *one_channel) or dtype.kind not in "iub":
        return f"'{key}' in {path} should hold whole numbers of shape {expected}, but is {dtype} of shape {shape}."
    return None


@contextmanager
def _open_member(path: Path, key: str) -> Iterator[IO[bytes]]:
    if not key:
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        yield file


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic], bool]:
    """Return the shape, the kind of number, and whether the first axis runs fastest."""
    read = np.lib.format.read_array_header_1_0
    if np.lib.format.read_magic(file) != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(file)
    if dtype.hasobject:
        raise AstSegError("holds Python objects, which are not read. Save a plain array of numbers.")
    if columns_first and prod(shape) * dtype.itemsize > MAX_COLUMN_MAJOR_BYTES:
        raise AstSegError("is stored columns first. Save it with numpy.ascontiguousarray.")
    return shape, dtype, columns_first


def _iterate_images(file: IO[bytes], single: bool) -> Iterator[Numbers]:
    """Yield the images or masks of an open array.

    An array is hardly held as a whole, since it may exceed the memory.
    """
    shape, dtype, columns_first = _read_header(file)
    if columns_first:
        whole = _read_array(file, shape[::-1], dtype).T
        yield from whole[None] if single else whole
        return
    for _ in range(1 if single else shape[0]):
        yield _read_array(file, shape if single else shape[1:], dtype)


def _read_array(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Numbers:
    size = prod(shape) * dtype.itemsize
    data = file.read(size)
    if len(data) != size:
        raise EOFError("it is cut off")
    return np.frombuffer(data, dtype).reshape(shape)


class _Scale(NamedTuple):
    """What the numbers of a file mean."""

    white: int
    """1, 255 or 65535."""
    kind: str
    """"u1" of bytes, "f" of floating-point numbers, nothing of others."""
    highest: float = 0.0
    """Of whole numbers with more than 8 bits, the highest in the file."""


@lru_cache(maxsize=4096)  # asked whenever the file is read, as long as it stays as it is
def _read_scale(path: Path, key: str, single: bool, modified: int, size: int) -> _Scale:
    """Look through a file for what its numbers mean; of bytes the first few tell, unless all are 0 and 1."""
    with _open_member(path, key) as file:
        dtype = _read_header(file)[1]
    with _open_member(path, key) as file:
        items = _readable_images(_iterate_images(file, single))
        if dtype.kind == "f":
            return _Scale(255 if _is_byte_range(items) else 1, "f")
        if dtype.kind == "b" or dtype == np.uint8:
            return _Scale(255 if any(image.max() > 1 for image in items) else 1, "u1" if dtype.kind == "u" else "")
        highest = max((int(image.max()) for image in items if 0 <= image.min() <= image.max() <= 65535), default=255)
        return _Scale(1 if highest <= 1 else 255 if highest <= 255 else 65535, "", highest)


def _readable_images(images: Iterator[Numbers]) -> Iterator[Numbers]:
    """Yield the images up to where a file breaks off, which is told to whoever reads it."""
    try:
        yield from images
    except Exception:  # zip and zlib each raise errors of their own
        return


def _is_byte_range(images: Iterator[Numbers]) -> bool:
    """Tell whether floating-point images have values from 0 to 255: as many of them say so as say 0 to 1.

    Black and white alone, and images with values that are neither, say nothing.
    """
    votes, bright = 0, False
    for image in images:
        values = image.astype(np.float32)
        low, high = values.min(), values.max()
        if 0 <= low <= high <= 255:
            bright |= bool(high > MAX_UNIT_RANGE_VALUE)
            votes += 1 if high > MAX_UNIT_RANGE_VALUE else -1 if ((values > 0) & (values < 1)).any() else 0
    return bright and votes >= 0


def _to_labels(mask: Numbers, size: tuple[int, ...], path: Path) -> tuple[Bytes | None, str | None]:
    """Return a mask of an image of a size as labels, or the reason why it holds none."""
    low, high = int(mask.min()), int(mask.max())
    if not 0 <= low <= high <= MAX_LABELS:
        return None, f"A mask in {path} holds values from {low} to {high}; labels lie in 0 to {MAX_LABELS}."
    return mask.reshape(size).astype(np.uint8), None


def _to_rgb(image: Numbers, scale: _Scale) -> Bytes:
    """Return an image as bytes.

    Args:
        image: H x W, or H x W x 1, 3 or 4.
        scale: what its numbers mean.

    Raises:
        AstSegError: its values are no colors.
    """
    white, what = scale.white, "values"
    if scale.kind == "f":
        image, what = image.astype(np.float32), "floating-point values"  # in which 1 and a rounding error is 1
        if not np.isfinite(image).all():
            raise AstSegError("holds values that are no numbers (NaN or infinity).")
    low, high = image.min(), image.max()
    if not 0 <= low <= high <= white:
        raise AstSegError(f"holds {what} from {low:g} to {high:g}; they should lie in [0, {white}].")
    if white == 65535 and scale.highest < MIN_SIXTEEN_BIT_VALUE:
        raise AstSegError(TOO_DARK_MESSAGE.format(high=f"{scale.highest:g} of {white}"))
    values = np.rint(image.astype(np.float32) * np.float32(255 / white)).astype(np.uint8)
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[-1] == 4:  # laid over white, as files are
        colors = Image.fromarray(np.ascontiguousarray(values))
        return np.array(Image.alpha_composite(Image.new("RGBA", colors.size, WHITE), colors).convert("RGB"))
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


@contextmanager
def _path_in_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except AstSegError as error:
        raise AstSegError(str(error) if str(path) in str(error) else f"{path} {error}") from error
    except FileNotFoundError as error:
        raise AstSegError(f"There is no file {path}.") from error
    except Exception as error:  # zip, zlib and header parsing each raise errors of their own
        raise AstSegError(f"{path} is no array file that can be read: {error}.") from error
