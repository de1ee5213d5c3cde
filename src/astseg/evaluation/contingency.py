"""Contingency tables: for each image, how many pixels have predicted label p and true label t."""

import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int64, Integer
from torch import Tensor

from astseg._core.errors import wrong_argument
from astseg._core.tensors import to_array

LabelMaps: TypeAlias = (
    Integer[np.ndarray, "batch height width"]
    | Integer[Tensor, "batch height width"]
    | Sequence[Integer[np.ndarray, "height width"]]
)
FlatLabels: TypeAlias = np.ndarray[Any, np.dtype[np.integer[Any]]]
Tables: TypeAlias = Int64[np.ndarray, "batch predicted true"]

MAX_SCORED_LABEL = 4095
"""Tables have a row and a column for every number up to the highest label."""
MAX_TABLES_BYTES = 1 << 30
PIXELS_PER_CHUNK = 1 << 22  # keeps the 64-bit keys of a chunk near 32 MB, whatever the number of images


def contingency_tables(predicted: LabelMaps, true: LabelMaps, ignored_label: int | None = None) -> Tables:
    """Count, for every image, the pixels with predicted label p and true label t.

    Args:
        predicted: labels, N x H x W, NumPy or torch, on any device.
        true: labels of the same shape.
        ignored_label: the true label of pixels that are not counted; None if all are.

    Returns:
        N x P x T, where P and T are one more than the highest labels of the whole batch.

    Raises:
        ValueError: the shapes differ or are not N x H x W, a type is not an integer, or a label is negative or above
            `MAX_SCORED_LABEL`; of ignored pixels, the label may be any integer.
    """
    predicted_labels, true_labels = _flat_labels(predicted), _flat_labels(true)
    check_shapes(predicted, true)
    if ignored_label is None:
        true_labels = _bounded(true_labels)
        return _count_label_pairs(_bounded(predicted_labels), true_labels, int(true_labels.max(initial=0)) + 1)
    if isinstance(ignored_label, bool) or not isinstance(ignored_label, numbers.Integral):
        raise ValueError(f"the ignored label must be an integer, not {ignored_label!r}")
    # Ignored pixels are counted in an additional column, which is cut off again.
    ignored = true_labels == ignored_label
    true_labels = _bounded(np.where(ignored, true_labels.dtype.type(0), true_labels))
    highest = int(true_labels.max(initial=0))
    true_labels[ignored] = highest + 1
    return _count_label_pairs(_bounded(predicted_labels), true_labels, highest + 2)[:, :, : highest + 1]


def _count_label_pairs(predicted_labels: FlatLabels, true_labels: FlatLabels, columns: int) -> Tables:
    """Count the pixels of each image by both of their labels; N x P x columns."""
    count, pixels = true_labels.shape
    rows = int(predicted_labels.max(initial=0)) + 1
    if (size := 8 * count * rows * columns) > MAX_TABLES_BYTES:
        raise ValueError(
            f"the tables of {count} images with up to {rows} predicted and {columns} true labels would have "
            f"{size / 1e9:.1f} GB: score fewer images at a time, or number the labels of each image from 0"
        )
    tables = np.zeros((count, rows, columns), np.int64)
    chunk_size = max(1, PIXELS_PER_CHUNK // max(1, pixels))
    for start in range(0, count, chunk_size):
        chunk = slice(start, start + chunk_size)
        keys = predicted_labels[chunk] * columns
        keys += true_labels[chunk]
        keys += np.arange(len(keys))[:, None] * (rows * columns)
        counts = np.bincount(keys.reshape(-1), minlength=len(keys) * rows * columns)
        tables[chunk] = counts.reshape(len(keys), rows, columns)
    return tables


def check_shapes(predicted: LabelMaps, true: LabelMaps) -> None:
    """Raise unless label maps are arrays of one shape.

    Raises:
        ValueError: their shapes differ.
        TypeError: these are no arrays.
    """
    for labels in (predicted, true):
        if isinstance(labels, list) and not all(hasattr(one, "shape") for one in labels):
            raise wrong_argument("labels should be an array N x H x W, or N arrays H x W", labels)
    found, wanted = tuple(np.shape(predicted)), tuple(np.shape(true))  # of lists of arrays, too
    if found != wanted:
        raise ValueError(f"predicted labels have shape {found}, true labels {wanted}")


def _flat_labels(labels: LabelMaps) -> FlatLabels:
    """Return the labels as N x (H * W) in main memory."""
    array = to_array(labels)
    if array.ndim != 3 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"labels must be integers N x H x W, not {array.dtype} of shape {array.shape}")
    return array.reshape(len(array), array.shape[1] * array.shape[2])


def _bounded(labels: FlatLabels) -> Int64[np.ndarray, "batch pixels"]:
    """Return labels of any integer type as 64-bit ones.

    Raises:
        ValueError: a label is negative or too high for a table.
    """
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if not 0 <= low <= high <= MAX_SCORED_LABEL:
        raise ValueError(
            f"labels must lie in 0 to {MAX_SCORED_LABEL}, not go from {low} to {high}: "
            "number those of each image from 0"
        )
    return labels.astype(np.int64)
