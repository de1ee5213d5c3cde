"""Reading true masks, however a program wrote them down: palettes, grey values, colors, numbers of instances.

Nothing learns from a mask. What the numbers of a set of masks mean (which is background, which is not to be scored) is
found out once for the whole set (`choose_coding`), so that all of its masks are read alike.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from PIL import Image
from scipy import ndimage

from astseg._core.errors import AstSegError
from astseg._core.image_files import frames, opened_image, shown_upright

Codes: TypeAlias = Int64[np.ndarray, "height width"]
Labels: TypeAlias = UInt8[np.ndarray, "height width"]

IGNORED_LABEL = 255
"""The label of pixels that are not scored, in a split that says so (`Split.ignored_label`)."""
MAX_LABEL = 255
GREY = 0x010101
"""A grey value times this is its color."""
VOC_VOID_COLOR = 0xE0E0C0
"""The color of PASCAL VOC's unlabelled borders, where its palette was turned into colors."""
CDNET_SHADOW = 50
"""CDnet's grey value of hard shadows, which are background there."""
CDNET_IGNORED = frozenset({85, 170})
"""Outside the region of interest, and unknown motion."""
CDNET_CODES = CDNET_IGNORED | {0, CDNET_SHADOW, 255}
SMALL_LABELS = 100
"""Where all others are smaller, 255 stands for void, as in VOC and Cityscapes; no set has so many classes or objects
that it gets there by counting, and grey values that are spread out to be seen go beyond."""
CITYSCAPES_INSTANCES = 1000
"""In Cityscapes' `instanceIds` smaller numbers are stuff, and groups that nobody took apart."""
SOFT_RANGE = 16
"""Grey levels; between values nearer than this nothing was smoothed."""
SOFT_SHARE = 0.9
"""A value of which more pixels than this lie on a slope between others is no label but a smoothed edge."""
NOISY_VALUES = 16
NOISY_SHARE = 0.02
VERY_SOFT = 5
"""With so many values on slopes, a mask was smoothed as a whole or compressed with loss."""
TAIL = 12
"""Grey levels around the value of a large area that are this area's, in such a mask."""

MAX_CODES = 64
"""A cut-out with more colors than this shows a photograph."""
HALVES_MARGIN = 24
"""Grey levels around black and white that smoothing and compression leave."""
HALVES_OTHERS = 0.002
"""The share of pixels of other even areas that a black and white mask may have by chance."""
LOSSY_FORMATS = frozenset({"JPEG", "MPO"})
MIN_LOSSY_AREA = 0.002
"""The share of such a mask that even areas of one value fill, if it is more than an echo of an edge."""


class RawMask(NamedTuple):
    """A mask as its file has it."""

    codes: Codes
    """Palette indices, grey values, numbers, or colors as 0xRRGGBB; 0 where it is transparent."""
    kind: Literal["index", "grey", "number", "color"]
    lossy: bool = False
    """Its file was compressed with loss, so that values are near those that were meant."""


@dataclass(frozen=True)
class MaskCoding:
    """How the masks of a set say which pixel is whose."""

    rule: Literal["labels", "halves", "numbered"] = "labels"
    """``labels``: the codes are the labels. ``halves``: an object from half of 255 on. ``numbered``: each code of a
    mask is one object, numbered from 1 on in their order."""
    background: frozenset[int] = frozenset({0})
    """The codes of the background."""
    ignored: frozenset[int] = frozenset()
    """The codes of pixels that are not to be scored."""
    colored: bool = False
    """Codes are colors."""

    @property
    def description(self) -> str:
        """Say in words how masks are read."""
        words = {
            "labels": "their values are the labels",
            "halves": "white is an object, black is not",
            "numbered": f"each {'color' if self.colored else 'value'} of a mask is an object",
        }[self.rule]
        void = ", ".join(_shown(code, self.colored) for code in sorted(self.ignored))
        return f"{words}; not scored: {void}" if void else words


def read_raw_masks(path: Path | str) -> Iterator[RawMask]:
    """Read the frames of a mask file, as many as its image has; most have one.

    Raises:
        AstSegError: the file cannot be read, or its values are no labels.
    """
    path = Path(path)
    with opened_image(path) as image:
        for _ in frames(image):
            mask = _raw(shown_upright(image))
            yield mask._replace(lossy=image.format in LOSSY_FORMATS)


def choose_coding(
    masks: Iterable[RawMask], ignored: frozenset[int] | None = None, *, cdnet: bool = False, cityscapes: bool = False
) -> MaskCoding:
    """Find out what the codes of a set of masks mean.

    Args:
        masks: some of the set.
        ignored: the codes of pixels that are not to be scored; None to find them out.
        cdnet: the names are those of CDnet's `groundtruth/gt000001.png`.
        cityscapes: the names are those of Cityscapes' `instanceIds`.
    """
    raw = list(masks)
    if ignored is None and _in_halves(raw):
        return MaskCoding("halves")
    colored = any(mask.kind == "color" for mask in raw)
    hard = [_colored(harden(mask), mask.kind) if colored else harden(mask) for mask in raw]
    codes = {int(code) for mask in hard for code in np.unique(mask)}
    if colored:
        void = ignored if ignored is not None else frozenset({VOC_VOID_COLOR} & codes)
        return MaskCoding("numbered", frozenset({_surroundings(hard)}), void, colored=True)
    if ignored is None:
        if codes <= CDNET_CODES and (CDNET_SHADOW in codes or (cdnet and codes & CDNET_IGNORED)):
            return MaskCoding("numbered", frozenset({0, CDNET_SHADOW}), CDNET_IGNORED)
        others = codes - {0, MAX_LABEL}
        is_void = MAX_LABEL in codes and others and max(others) < SMALL_LABELS
        ignored = frozenset({MAX_LABEL} if is_void else ())
    top = max(codes - ignored, default=0)
    if cityscapes and top >= CITYSCAPES_INSTANCES:
        return MaskCoding("numbered", frozenset(range(CITYSCAPES_INSTANCES)), ignored)
    if codes - ignored <= {0, MAX_LABEL} and top == MAX_LABEL and not ignored:
        return MaskCoding("halves")
    # A label that is what ignored pixels are called would be taken for one.
    if top > MAX_LABEL or (ignored and top == IGNORED_LABEL):
        return MaskCoding("numbered", ignored=ignored)
    return MaskCoding("labels", ignored=ignored)


def _in_halves(masks: Sequence[RawMask]) -> bool:
    """Tell whether grey masks are black and white, though smoothed or compressed: no area is of another value."""
    if not masks or any(mask.kind != "grey" for mask in masks):
        return False
    if not any(mask.lossy or not np.array_equal(harden(mask), mask.codes) for mask in masks):
        return False
    others = total = 0
    for mask in masks:
        between = (mask.codes > HALVES_MARGIN) & (mask.codes < MAX_LABEL - HALVES_MARGIN)
        others += int((between & _is_nearly_even(mask.codes[None])).sum())
        total += mask.codes.size
    return max(int(mask.codes.max()) for mask in masks) >= MAX_LABEL - HALVES_MARGIN and others <= HALVES_OTHERS * total


def _surroundings(masks: Sequence[Codes]) -> int:
    """Find the color of the background: black wherever there is any, otherwise what most borders have."""
    edges = np.concatenate([np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1])) for mask in masks])
    if any((mask == 0).any() for mask in masks):
        return 0
    colors, counts = np.unique(edges, return_counts=True)
    return int(colors[counts.argmax()])


def labels_of(mask: RawMask, coding: MaskCoding) -> Labels:
    """Read a mask as its set is to be read.

    Returns:
        H x W labels: 0 background, `IGNORED_LABEL` where the coding ignores pixels.

    Raises:
        AstSegError: there are more objects than labels.
    """
    codes = mask.codes if coding.rule == "halves" else harden(mask, coding.ignored)
    if coding.colored:
        codes = _colored(codes, mask.kind)
    void = np.isin(codes, list(coding.ignored))
    empty = np.isin(codes, list(coding.background)) | void
    if coding.rule == "halves":
        labels = (codes > MAX_LABEL // 2).astype(np.int64)
    elif coding.rule == "numbered":
        labels = np.searchsorted(np.unique(codes[~empty]), codes) + 1
    else:
        labels = codes
    labels = np.where(empty, 0, labels)
    highest = int(labels.max(initial=0))
    if highest > MAX_LABEL - bool(coding.ignored):
        raise AstSegError(f"has objects up to number {highest}; {MAX_LABEL - bool(coding.ignored)} can be told apart.")
    labels[void] = IGNORED_LABEL
    return labels.astype(np.uint8)


def harden(mask: RawMask, meant: frozenset[int] = frozenset()) -> Codes:
    """Undo what smoothing and lossy compression made of a mask's edges.

    A smoothed edge runs through values that no object has. They are known by this: hardly one of their pixels is
    without a lower and a higher neighbour, and nowhere do they fill an area. Such pixels get the value, among those of
    areas nearby, that is nearest to theirs. Indices and numbers are never smoothed, and CDnet's thin rims of pixels
    that are not to be scored are no slopes.

    Args:
        mask: as its file has it.
        meant: codes that mean something, however they lie.

    Returns:
        H x W codes that areas have.
    """
    codes = mask.codes
    if mask.kind not in ("grey", "color") or min(codes.shape) < 3:
        return codes
    values, counts = np.unique(codes, return_counts=True)
    channels = _channels(codes) if mask.kind == "color" else codes[None]
    lossy = mask.lossy or _is_noisy(codes, len(values))
    even = _is_nearly_even(channels) if lossy else _is_even(codes)
    areas = _count_each(values, codes[even])
    if lossy:
        areas[areas < MIN_LOSSY_AREA * codes.size] = 0
    if areas.all() or not areas.any() or CDNET_CODES.issuperset(values.tolist()):
        return codes
    slope = _on_slope(channels)
    mostly_on_slopes = _count_each(values, codes[slope]) > SOFT_SHARE * counts
    soft = (areas == 0) & mostly_on_slopes & ~np.isin(values, list(meant))
    if not soft.any() and not lossy:
        return codes
    kept = _apart(values, areas, mask.kind) if lossy or soft.sum() >= VERY_SOFT else ~soft
    kept |= np.isin(values, list(meant))
    # Lossy compression leaves hardly a pixel of an area with the very value that most have.
    hard = _snapped(codes, values[kept], channels, mask.kind, even | mask.lossy, slope)
    return _with_lost_regions(hard, codes, values[kept], channels, mask.kind)


def upright(labels: Labels, image: UInt8[np.ndarray, "height width 3"], turned: Image.Transpose | None) -> Labels:
    """Turn a mask as the camera's rotation turned its image, unless the mask was drawn on the turned image.

    Where both would fit, that one is taken whose labels have more even colors.

    Args:
        labels: as the mask's file has them.
        image: the image as it is shown.
        turned: how the image was turned; None if it was not.
    """
    if turned is None:
        return labels
    also = np.array(Image.fromarray(labels).transpose(turned))
    fits = [choice for choice in (labels, also) if choice.shape == image.shape[:2]]
    return min(fits, key=lambda choice: _spread(choice, image)) if fits else labels


def _raw(image: Image.Image) -> RawMask:
    mode = image.mode
    if mode == "1" or (mode == "P" and _counts_from_black(image)):
        return RawMask(np.array(image).astype(np.int64), "index")
    if mode == "L":
        return RawMask(np.array(image).astype(np.int64), "grey")
    if mode.startswith(("I", "F")):
        numbers = np.array(image)
        if not np.array_equal(numbers, np.rint(numbers)) or numbers.min() < 0:
            raise AstSegError(
                f"has values from {numbers.min():g} to {numbers.max():g}; labels are whole numbers from 0."
            )
        return RawMask(numbers.astype(np.int64), "number")
    colors = np.array(image.convert("RGBA")).astype(np.int64)
    alpha = colors[..., 3]
    if alpha.min() == 0 and alpha.max() > 0 and _is_cut_out(colors[alpha > 0]):
        return RawMask(alpha, "grey")
    colors *= colors[..., 3:] > 0
    if (colors[..., 0] == colors[..., 1]).all() and (colors[..., 1] == colors[..., 2]).all():
        return RawMask(colors[..., 0], "grey")
    return RawMask(colors[..., 0] << 16 | colors[..., 1] << 8 | colors[..., 2], "color")


def _is_cut_out(visible: Int64[np.ndarray, "pixels 4"]) -> bool:
    """Tell whether it is transparency that makes an image a mask: what it shows is a photograph, or all black."""
    seen = np.unique(visible[:, :3], axis=0)
    return len(seen) > MAX_CODES or not seen.any()


def _counts_from_black(image: Image.Image) -> bool:
    """Tell palettes whose indices are labels from those that only save space: there black stands elsewhere."""
    palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    black = np.flatnonzero((palette == 0).all(1))
    used = [index for _, index in image.getcolors() or []]
    return 0 in black or not set(black.tolist()) & set(used)


def _colored(codes: Codes, kind: str) -> Codes:
    """Make colors of grey values, as an all black mask among colored ones has them."""
    return codes if kind == "color" else codes * GREY


def _channels(colors: Codes) -> Int64[np.ndarray, "3 height width"]:
    return np.stack([colors >> 16 & 255, colors >> 8 & 255, colors & 255])


def _is_even(codes: Codes) -> Bool[np.ndarray, "height width"]:
    """Find the pixels whose eight neighbours have their value; beyond the border the image goes on as it ends."""
    across = np.pad(codes[:, 1:] == codes[:, :-1], ((0, 0), (1, 1)), constant_values=True)
    rows = across[:, 1:] & across[:, :-1]
    down = np.pad(codes[1:] == codes[:-1], ((1, 1), (0, 0)), constant_values=True)
    lines = np.pad(rows, ((1, 1), (0, 0)), constant_values=True)
    even: Bool[np.ndarray, "height width"] = rows & down[1:] & down[:-1] & lines[2:] & lines[:-2]
    return even


def _is_nearly_even(channels: Int64[np.ndarray, "channels height width"]) -> Bool[np.ndarray, "height width"]:
    """Find the pixels whose eight neighbours have nearly their value."""
    size = (1, 3, 3)
    span = ndimage.maximum_filter(channels, size, mode="nearest") - ndimage.minimum_filter(
        channels, size, mode="nearest"
    )
    nearly: Bool[np.ndarray, "height width"] = (span <= TAIL).all(0)
    return nearly


def _is_noisy(codes: Codes, count: int) -> bool:
    """Tell whether a mask has the noise of lossy compression, though its file is of another kind.

    Many of its values then stand alone: no neighbour has them.
    """
    across, down = codes[:, 1:] == codes[:, :-1], codes[1:] == codes[:-1]
    like = np.zeros(codes.shape, bool)
    like[:, 1:] |= across
    like[:, :-1] |= across
    like[1:] |= down
    like[:-1] |= down
    return count > NOISY_VALUES and float((~like).mean()) > NOISY_SHARE


def _with_lost_regions(
    hard: Codes,
    codes: Codes,
    kept: Int64[np.ndarray, "kept"],
    channels: Int64[np.ndarray, "channels height width"],
    kind: str,
) -> Codes:
    """Give back regions that became background as a whole: too small, or too smooth, to have an area of their own.

    Where a region rises to at least half of what it rises to, it gets the kept value nearest to its highest.
    """
    height = channels.max(0)
    regions, count = ndimage.label(height >= SOFT_RANGE)
    objects = kept[kept > 0]
    if not count or not len(objects):
        return hard
    numbers = np.arange(1, count + 1)
    lost = numbers[ndimage.maximum(hard, regions, numbers) == 0]
    peaks = ndimage.maximum_position(height, regions, lost) if len(lost) else []
    points = _channels(objects[None])[:, 0] if kind == "color" else objects[None]
    for number, peak in zip(lost, peaks, strict=True):
        top = channels[(slice(None), *peak)]
        if top.max() < 2 * SOFT_RANGE:
            continue  # an echo of an edge
        nearest = objects[np.abs(points - top[:, None]).sum(0).argmin()]
        hard[(regions == number) & (2 * height >= top.max())] = nearest
    return hard


def _on_slope(channels: Int64[np.ndarray, "channels height width"]) -> Bool[np.ndarray, "height width"]:
    """Find the pixels that in one channel have a lower and a higher neighbour, far enough apart."""
    size = (1, 3, 3)
    low = ndimage.minimum_filter(channels, size, mode="nearest")
    high = ndimage.maximum_filter(channels, size, mode="nearest")
    steep = (low < channels) & (channels < high) & (high - low >= SOFT_RANGE)
    slope: Bool[np.ndarray, "height width"] = steep.any(0)
    return slope


def _count_each(values: Int64[np.ndarray, "values"], codes: Int64[np.ndarray, "pixels"]) -> Int64[np.ndarray, "values"]:
    return np.bincount(np.searchsorted(values, codes), minlength=len(values))


def _apart(
    values: Int64[np.ndarray, "values"], areas: Int64[np.ndarray, "values"], kind: str
) -> Bool[np.ndarray, "values"]:
    """Choose the values of the largest areas that differ by more than a tail from those chosen before."""
    points = _channels(values[None])[:, 0].T if kind == "color" else values[:, None]
    kept = np.zeros(len(values), bool)
    for index in np.argsort(-areas, kind="stable"):
        if areas[index] and (np.abs(points[kept] - points[index]).max(1) > TAIL).all():
            kept[index] = True
    return kept


def _snapped(
    codes: Codes,
    kept: Int64[np.ndarray, "kept"],
    channels: Int64[np.ndarray, "channels height width"],
    kind: str,
    even: Bool[np.ndarray, "height width"],
    slope: Bool[np.ndarray, "height width"],
) -> Codes:
    """Give each pixel of another value the kept one, among those within three pixels, that is nearest to its own.

    A slope may run through a kept value too, away from its areas: these pixels are no less between others.
    """
    stays = np.isin(codes, kept)
    near = [ndimage.maximum_filter((codes == value) & even, 7, mode="nearest") for value in kept]
    for value, here in zip(kept, near, strict=True):
        stays &= (codes != value) | here | ~slope
    nearest = ndimage.distance_transform_edt(~stays, return_distances=False, return_indices=True)
    chosen = codes[tuple(nearest)][~stays]  # where nothing kept is near, what is nearest in the plane
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


def _spread(labels: Labels, image: UInt8[np.ndarray, "height width 3"]) -> float:
    """Sum the squared distances of colors from the mean of their label."""
    flat, colors = labels.reshape(-1), image.reshape(-1, 3).astype(np.float64)
    counts = np.maximum(np.bincount(flat), 1)
    explained = sum((np.bincount(flat, colors[:, channel]) ** 2 / counts).sum() for channel in range(3))
    return float((colors**2).sum() - explained)


def _shown(code: int, colored: bool) -> str:
    return f"#{code:06x}" if colored else str(code)
