"""Read HDF5 conversions of the multi-object data sets, with h5py.

There are two layouts. Both hold `image`, N x H x W x 3 bytes:

* the object-centric library's files (`clevr_10-full.hdf5`, `objects_room_train-full.hdf5`, `shapestacks-full.hdf5`)
  are already cropped and resized; `mask` is N x H x W x 1, the index of the entity that covers each pixel;
* direct conversions of the TFRecords; `mask` is N x E x H x W x 1, 0 or 255.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.multi_object import EntityLayout, RecordSample, sample_from_entities
from astseg.data.store import Bytes

BLOCK_SIZE = 64  # images per read; reading them one by one is slow


def count_images(path: Path | str) -> int:
    """Return the number of images in the file."""
    with _open(path) as file:
        return len(file["image"])


def read_hdf5(path: Path | str, layout: EntityLayout, size: int, start: int = 0) -> Iterator[RecordSample]:
    """Read the images of an HDF5 file from image `start` on, in the file's order.

    Raises:
        AstSegError: h5py is not installed, or the file is damaged or of another layout.
    """
    with _open(path) as file:
        images, masks = file["image"], file["mask"]
        for first in range(start, len(images), BLOCK_SIZE):
            try:
                block = images[first : first + BLOCK_SIZE], masks[first : first + BLOCK_SIZE]
            except OSError as error:
                raise AstSegError(f"{path}: cannot read the images from {first} on: {error}.") from error
            for index, (image, mask) in enumerate(zip(*block, strict=True), start=first):
                try:
                    yield _sample(image, mask, layout, size)
                except ValueError as error:
                    raise AstSegError(f"{path}: image {index} is invalid: {error}.") from error


def _open(path: Path | str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise AstSegError("Reading HDF5 files needs h5py. Install it with: pip install 'astseg[h5py]'.") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise AstSegError(f"Cannot read {path}: {error}.") from error
    found = {name: (data.shape, data.dtype) for name, data in file.items() if name in ("image", "mask")}
    image, mask = found.get("image"), found.get("mask")
    if not (image and mask and _is_valid_layout(*image, *mask)):
        file.close()
        raise AstSegError(
            f"{path} should hold 'image' (N x H x W x 3, uint8) and 'mask' (N x H x W x 1 or N x E x H x W x 1, "
            f"integers), but holds {found or 'neither'}."
        )
    return file


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
    if mask.ndim == 3:  # a label map, which is already cropped
        entities = mask[..., 0] == np.arange(max(layout.entities, int(mask.max()) + 1))[:, None, None]
        return sample_from_entities(image, entities * np.uint8(255), replace(layout, crop=None), size)
    return sample_from_entities(image, mask[..., 0].astype(np.uint8), layout, size)
