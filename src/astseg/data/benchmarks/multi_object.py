"""Read CLEVR with masks and ObjectsRoom from the multi-object datasets' TFRecords.

A record holds an image and one mask per entity. The data sets differ in image size, crop and number of leading
background entities: one in CLEVR, four in ObjectsRoom (sky, floor and two halves of the wall). If only one half of
the wall is in view, the fourth entity may be an object, which the published rule takes for background.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.preprocessing import labels_from_entities, prepare_image, prepare_labels, square_crop
from astseg.data.benchmarks.tfrecord import TFRecordFile, Values, parse_example
from astseg.data.store import Bytes


@dataclass(frozen=True)
class EntityLayout:
    """Layout and preprocessing of a data set with entity masks."""

    height: int
    """Height of the published image in pixels."""
    width: int
    crop: int | None
    """Side of the center crop in pixels; None keeps the whole image."""
    background: int
    """Number of leading entities that are background."""
    entities: int
    """Number of entities in a record of the training file, including the background."""


@dataclass(frozen=True)
class RecordSample:
    """One prepared image."""

    image: Bytes
    """size x size x 3, RGB."""
    labels: Bytes
    """size x size, 0 is the background."""


CLEVR = EntityLayout(height=240, width=320, crop=192, background=1, entities=11)
OBJECTS_ROOM = EntityLayout(height=64, width=64, crop=None, background=4, entities=7)


def read_records(path: Path | str, layout: EntityLayout, size: int, start: int = 0) -> Iterator[RecordSample]:
    """Read the images of a TFRecord file from record `start` on, in the file's order.

    Raises:
        AstSegError: the file is damaged, or its records are not of this layout.
    """
    with TFRecordFile(path) as records:
        records.skip(start)
        for message in records:
            try:
                yield sample_from_features(parse_example(message, ("image", "mask")), layout, size)
            except ValueError as error:
                raise AstSegError(
                    f"{path}: record {records.position - 1} is invalid: {error}. Is the file of another data set?"
                ) from error


def sample_from_features(features: dict[str, Values], layout: EntityLayout, size: int) -> RecordSample:
    """Prepare one record's `image` (H x W x 3 bytes) and `mask` (E x H x W bytes of 0 and 255).

    Raises:
        ValueError: a feature is missing or has the wrong number of values.
    """
    pixels = layout.height * layout.width
    image, mask = (features.get(name, np.zeros(0, np.uint8)) for name in ("image", "mask"))
    if image.size != 3 * pixels or not mask.size or mask.size % pixels:
        raise ValueError(
            f"expected {3 * pixels} values in 'image' and a multiple of {pixels} in 'mask', "
            f"but found {image.size} and {mask.size}"
        )
    shape = (layout.height, layout.width)
    return sample_from_entities(image.reshape(*shape, 3), mask.reshape(-1, *shape), layout, size)


def sample_from_entities(image: Bytes, entities: Bytes, layout: EntityLayout, size: int) -> RecordSample:
    """Prepare an H x W x 3 image and its E x H x W entity masks (0 outside, 255 inside)."""
    entities = np.ascontiguousarray(square_crop(entities, layout.crop, axis=1))
    labels = labels_from_entities(entities, layout.background)
    return RecordSample(prepare_image(image, layout.crop, size), prepare_labels(labels, None, size))
