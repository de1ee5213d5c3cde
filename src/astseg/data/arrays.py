"""Reading images from `.npy` and `.npz` files, one at a time.

The range of values is decided from the whole file, since a dark image alone does not show it. Integers of 0 and 1 are
black and white; up to 255 they are bytes, up to 65535 they have 16 bits. Floating-point numbers lie in [0, 1] or in
[0, 255], whichever fits more images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from pathlib import Path, PurePath
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import (
    MIN_SIXTEEN_BIT_VALUE,
    TOO_DARK_MESSAGE,
    WHITE,
    Bytes,
    convert_by_rows,
)
from astseg._core.input_files import regular_size
from astseg.data.array_members import (
    Numbers,
    array_names,
    member_size,
    open_member,
    path_in_errors,
    read_array,
    read_header,
)
from astseg.data.store import MAX_LABELS

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
IMAGE_KEYS = ("image", "images")
MASK_KEYS = ("mask", "masks")

EXPECTED_ARRAY = "integers or floating-point numbers of shape N x H x W x 3 or N x H x W"
CHANNEL_COUNTS = (1, 3, 4)
"""Grey, RGB, RGBA."""
MAX_UNIT_RANGE_VALUE = 2.0
"""Larger values in a floating-point image are no overshoot beyond 1: its range is [0, 255]."""
MAX_IMAGE_BYTES = 1 << 28
"""The limit for one image, which has to be in memory as a whole."""


class ArrayItem(NamedTuple):
    """One image of an array file."""

    image: Bytes | None
    """H x W x 3; None if its values are not colors."""
    mask: Bytes | None
    """H x W, 0 is the background; None if there is no usable one."""
    problem: str | None
    """Why the image or its mask cannot be used."""


@dataclass(frozen=True)
class ArrayFile:
    """An array file of which only the headers have been read; `open_arrays` makes it."""

    path: Path
    count: int
    image_key: str
    """The name of the array in an `.npz`; empty for an `.npy`."""
    mask_key: str | None
    """The name of the masks; None if there are no usable ones."""
    mask_problem: str | None
    """Why existing masks cannot be used."""
    layout: "Layout"
    """What the axes of the images are."""
    unread: tuple[str, ...] = ()
    """The names of the other arrays."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about everything that readers may not expect."""
        with path_in_errors(self.path):
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
        """Read the images and their masks; only one image is in memory at a time.

        Raises:
            AstSegError: the file is cut off.
        """
        with path_in_errors(self.path), open_member(self.path, self.image_key) as images:
            scale = self._scale()
            if self.mask_key is not None:
                self._check_member(self.mask_key)
            if self.mask_key is None:
                for image in _iterate_images(images, self.layout.single):
                    yield self._item(image, scale)
                return
            with open_member(self.path, self.mask_key) as masks:
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
        self._check_member(self.image_key)
        facts = self.path.stat()
        return _read_scale(self.path, self.image_key, self.layout.single, facts.st_mtime_ns, facts.st_size)

    def _check_member(self, key: str) -> None:
        """Raise before anything is read if a member of an archive is damaged: only its end tells, by its checksum."""
        facts = self.path.stat()
        if key:
            _read_through(self.path, key, facts.st_mtime_ns, facts.st_size)


class Layout(NamedTuple):
    """The axes of an array of images."""

    single: bool
    """The array is one image, H x W x channels."""
    channels_first: bool
    """N x channels x H x W."""

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "Layout | None":
        """Return the layout of an array of images with a shape; None if the shape is not one of images.

        A last axis of length 3 is always taken for colors, never for images three pixels wide. One of length 1 or 4 is
        too, if the other axes are longer.

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
        """Return the shape that masks have for images with a shape."""
        if self.channels_first:
            return (shape[0], *shape[2:])
        return shape[:2] if self.single else shape[:3]


def is_array_file(path: PurePath) -> bool:
    """Tell whether a file is an array by its suffix."""
    return path.suffix.lower() in ARRAY_SUFFIXES


def open_arrays(path: Path) -> ArrayFile:
    """Open an array file: images in `image` or `images` or the only array, masks in `mask` or `masks`.

    Raises:
        AstSegError: the file cannot be read, or holds something else.
    """
    with path_in_errors(path):
        regular_size(path)
        if path.suffix.lower() == ".npy":
            image_key, mask_key, unread = "", None, tuple[str, ...]()
        else:
            image_key, mask_key, unread = _find_keys(path)
        shape, layout = _checked_image_shape(path, image_key)
        problem = None if mask_key is None else _mask_problem(path, mask_key, layout.mask_shape(shape))
        count = 1 if layout.single else min(shape[0], _images_that_fit(path, image_key))
        return ArrayFile(path, count, image_key, None if problem else mask_key, problem, layout, unread)


def _find_keys(path: Path) -> tuple[str, str | None, tuple[str, ...]]:
    """Return the names of the images, of the masks, and of the other arrays in an `.npz`."""
    names = array_names(path)
    mask_key = next((key for key in MASK_KEYS if key in names), None)
    others = [name for name in names if name != mask_key]
    image_key = next((key for key in IMAGE_KEYS if key in names), others[0] if len(others) == 1 else None)
    if image_key is None:
        raise AstSegError(f"{path} holds the arrays {', '.join(names) or '(none)'}. Name the images 'images'.")
    return image_key, mask_key, tuple(name for name in others if name != image_key)


def _checked_image_shape(path: Path, key: str) -> tuple[tuple[int, ...], Layout]:
    with open_member(path, key) as file:
        shape, dtype, _ = read_header(file)
    layout = Layout.of(shape)
    if layout is None or dtype.kind not in "buif":
        raise AstSegError(f"{path} should hold {EXPECTED_ARRAY}, but holds {dtype} of shape {shape}.")
    if not all(shape):
        raise AstSegError(f"{path} holds no images: its shape is {shape}.")
    size = prod(shape if layout.single else shape[1:]) * dtype.itemsize
    if size > MAX_IMAGE_BYTES:
        raise AstSegError(f"{path} holds images of {size} bytes; at most {MAX_IMAGE_BYTES} fit into memory safely.")
    return shape, layout


def _images_that_fit(path: Path, key: str) -> int:
    """Return how many of the images that a file claims it can hold, by its length; the last may be cut off."""
    with open_member(path, key) as file:
        shape, dtype, _ = read_header(file)
        room = member_size(path, key) - file.tell()
    return ceil(max(0, room) / (prod(shape[1:]) * dtype.itemsize))


def _mask_problem(path: Path, key: str, expected: tuple[int, ...]) -> str | None:
    """Return why an array cannot be the masks, of an expected shape; None if it can."""
    with open_member(path, key) as file:
        try:
            shape, dtype, _ = read_header(file)
        except AstSegError as error:
            return f"'{key}' in {path} {error}"
    one_channel = ((*expected, 1), (*expected[:-2], 1, *expected[-2:]))
    if shape not in (expected, *one_channel) or dtype.kind not in "iub":
        return f"'{key}' in {path} should hold integers of shape {expected}, but is {dtype} of shape {shape}."
    return None


def _iterate_images(file: IO[bytes], single: bool) -> Iterator[Numbers]:
    """Yield the images or masks of an open array one by one, since the whole may exceed the memory."""
    shape, dtype, columns_first = read_header(file)
    if columns_first:
        whole = read_array(file, shape[::-1], dtype).T
        yield from whole[None] if single else whole
        return
    for _ in range(1 if single else shape[0]):
        yield read_array(file, shape if single else shape[1:], dtype)


class _Scale(NamedTuple):
    """The range and the type of the values in a file."""

    white: int
    """The value of white: 1, 255 or 65535."""
    kind: str
    """"u1" for bytes, "f" for floating-point numbers, empty for others."""
    highest: float = 0.0
    """The highest value in a file of integers with more than 8 bits."""


@lru_cache(maxsize=4096)  # as for `_read_scale`
def _read_through(path: Path, key: str, modified: int, size: int) -> None:
    """Read a member of an archive to its end, where its checksum is compared."""
    member_size(path, key)
    with open_member(path, key) as file:
        while file.read(1 << 20):
            pass


@lru_cache(maxsize=4096)  # needed in every pass over the file; the time and size notice changes
def _read_scale(path: Path, key: str, single: bool, modified: int, size: int) -> _Scale:
    """Find the range of a file's values in all its images; for bytes, the first value above 1 decides."""
    with open_member(path, key) as file:
        dtype = read_header(file)[1]
    with open_member(path, key) as file:
        items = _readable_images(_iterate_images(file, single))
        if dtype.kind == "f":
            return _Scale(255 if _is_byte_range(items) else 1, "f")
        if dtype.kind == "b" or dtype == np.uint8:
            return _Scale(255 if any(image.max() > 1 for image in items) else 1, "u1" if dtype.kind == "u" else "")
        highest = max((int(image.max()) for image in items if 0 <= image.min() <= image.max() <= 65535), default=255)
        return _Scale(1 if highest <= 1 else 255 if highest <= 255 else 65535, "", highest)


def _readable_images(images: Iterator[Numbers]) -> Iterator[Numbers]:
    """Yield the images up to where a file is cut off; whoever reads the file is told."""
    try:
        yield from images
    except Exception:  # zip and zlib each raise errors of their own
        return


def _is_byte_range(images: Iterator[Numbers]) -> bool:
    """Tell whether floating-point images have values in [0, 255]: at least half of the votes say so.

    Images that are only black and white, or have values outside both ranges, do not vote.
    """
    votes, bright = 0, False
    for image in images:
        values = _to_single(image)
        low, high = values.min(), values.max()
        if 0 <= low <= high <= 255:
            bright |= bool(high > MAX_UNIT_RANGE_VALUE)
            votes += 1 if high > MAX_UNIT_RANGE_VALUE else -1 if ((values > 0) & (values < 1)).any() else 0
    return bright and votes >= 0


def _to_single(image: Numbers) -> npt.NDArray[np.float32]:
    """Return floating-point values in single precision, where those that it does not hold are infinite."""
    with np.errstate(over="ignore"):
        return image.astype(np.float32)


def _to_labels(mask: Numbers, size: tuple[int, ...], path: Path) -> tuple[Bytes | None, str | None]:
    """Return a mask as labels of the image's size, or why it cannot be used. Truth values become black and white."""
    if mask.dtype == np.bool_:
        mask = np.where(mask, MAX_LABELS, 0)
    low, high = int(mask.min()), int(mask.max())
    if not 0 <= low <= high <= MAX_LABELS:
        return None, f"A mask in {path} holds values from {low} to {high}; labels lie in 0 to {MAX_LABELS}."
    return mask.reshape(size).astype(np.uint8), None


def _to_rgb(image: Numbers, scale: _Scale) -> Bytes:
    """Convert an image to RGB bytes.

    Args:
        image: H x W, or H x W x 1, 3 or 4.
        scale: the range and type of its values.

    Raises:
        AstSegError: its values are not colors.
    """
    white, what = scale.white, "values"
    if scale.kind == "f":
        image, what = _to_single(image), "floating-point values"  # in which 1 plus a rounding error is 1
        if not np.isfinite(image).all():
            raise AstSegError("holds non-finite values (NaN or infinity).")
    low, high = image.min(), image.max()
    if not 0 <= low <= high <= white:
        raise AstSegError(f"holds {what} from {low:g} to {high:g}; they should lie in [0, {white}].")
    if white == 65535 and scale.highest < MIN_SIXTEEN_BIT_VALUE:
        raise AstSegError(TOO_DARK_MESSAGE.format(high=f"{scale.highest:g} of {white}"))
    factor = np.float32(255 / white)
    values = convert_by_rows(image, lambda rows: np.rint(rows.astype(np.float32) * factor).astype(np.uint8))
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[-1] == 4:  # composited over white, as image files are
        colors = Image.fromarray(np.ascontiguousarray(values))
        return np.array(Image.alpha_composite(Image.new("RGBA", colors.size, WHITE), colors).convert("RGB"))
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))
