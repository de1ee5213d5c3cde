"""The objects of a segmentation by numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from scipy.ndimage import find_objects
from torch import Tensor

from astseg.data.store import Bytes
from astseg.model.segmentation import Segmentation

DECIMALS = 5
"""Of all numbers that are no integers."""


def describe_objects(
    labels: Bytes, segmentation: Segmentation, slots: Mapping[int, int] | None = None
) -> list[dict[str, Any]]:
    """Describe the objects of one image by plain numbers.

    Args:
        labels: H x W, 0 is the background.
        segmentation: of this image alone, without a batch dimension.
        slots: the slot of each label, from 0 on; by default, label k is slot k - 1.

    Returns:
        For each label that owns a pixel: `label`; `box` (left, top, width and height of its pixels); `area` in pixels;
        `centroid` (x and y of the mean of its pixels, in pixels from the image's top left corner); `position` (x and y
        of the glimpse's center, which may lie outside the box because glimpses have transparent parts); `scale` (width
        and height of the glimpse as a share of the image's); `activation`; `appearance` (the vector).
    """
    height, width = labels.shape
    positions = (_to_numpy(segmentation.positions) + 1) / 2 * (width, height)
    scales, activations = _to_numpy(segmentation.scales), _to_numpy(segmentation.activations)
    appearances = _to_numpy(segmentation.appearances)
    described = []
    for label, box in enumerate(find_objects(labels), 1):
        if box is None:
            continue
        slot = label - 1 if slots is None else slots[label]
        rows, columns = box
        own = labels[box] == label
        area = int(np.count_nonzero(own))
        right, down = (np.arange(len(sums)) @ sums / area for sums in (own.sum(0), own.sum(1)))
        centroid = np.array([columns.start + right, rows.start + down]) + 0.5
        described.append(
            {
                "label": label,
                "box": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
                "area": area,
                "centroid": centroid.round(DECIMALS).tolist(),
                "position": positions[slot].round(DECIMALS).tolist(),
                "scale": scales[slot].round(DECIMALS).tolist(),
                "activation": round(float(activations[slot]), DECIMALS),
                "appearance": appearances[slot].round(DECIMALS).tolist(),
            }
        )
    return described


def _to_numpy(values: Float[Tensor, "..."]) -> npt.NDArray[np.float64]:
    return values.detach().cpu().double().numpy()
