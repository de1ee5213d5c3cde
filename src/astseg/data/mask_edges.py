"""Undoing smoothing and lossy compression at the edges of masks.

A mask should have one value for each object. Programs that draw smooth edges, interpolate while resizing, or save as
JPEG add many values that belong to no object.
"""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Int64
from scipy import ndimage

Codes: TypeAlias = Int64[np.ndarray, "height width"]

CDNET_SHADOW = 50
"""CDnet's grey value for hard shadows, which are background."""
CDNET_IGNORED = frozenset({85, 170})
"""CDnet's grey values outside the region of interest, and for unknown motion."""
CDNET_CODES = CDNET_IGNORED | {0, CDNET_SHADOW, 255}
MIN_SLOPE_RANGE = 16
"""In grey levels: values that differ by less have no smoothed edge between them."""
MIN_SLOPE_SHARE = 0.9
"""A value is a smoothed edge, not a label, if more than this share of its pixels is on a slope between others."""
MAX_CLEAN_VALUES = 16
MAX_CLEAN_SHARE = 0.02
"""A mask with more values, and a larger share of pixels that equal no neighbor, has the noise of lossy compression."""
MIN_SMOOTHED_VALUES = 5
"""With at least this many values on slopes, a mask was smoothed as a whole or compressed with loss."""
LOSSY_TOLERANCE = 12
"""In grey levels: values this close to that of a large area belong to the area, in such a mask."""
MIN_LOSSY_AREA = 0.002
"""The even areas of a value fill at least this share of such a mask, if it is more than a ringing artifact."""


class RawMask(NamedTuple):
    """A mask as stored in its file."""

    codes: Codes
    """Palette indices, grey values, numbers, or colors as 0xRRGGBB; 0 where transparent."""
    kind: Literal["index", "grey", "number", "color"]
    lossy: bool = False
    """Whether the file is compressed with loss, so that values differ slightly from the intended ones."""
    white: int | None = None
    """The index of white, of a palette that holds black and white alone; None of all else."""

    def as_shown(self) -> "RawMask":
        """Return the grey values of a mask by a black and white palette; others are returned as they are."""
        return self if self.white is None else RawMask(np.where(self.codes == self.white, 255, 0), "grey", self.lossy)


def harden(mask: RawMask, protected: frozenset[int] = frozenset()) -> Codes:
    """Undo smoothing and lossy compression at the edges of a mask.

    The values of a smoothed edge are recognized by two signs: nearly all their pixels have both a lower and a higher
    neighbor, and they fill no area. Such pixels get the nearest value among those of nearby areas. Indices and numbers
    are never smoothed, and CDnet's thin borders of ignored pixels are no slopes.

    Args:
        mask: the mask as stored in its file.
        protected: codes that are kept wherever they are.

    Returns:
        H x W codes, only those of areas.
    """
    codes = mask.codes
    if mask.kind not in ("grey", "color") or min(codes.shape) < 3:
        return codes
    values, counts = np.unique(codes, return_counts=True)
    channels = _channels(codes) if mask.kind == "color" else codes[None]
    lossy = mask.lossy or _is_noisy(codes, len(values))
    even = find_nearly_even(channels) if lossy else _find_even(codes)
    areas = _count_values(values, codes[even])
    if lossy:
        areas[areas < MIN_LOSSY_AREA * codes.size] = 0
    if areas.all() or not areas.any() or CDNET_CODES.issuperset(values.tolist()):
        return codes
    slope = _find_slopes(channels)
    mostly_on_slopes = _count_values(values, codes[slope]) > MIN_SLOPE_SHARE * counts
    soft = (areas == 0) & mostly_on_slopes & ~np.isin(values, list(protected))
    if not soft.any() and not lossy:
        return codes
    kept = _distinct_values(values, areas, mask.kind) if lossy or soft.sum() >= MIN_SMOOTHED_VALUES else ~soft
    kept |= np.isin(values, list(protected))
    # After lossy compression hardly a pixel of an area has exactly the value of the area.
    hard = _snap_to_kept(codes, values[kept], channels, mask.kind, even | mask.lossy, slope)
    return _restore_lost_regions(hard, codes, values[kept], channels, mask.kind)


def _channels(colors: Codes) -> Int64[np.ndarray, "3 height width"]:
    return np.stack([colors >> 16 & 255, colors >> 8 & 255, colors & 255])


def _find_even(codes: Codes) -> Bool[np.ndarray, "height width"]:
    """Find the pixels that equal all eight neighbors; the image is extended at its border."""
    across = np.pad(codes[:, 1:] == codes[:, :-1], ((0, 0), (1, 1)), constant_values=True)
    rows = across[:, 1:] & across[:, :-1]
    down = np.pad(codes[1:] == codes[:-1], ((1, 1), (0, 0)), constant_values=True)
    lines = np.pad(rows, ((1, 1), (0, 0)), constant_values=True)
    even: Bool[np.ndarray, "height width"] = rows & down[1:] & down[:-1] & lines[2:] & lines[:-2]
    return even


def find_nearly_even(channels: Int64[np.ndarray, "channels height width"]) -> Bool[np.ndarray, "height width"]:
    """Find the pixels that nearly equal all eight neighbors."""
    size = (1, 3, 3)
    span = ndimage.maximum_filter(channels, size, mode="nearest") - ndimage.minimum_filter(
        channels, size, mode="nearest"
    )
    nearly: Bool[np.ndarray, "height width"] = (span <= LOSSY_TOLERANCE).all(0)
    return nearly


def _is_noisy(codes: Codes, count: int) -> bool:
    """Tell whether a mask in a lossless file has the noise of lossy compression: many pixels equal no neighbor."""
    across, down = codes[:, 1:] == codes[:, :-1], codes[1:] == codes[:-1]
    like = np.zeros(codes.shape, bool)
    like[:, 1:] |= across
    like[:, :-1] |= across
    like[1:] |= down
    like[:-1] |= down
    return count > MAX_CLEAN_VALUES and float((~like).mean()) > MAX_CLEAN_SHARE


def _restore_lost_regions(
    hard: Codes,
    codes: Codes,
    kept: Int64[np.ndarray, "kept"],
    channels: Int64[np.ndarray, "channels height width"],
    kind: str,
) -> Codes:
    """Restore regions that became background as a whole, because they were too small or too smooth to have an area.

    The pixels of a region with at least half of its peak get the kept value that is nearest to the peak.
    """
    height = channels.max(0)
    regions, count = ndimage.label(height >= MIN_SLOPE_RANGE)
    objects = kept[kept > 0]
    if not count or not len(objects):
        return hard
    numbers = np.arange(1, count + 1)
    lost = numbers[ndimage.maximum(hard, regions, numbers) == 0]
    peaks = ndimage.maximum_position(height, regions, lost) if len(lost) else []
    points = _channels(objects[None])[:, 0] if kind == "color" else objects[None]
    for number, peak in zip(lost, peaks, strict=True):
        top = channels[(slice(None), *peak)]
        if top.max() < 2 * MIN_SLOPE_RANGE:
            continue  # a ringing artifact
        nearest = objects[np.abs(points - top[:, None]).sum(0).argmin()]
        hard[(regions == number) & (2 * height >= top.max())] = nearest
    return hard


def _find_slopes(channels: Int64[np.ndarray, "channels height width"]) -> Bool[np.ndarray, "height width"]:
    """Find the pixels that, in one channel, have a lower and a higher neighbor which differ enough."""
    size = (1, 3, 3)
    low = ndimage.minimum_filter(channels, size, mode="nearest")
    high = ndimage.maximum_filter(channels, size, mode="nearest")
    steep = (low < channels) & (channels < high) & (high - low >= MIN_SLOPE_RANGE)
    slope: Bool[np.ndarray, "height width"] = steep.any(0)
    return slope


def _count_values(
    values: Int64[np.ndarray, "values"], codes: Int64[np.ndarray, "pixels"]
) -> Int64[np.ndarray, "values"]:
    return np.bincount(np.searchsorted(values, codes), minlength=len(values))


def _distinct_values(
    values: Int64[np.ndarray, "values"], areas: Int64[np.ndarray, "values"], kind: str
) -> Bool[np.ndarray, "values"]:
    """Choose values by decreasing area, without those within the tolerance of a value chosen before."""
    points = _channels(values[None])[:, 0].T if kind == "color" else values[:, None]
    kept = np.zeros(len(values), bool)
    for index in np.argsort(-areas, kind="stable"):
        if areas[index] and (np.abs(points[kept] - points[index]).max(1) > LOSSY_TOLERANCE).all():
            kept[index] = True
    return kept


def _snap_to_kept(
    codes: Codes,
    kept: Int64[np.ndarray, "kept"],
    channels: Int64[np.ndarray, "channels height width"],
    kind: str,
    even: Bool[np.ndarray, "height width"],
    slope: Bool[np.ndarray, "height width"],
) -> Codes:
    """Give all other pixels the kept value, of those within three pixels, that is nearest to their own.

    Pixels with a kept value that are on a slope away from its areas are on an edge between others, and change too.
    """
    stays = np.isin(codes, kept)
    near = [ndimage.maximum_filter((codes == value) & even, 7, mode="nearest") for value in kept]
    for value, here in zip(kept, near, strict=True):
        stays &= (codes != value) | here | ~slope
    nearest = ndimage.distance_transform_edt(~stays, return_distances=False, return_indices=True)
    chosen = codes[tuple(nearest)][~stays]  # without a kept value nearby: that of the nearest pixel
    own = np.stack([channel[~stays] for channel in channels])
    distance = np.full(own.shape[1], np.iinfo(np.int64).max)
    for value, here in zip(kept, near, strict=True):
        point = _channels(np.array([[value]]))[:, 0] if kind == "color" else np.array([[value]])
        off = np.abs(own - point).sum(0)
        better = here[~stays] & (off < distance)
        chosen[better], distance[better] = value, off[better]
    result = codes.copy()
    result[~stays] = chosen
    return result
