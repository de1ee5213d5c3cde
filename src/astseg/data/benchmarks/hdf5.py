"""Read HDF5 conversions of the multi-object data sets, with h5py.

There are two layouts. Both hold `image`, N x H x W x 3 bytes:

* the object-centric library's files (`clevr_10-full.hdf5`, `objects_room_train-full.hdf5`, `shapestacks-full.hdf5`)
  are already cropped and resized; `mask` is N x H x W x 1, the index of the entity that covers each pixel;
* direct conversions of the TFRecords; `mask` is N x E x H x W x 1, 0 or 255.

Only what lies in the file itself is read. HDF5 can also point elsewhere, by external storage (any local file read as
numbers), virtual data sets, and external and soft links; all of these are refused. Sizes are held against the file's
length before memory is taken.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from astseg._core.errors import AstSegError
from astseg._core.input_files import regular_size
from astseg.data.benchmarks.multi_object import EntityLayout, RecordSample, sample_from_entities
from astseg.data.benchmarks.preprocessing import prepare_image, prepare_labels
from astseg.data.store import MAX_LABELS, Bytes

BLOCK_SIZE = 64  # images per read; reading them one by one is slow
MAX_ITEM_BYTES = 1 << 26  # an image with its masks; the largest published ones have 1.1 MB
MAX_CHUNK_BYTES = 1 << 28  # HDF5 decompresses a chunk as a whole
MAX_COMPRESSION = 1032  # deflate cannot do better


def count_images(path: Path | str) -> int:
    """Return the number of images in the file.

    Raises:
        AstSegError: as `read_hdf5`.
    """
    with _open(path) as file:
        return len(file["image"])


def read_hdf5(path: Path | str, layout: EntityLayout, size: int, start: int = 0) -> Iterator[RecordSample]:
    """Read the images of an HDF5 file from image `start` on, in the file's order.

    Raises:
        AstSegError: h5py is not installed, or the file is damaged, of another layout, or points to other files.
    """
    with _open(path) as file:
        images, masks = file["image"], file["mask"]
        item = sum(math.prod(data.shape[1:]) * data.dtype.itemsize for data in (images, masks))
        step = max(1, min(BLOCK_SIZE, MAX_ITEM_BYTES // max(1, item)))
        for first in range(start, len(images), step):
            try:
                block = images[first : first + step], masks[first : first + step]
            except Exception as error:  # HDF5's errors take any type on the way through h5py
                raise AstSegError(f"{path}: cannot read the images from {first} on: {error}.") from error
            for index, (image, mask) in enumerate(zip(*block, strict=True), start=first):
                try:
                    yield _sample(image, mask, layout, size)
                except ValueError as error:
                    raise AstSegError(f"{path}: image {index} is invalid: {error}.") from error


def _open(path: Path | str) -> Any:
    """Open a file whose content was checked; it is to be closed.

    Raises:
        AstSegError: h5py is not installed, or the file cannot be read.
    """
    try:
        import h5py
    except ImportError as error:
        raise AstSegError("Reading HDF5 files needs h5py. Install it with: pip install 'astseg[h5py]'.") from error
    try:
        size = regular_size(Path(path))
        file = h5py.File(path, "r")
    except Exception as error:  # a damaged file raises errors of any type
        raise AstSegError(f"Cannot read {path}: {error}.") from error
    try:
        _check_content(file, size)
    except Exception as error:
        file.close()
        raise AstSegError(f"{path} cannot be read: {error}.") from error
    return file


def _check_content(file: Any, file_size: int) -> None:
    """Raise unless an open file holds images and masks that can be read.

    Raises:
        ValueError: one of them is missing, lies elsewhere, has another layout, or is too large.
    """
    found = {name: _own_data(file, name) for name in ("image", "mask")}
    kinds = {name: (data.shape, data.dtype) for name, data in found.items() if data is not None}
    image, mask = kinds.get("image"), kinds.get("mask")
    if not (image and mask and _is_valid_layout(*image, *mask)):
        raise ValueError(
            f"it should hold 'image' (N x H x W x 3, uint8) and 'mask' (N x H x W x 1 or N x E x H x W x 1, "
            f"integers), but holds {kinds or 'neither'}"
        )
    for name, data in found.items():
        _check_size(name, data, file_size)


def _own_data(file: Any, name: str) -> Any:
    """Return a data set that lies in the file itself; None if there is none of the name.

    Raises:
        ValueError: it is a group or the like, or its content lies elsewhere.
    """
    import h5py

    link = file.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"'{name}' is a link to elsewhere, which is not followed")
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"'{name}' should be a data set, not a {type(data).__name__.lower()}")
    if data.external or data.is_virtual:
        raise ValueError(f"the content of '{name}' lies in other files, which are not read")
    return data


def _check_size(name: str, data: Any, file_size: int) -> None:
    """Raise unless the data fit into the file and an image into memory.

    Raises:
        ValueError: they do not.
    """
    item = math.prod(data.shape[1:]) * data.dtype.itemsize
    chunk = math.prod(data.chunks or ()) * data.dtype.itemsize
    stored = data.id.get_storage_size()
    if item > MAX_ITEM_BYTES or chunk > MAX_CHUNK_BYTES:
        raise ValueError(
            f"an image of '{name}' has {item} bytes in chunks of {chunk}; at most {MAX_ITEM_BYTES} and "
            f"{MAX_CHUNK_BYTES} are read"
        )
    if stored > file_size or data.shape[0] * item > MAX_COMPRESSION * stored:
        raise ValueError(f"'{name}' claims {data.shape[0]} images of {item} bytes, more than the file can hold")


def _is_valid_layout(image: tuple[int, ...], image_type: Any, mask: tuple[int, ...], mask_type: Any) -> bool:
    return (
        len(image) == 4
        and image[3] == 3
        and image_type == np.uint8
        and mask_type.kind in "iub"
        and len(mask) in (4, 5)
        and (mask[0], *mask[-3:]) == (*image[:3], 1)
    )


def _sample(image: Bytes, mask: Any, layout: EntityLayout, size: int) -> RecordSample:
    low, high = int(mask.min()), int(mask.max())
    if not 0 <= low <= high <= MAX_LABELS:
        raise ValueError(f"its mask holds values from {low} to {high}; they should lie in 0 to {MAX_LABELS}")
    mask = mask[..., 0].astype(np.uint8)
    if mask.ndim == 3:
        return sample_from_entities(image, mask, layout, size)
    labels = np.where(mask < layout.background, 0, mask - np.uint8(layout.background - 1))  # cropped already
    return RecordSample(prepare_image(image, None, size), prepare_labels(labels.astype(np.uint8), None, size))
