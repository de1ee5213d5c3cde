"""Reading true masks, however a program wrote them down: palettes, grey values, colors, numbers of instances.

Nothing learns from a mask. What the numbers of a set of masks mean (which is background, which is not to be scored) is
found out once for the whole set (`choose_coding`), so that all of its masks are read alike.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import apply_exif_transpose, load_frames, open_image
from astseg.data.mask_edges import CDNET_CODES, CDNET_IGNORED, CDNET_SHADOW, Codes, RawMask, find_nearly_even, harden

Labels: TypeAlias = UInt8[np.ndarray, "height width"]

IGNORED_LABEL = 255
"""The label of pixels that are not scored, in a split that says so (`Split.ignored_label`)."""
MAX_LABEL = 255
GREY_TO_RGB = 0x010101
"""A grey value times this is its color."""
VOC_VOID_COLOR = 0xE0E0C0
"""The color of PASCAL VOC's unlabeled borders, where its palette was turned into colors."""
MIN_LARGE_LABEL = 100
"""Where all others are smaller, 255 stands for void, as in VOC and Cityscapes; no set has so many classes or objects
that it gets there by counting, and grey values that are spread out to be seen go beyond."""
MIN_CITYSCAPES_INSTANCE = 1000
"""In Cityscapes' `instanceIds` smaller numbers are stuff, and groups that nobody took apart."""

MAX_DRAWN_COLORS = 64
"""A cut-out with more colors than this shows a photograph."""
BLACK_WHITE_MARGIN = 24
"""Grey levels around black and white that smoothing and compression leave."""
MAX_OTHER_SHARE = 0.002
"""The share of pixels of other even areas that a black and white mask may have by chance."""
LOSSY_FORMATS = frozenset({"JPEG", "MPO"})


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
        void = ", ".join(_format_code(code, self.colored) for code in sorted(self.ignored))
        return f"{words}; not scored: {void}" if void else words


def read_raw_masks(path: Path | str) -> Iterator[RawMask]:
    """Read the frames of a mask file, as many as its image has; most have one.

    Raises:
        AstSegError: the file cannot be read, or its values are no labels.
    """
    path = Path(path)
    with open_image(path) as image:
        for _ in load_frames(image):
            mask = _raw(apply_exif_transpose(image))
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
    hard = [harden(mask) for mask in raw]
    if ignored is None and _is_black_and_white(raw, hard):
        return MaskCoding("halves")
    colored = any(mask.kind == "color" for mask in raw)
    if colored:
        hard = [_to_color_codes(codes, mask.kind) for codes, mask in zip(hard, raw, strict=True)]
    codes = {int(code) for mask in hard for code in np.unique(mask)}
    if colored:
        void = ignored if ignored is not None else frozenset({VOC_VOID_COLOR} & codes)
        return MaskCoding("numbered", frozenset({_background_color(hard)}), void, colored=True)
    if ignored is None:
        if codes <= CDNET_CODES and (CDNET_SHADOW in codes or (cdnet and codes & CDNET_IGNORED)):
            return MaskCoding("numbered", frozenset({0, CDNET_SHADOW}), CDNET_IGNORED)
        others = codes - {0, MAX_LABEL}
        is_void = MAX_LABEL in codes and others and max(others) < MIN_LARGE_LABEL
        ignored = frozenset({MAX_LABEL} if is_void else ())
    top = max(codes - ignored, default=0)
    if cityscapes and top >= MIN_CITYSCAPES_INSTANCE:
        return MaskCoding("numbered", frozenset(range(MIN_CITYSCAPES_INSTANCE)), ignored)
    if codes - ignored <= {0, MAX_LABEL} and top == MAX_LABEL and not ignored:
        return MaskCoding("halves")
    # A label that is what ignored pixels are called would be taken for one.
    if top > MAX_LABEL or (ignored and top == IGNORED_LABEL):
        return MaskCoding("numbered", ignored=ignored)
    return MaskCoding("labels", ignored=ignored)


def _is_black_and_white(masks: Sequence[RawMask], hard: Sequence[Codes]) -> bool:
    """Tell whether grey masks are black and white, though smoothed or compressed: no area is of another value."""
    if not masks or any(mask.kind != "grey" for mask in masks):
        return False
    if not any(mask.lossy or not np.array_equal(codes, mask.codes) for mask, codes in zip(masks, hard, strict=True)):
        return False
    others = total = 0
    for mask in masks:
        between = (mask.codes > BLACK_WHITE_MARGIN) & (mask.codes < MAX_LABEL - BLACK_WHITE_MARGIN)
        others += int((between & find_nearly_even(mask.codes[None])).sum())
        total += mask.codes.size
    return (
        max(int(mask.codes.max()) for mask in masks) >= MAX_LABEL - BLACK_WHITE_MARGIN
        and others <= MAX_OTHER_SHARE * total
    )


def _background_color(masks: Sequence[Codes]) -> int:
    """Find the color of the background: black wherever there is any, otherwise what most borders have."""
    edges = np.concatenate([np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1])) for mask in masks])
    if any((mask == 0).any() for mask in masks):
        return 0
    colors, counts = np.unique(edges, return_counts=True)
    return int(colors[counts.argmax()])


def decode_mask(mask: RawMask, coding: MaskCoding) -> Labels:
    """Read a mask as its set is to be read.

    Returns:
        H x W labels: 0 background, `IGNORED_LABEL` where the coding ignores pixels.

    Raises:
        AstSegError: there are more objects than labels.
    """
    codes = mask.codes if coding.rule == "halves" else harden(mask, coding.ignored)
    if coding.colored:
        codes = _to_color_codes(codes, mask.kind)
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


def rotate_like_image(
    labels: Labels, image: UInt8[np.ndarray, "height width 3"], turned: Image.Transpose | None
) -> Labels:
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
    return min(fits, key=lambda choice: _color_spread(choice, image)) if fits else labels


def _raw(image: Image.Image) -> RawMask:
    mode = image.mode
    if mode == "1" or (mode == "P" and _is_label_palette(image)):
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
    return len(seen) > MAX_DRAWN_COLORS or not seen.any()


def _is_label_palette(image: Image.Image) -> bool:
    """Tell palettes whose indices are labels from those that only save space: there black stands elsewhere."""
    palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    black = np.flatnonzero((palette == 0).all(1))
    used = [index for _, index in image.getcolors() or []]
    return 0 in black or not set(black.tolist()) & set(used)


def _to_color_codes(codes: Codes, kind: str) -> Codes:
    """Make colors of grey values, as an all black mask among colored ones has them."""
    return codes if kind == "color" else codes * GREY_TO_RGB


def _color_spread(labels: Labels, image: UInt8[np.ndarray, "height width 3"]) -> float:
    """Sum the squared distances of colors from the mean of their label."""
    flat, colors = labels.reshape(-1), image.reshape(-1, 3).astype(np.float64)
    counts = np.maximum(np.bincount(flat), 1)
    explained = sum((np.bincount(flat, colors[:, channel]) ** 2 / counts).sum() for channel in range(3))
    return float((colors**2).sum() - explained)


def _format_code(code: int, colored: bool) -> str:
    return f"#{code:06x}" if colored else str(code)
