"""Reading true masks in any of the usual forms: palettes, grey values, colors, numbers of instances.

Masks are never learned from. The meaning of the values (which are background, which are not scored) is decided once for
a whole set of masks (`choose_coding`), so that all are read in the same way.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int64, Integer, UInt8
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import apply_exif_transpose, convert_by_rows, load_frames, open_image
from astseg.data.mask_edges import CDNET_CODES, CDNET_IGNORED, CDNET_SHADOW, Codes, RawMask, find_nearly_even, harden
from astseg.data.store import MAX_LABELS

Labels: TypeAlias = UInt8[np.ndarray, "height width"]

IGNORED_LABEL = MAX_LABELS
"""The label of pixels that are not scored, in a split that says so (`Split.ignored_label`)."""
GREY_TO_RGB = 0x010101
"""The factor from a grey value to its color 0xRRGGBB."""
VOC_VOID_COLOR = 0xE0E0C0
"""The color of unlabeled borders in PASCAL VOC masks that were converted from palette to RGB."""
MIN_LARGE_LABEL = 100
"""If all other labels are smaller, 255 means void, as in VOC and Cityscapes: counted labels rarely get this far, and
grey values that are spread for visibility exceed it."""
MIN_CITYSCAPES_INSTANCE = 1000
"""In Cityscapes' `instanceIds`, smaller numbers are stuff and groups of objects that were not separated."""

WHITES = (MAX_LABELS, 65535)
"""Of 8 and of 16 bits."""
MAX_DRAWN_COLORS = 64
"""An image with a cut-out and more colors than this is a photograph."""
BLACK_WHITE_MARGIN = 24
"""In grey levels: how far smoothing and compression move values away from black and white."""
MAX_OTHER_SHARE = 0.002
"""The share of a black and white mask that may be even areas of other values by chance."""
LOSSY_FORMATS = frozenset({"JPEG", "MPO"})
WEB_LEVELS = range(0, 256, 51)
WEB_PALETTE = np.array(
    [(0, 0, 0)] * 10 + [(red, green, blue) for blue in WEB_LEVELS for green in WEB_LEVELS for red in WEB_LEVELS]
)
"""The colors to which Pillow's `convert("P")` reduces an image of whatever colors, the same for all."""


@dataclass(frozen=True)
class MaskCoding:
    """How the codes in a set of masks map to labels."""

    rule: Literal["labels", "halves", "numbered"] = "labels"
    """``labels``: the codes are the labels. ``halves``: codes above half of 255 are one object. ``numbered``: each code
    in a mask is an object, numbered from 1 in increasing order."""
    background: frozenset[int] = frozenset({0})
    """The codes of the background."""
    ignored: frozenset[int] = frozenset()
    """The codes of pixels that are not scored."""
    colored: bool = False
    """Whether codes are colors."""
    lossy: bool = field(default=False, compare=False)
    """Whether the masks are JPEG or the like, which loses small objects."""

    @property
    def description(self) -> str:
        """A description of how masks are read."""
        words = {
            "labels": "their values are the labels",
            "halves": "white is an object, black is not",
            "numbered": f"each {'color' if self.colored else 'value'} of a mask is an object",
        }[self.rule]
        void = ", ".join(_format_code(code, self.colored) for code in sorted(self.ignored))
        lost = "; of JPEG and the like, small objects may be lost" if self.lossy and self.rule != "halves" else ""
        return (f"{words}; not scored: {void}" if void else words) + lost


def describe_codings(codings: Iterable[MaskCoding]) -> str:
    """Describe how masks of several origins are read, each way once."""
    return "; ".join(dict.fromkeys(coding.description for coding in codings))


def read_raw_masks(path: Path | str) -> Iterator[RawMask]:
    """Read the frames of a mask file; most files have one.

    Raises:
        AstSegError: the file cannot be read, or its values are not labels.
    """
    path = Path(path)
    with open_image(path) as image:
        for _ in load_frames(image):
            mask = _decode_raw(apply_exif_transpose(image))
            yield mask._replace(lossy=image.format in LOSSY_FORMATS)


def choose_coding(
    masks: Iterable[RawMask], ignored: frozenset[int] | None = None, *, cdnet: bool = False, cityscapes: bool = False
) -> MaskCoding:
    """Decide what the codes in a set of masks mean.

    Args:
        masks: some masks of the set.
        ignored: the codes of pixels that are not scored; None to detect them.
        cdnet: whether files are named as in CDnet: `groundtruth/gt000001.png`.
        cityscapes: whether files are named like Cityscapes' `instanceIds`.
    """
    raw = list(masks)
    # A palette of black and white is no color of labels, unless masks of the set have others.
    coding = _choose_coding([mask.as_shown() for mask in raw], ignored, cdnet=cdnet, cityscapes=cityscapes)
    if coding.rule != "halves" and any(mask.white is not None for mask in raw):
        coding = _choose_coding(raw, ignored, cdnet=cdnet, cityscapes=cityscapes)
    return replace(coding, lossy=any(mask.lossy for mask in raw))


def _choose_coding(raw: list[RawMask], ignored: frozenset[int] | None, *, cdnet: bool, cityscapes: bool) -> MaskCoding:
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
        others = codes - {0, MAX_LABELS}
        is_void = MAX_LABELS in codes and others and max(others) < MIN_LARGE_LABEL
        ignored = frozenset({MAX_LABELS} if is_void else ())
    top = max(codes - ignored, default=0)
    if cityscapes and top >= MIN_CITYSCAPES_INSTANCE:
        return MaskCoding("numbered", frozenset(range(MIN_CITYSCAPES_INSTANCE)), ignored)
    if codes - ignored <= {0, top} and top in WHITES and not ignored:
        return MaskCoding("halves")
    # A label equal to that of ignored pixels would be mistaken for it.
    if top > MAX_LABELS or (ignored and top == IGNORED_LABEL):
        return MaskCoding("numbered", ignored=ignored)
    return MaskCoding("labels", ignored=ignored)


def telling_masks(masks: Iterable[RawMask], enough: int) -> Iterator[RawMask]:
    """Yield so many masks, and then those that hold more than one value, until as many of these were there.

    Where objects are rare, most masks of a set are empty and tell nothing of the others.
    """
    telling = 0
    for place, mask in enumerate(masks):
        tells = bool((mask.codes != mask.codes.flat[0]).any())
        telling += tells
        if tells or place < enough:
            yield mask
        if telling == enough:
            return


def _is_black_and_white(masks: Sequence[RawMask], hard: Sequence[Codes]) -> bool:
    """Tell whether smoothed or compressed grey masks are black and white: no even area has another value."""
    if not masks or any(mask.kind != "grey" for mask in masks):
        return False
    if not any(mask.lossy or not np.array_equal(codes, mask.codes) for mask, codes in zip(masks, hard, strict=True)):
        return False
    others = total = 0
    for mask in masks:
        between = (mask.codes > BLACK_WHITE_MARGIN) & (mask.codes < MAX_LABELS - BLACK_WHITE_MARGIN)
        others += int((between & find_nearly_even(mask.codes[None])).sum())
        total += mask.codes.size
    return (
        max(int(mask.codes.max()) for mask in masks) >= MAX_LABELS - BLACK_WHITE_MARGIN
        and others <= MAX_OTHER_SHARE * total
    )


def _background_color(masks: Sequence[Codes]) -> int:
    """Return the color of the background: black if any mask has it, otherwise the most frequent color at borders."""
    edges = np.concatenate([np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1])) for mask in masks])
    if any((mask == 0).any() for mask in masks):
        return 0
    colors, counts = np.unique(edges, return_counts=True)
    return int(colors[counts.argmax()])


def decode_mask(mask: RawMask, coding: MaskCoding) -> Labels:
    """Convert the codes of a mask to labels.

    Returns:
        H x W labels: 0 background, `IGNORED_LABEL` where the coding ignores pixels.

    Raises:
        AstSegError: there are more objects than labels.
    """
    codes = mask.as_shown().codes if coding.rule == "halves" else harden(mask, coding.ignored)
    if coding.colored:
        codes = _to_color_codes(codes, mask.kind)
    void = np.isin(codes, list(coding.ignored))
    empty = np.isin(codes, list(coding.background)) | void
    if coding.rule == "halves":
        labels = (codes > MAX_LABELS // 2).astype(np.int64)
    elif coding.rule == "numbered":
        labels = np.searchsorted(np.unique(codes[~empty]), codes) + 1
    else:
        labels = codes
    labels = np.where(empty, 0, labels)
    highest = int(labels.max(initial=0))
    if highest > MAX_LABELS - bool(coding.ignored):
        raise AstSegError(
            f"has objects up to number {highest}; at most {MAX_LABELS - bool(coding.ignored)} are possible."
        )
    labels[void] = IGNORED_LABEL
    return labels.astype(np.uint8)


def share_ignored_label(labels: Labels, own: int | None, common: int) -> Labels:
    """Return labels whose pixels that are not scored have a label that several sets of masks have for these.

    An object of that label gets the largest one that is free.

    Args:
        labels: the labels.
        own: the label of pixels that are not scored; None if all are.
        common: the one that they get.

    Raises:
        AstSegError: an object has the common label, and no other is free.
    """
    if own == common or not np.isin(labels, [common] if own is None else [common, own]).any():
        return labels
    free = np.setdiff1d(np.arange(1, MAX_LABELS + 1), [*np.unique(labels), common])
    objects = labels == common
    if objects.any() and not free.size:
        raise AstSegError(
            f"has {MAX_LABELS} objects; beside masks that ignore pixels at most {MAX_LABELS - 1} are possible."
        )
    shared = np.where(objects, free[-1] if free.size else 0, labels).astype(np.uint8)
    if own is not None:
        shared[labels == own] = common
    return shared


def rotate_like_image(
    labels: Labels, image: UInt8[np.ndarray, "height width 3"], turned: Image.Transpose | None
) -> Labels:
    """Apply the camera's rotation of an image to its mask, unless the mask was drawn on the rotated image.

    Args:
        labels: the labels as stored in the mask's file.
        image: the image as shown.
        turned: how the image was transposed; None if it was not.
    """
    if turned is None or not lies_as_stored(labels, image, turned):
        return labels
    return transposed(labels, turned)


def lies_as_stored(
    labels: Integer[np.ndarray, "rows columns"], image: UInt8[np.ndarray, "height width 3"], turned: Image.Transpose
) -> bool:
    """Tell whether labels lie as an image is stored, not as it is shown.

    If both fit, the colors within labels tell, which vary less where these lie.
    """
    also = transposed(labels, turned)
    fits = [choice for choice in (labels, also) if choice.shape == image.shape[:2]]
    return bool(fits) and min(fits, key=lambda choice: _color_spread(choice, image)) is also


def transposed(array: Integer[np.ndarray, "rows columns"], turned: Image.Transpose) -> Integer[np.ndarray, "_ _"]:
    """Return the values of pixels as an image is shown that is transposed."""
    small = array if array.dtype == np.uint8 else array.astype(np.int32)  # of Pillow's modes
    return np.array(Image.fromarray(small).transpose(turned))


def _decode_raw(image: Image.Image) -> RawMask:
    mode = image.mode
    if mode == "1":
        return RawMask(np.array(image.convert("L")).astype(np.int64), "grey")
    if mode == "P" and _is_label_palette(image):
        return RawMask(np.array(image).astype(np.int64), "index", white=_white_index(image))
    if mode == "L":
        return RawMask(np.array(image).astype(np.int64), "grey")
    if mode.startswith(("I", "F")):
        numbers = np.array(image)
        if not np.array_equal(numbers, np.rint(numbers)) or numbers.min() < 0:
            raise AstSegError(f"has values from {numbers.min():g} to {numbers.max():g}; labels are integers from 0 on.")
        return RawMask(numbers.astype(np.int64), "number")
    colors = np.array(image.convert("RGBA"))
    alpha = colors[..., 3]
    codes = convert_by_rows(colors, lambda rows: rows[..., :3].astype(np.int64) @ (1 << 16, 1 << 8, 1))
    if alpha.min() == 0 and alpha.max() > 0 and _is_cut_out(codes[alpha > 0]):
        return RawMask(alpha.astype(np.int64), "grey")
    codes *= alpha > 0
    greys = codes & 0xFF
    return RawMask(greys, "grey") if np.array_equal(codes, greys * GREY_TO_RGB) else RawMask(codes, "color")


def _is_cut_out(visible: Int64[np.ndarray, " pixels"]) -> bool:
    """Tell whether the transparency of an image is the mask: the visible part is a photograph or all black."""
    seen = np.unique(visible)
    return len(seen) > MAX_DRAWN_COLORS or not seen.any()


def _is_label_palette(image: Image.Image) -> bool:
    """Tell whether the indices of a palette are labels.

    In palettes that only save space, black has another index, but for that of Pillow.
    """
    palette, used = _read_palette(image)
    if np.array_equal(palette[: len(WEB_PALETTE)], WEB_PALETTE) and not palette[len(WEB_PALETTE) :].any():
        return False
    black = np.flatnonzero((palette == 0).all(1))
    return 0 in black or not used & set(black.tolist())


def _white_index(image: Image.Image) -> int | None:
    """Return the index of white if a palette holds black and white alone, and an image no color by two indices."""
    palette, used = _read_palette(image)
    white, black = ((palette == level).all(1) for level in (MAX_LABELS, 0))
    whites, blacks = (used.intersection(np.flatnonzero(level).tolist()) for level in (white, black))
    if not white.any() or not (white | black).all() or len(whites) > 1 or len(blacks) > 1:
        return None
    return next(iter(whites), int(white.argmax()))


def _read_palette(image: Image.Image) -> tuple[Int64[np.ndarray, "colors 3"], set[int]]:
    """Return the colors of a palette, and which of them an image uses."""
    palette = np.array(image.getpalette("RGB") or [0, 0, 0], np.int64).reshape(-1, 3)
    return palette, {index for _, index in image.getcolors() or [] if isinstance(index, int)}


def _to_color_codes(codes: Codes, kind: str) -> Codes:
    """Convert grey values to colors, for instance those of an all black mask among colored ones."""
    return codes if kind == "color" else codes * GREY_TO_RGB


def _color_spread(labels: Labels, image: UInt8[np.ndarray, "height width 3"]) -> float:
    """Sum the squared distances of colors from the mean color of their label."""
    flat, colors = labels.reshape(-1), image.reshape(-1, 3).astype(np.float64)
    counts = np.maximum(np.bincount(flat), 1)
    explained = sum((np.bincount(flat, colors[:, channel]) ** 2 / counts).sum() for channel in range(3))
    return float((colors**2).sum() - explained)


def _format_code(code: int, colored: bool) -> str:
    return f"#{code:06x}" if colored else str(code)
