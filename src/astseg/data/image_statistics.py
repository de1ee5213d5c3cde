"""Telling photographs, masks and maps apart by the statistics of their pixels."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import convert_by_rows, open_image
from astseg._core.sampling import evenly_spaced

MIN_EVEN_SHARE = 0.5
"""In a mask at least this share of pixels equal their right neighbors; in a photograph hardly any do."""
MIN_STRICT_EVEN_SHARE = 0.8
MIN_LOSSY_EVEN_SHARE = 0.25
"""Likewise in a small mask that was compressed with loss; only a photograph of even surfaces has as many."""
MAX_MASK_COLORS = 64
"""A mask whose name does not say so has at most this many colors; its image has several times as many."""
MIN_COLOR_RATIO = 4
COMMON_COLOR_COVERAGE = 0.95
NUM_LOOKED_AT = 8
"""Files of a set that are looked at to refuse it."""
JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"})


class _Statistics(NamedTuple):
    """The statistics of a file's pixels."""

    size: tuple[int, int]
    even: float
    """The share of pixels that equal their right neighbors."""
    colors: int
    common: int
    """The number of most frequent colors that cover nearly all pixels."""
    deep: bool
    """Whether values have more than eight bits."""
    colored: bool
    """Whether there are other colors than greys."""


def _measure(path: Path) -> _Statistics | None:
    """Measure a file; return None if it cannot be read."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return _measure_file(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=4096)
def _measure_file(path: Path, changed: int, size: int) -> _Statistics | None:
    """Measure a file, once for each time of its last change."""
    try:
        with open_image(path) as image:
            deep = image.mode[0] in "IF"
            values = np.array(_opaque(image) if not deep else image)
    except AstSegError:
        return None
    codes = convert_by_rows(values.reshape(*values.shape[:2], -1), _to_codes)
    even = codes[:, 1:] == codes[:, :-1]
    counts = np.sort(np.unique(codes, return_counts=True)[1])[::-1]
    common = int(np.searchsorted(np.cumsum(counts), COMMON_COLOR_COVERAGE * codes.size)) + 1
    return _Statistics(
        (codes.shape[0], codes.shape[1]),
        float(even.mean()) if even.size else 1.0,
        len(counts),
        common,
        deep,
        values.ndim == 3 and bool((values != values[..., :1]).any()),
    )


def _to_codes(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return one number for each color: H x W of H x W x channels."""
    channels = values.astype(np.int64)
    return channels @ 256 ** np.arange(channels.shape[-1]) if channels.shape[-1] > 1 else channels[..., 0]


def _opaque(image: Image.Image) -> Image.Image:
    """Return the image without transparency, or only the transparency if it cuts something out."""
    if image.mode in ("P", "L", "1"):
        return image
    if image.mode in ("RGBA", "LA"):
        alpha = image.getchannel("A")
        if alpha.getextrema() == (0, 255):
            return alpha
    return image.convert("RGB")


def is_mask(file: Path) -> bool:
    """Tell whether a file whose name says that it is a mask looks like one; an unreadable file counts as a mask."""
    statistics = _measure(file)
    return statistics is None or (statistics.even >= MIN_EVEN_SHARE and statistics.common <= MAX_MASK_COLORS)


def is_strictly_mask(file: Path) -> bool:
    """Tell whether a file can only be a mask or a drawing, whatever its name."""
    statistics = None if file.suffix.lower() in JPEG_SUFFIXES else _measure(file)
    return statistics is not None and statistics.even >= MIN_STRICT_EVEN_SHARE and statistics.colors <= MAX_MASK_COLORS


def is_photograph(file: Path) -> bool:
    """Tell whether a file has more colors than any mask or simple drawing."""
    statistics = _measure(file)
    return statistics is not None and statistics.common > MAX_MASK_COLORS


def refuse_photographs(files: Sequence[Path], wanted: str) -> None:
    """Raise if most of some files, spread evenly, can only be photographs or renderings, whatever their names.

    Args:
        files: what is to be read as masks.
        wanted: what to name in their place, as the end of a sentence.

    Raises:
        AstSegError: they are.
    """
    looked_at = [files[index] for index in evenly_spaced(len(files), NUM_LOOKED_AT)]
    photographs = [file for file in looked_at if _can_be_no_mask(file)]
    if len(photographs) > len(looked_at) / 2:
        raise AstSegError(
            f"{photographs[0]} is a photograph, not a mask: it has many colors, and hardly two neighbors are alike. "
            f"Name {wanted}."
        )


def _can_be_no_mask(file: Path) -> bool:
    """Tell whether a file has more colors than masks have, and too few even areas: numbers of many cells have some."""
    statistics = _measure(file)
    if statistics is None or statistics.deep or statistics.common <= MAX_MASK_COLORS:
        return False
    if file.suffix.lower() in JPEG_SUFFIXES:
        return statistics.even < MIN_LOSSY_EVEN_SHARE
    return statistics.even < (MIN_STRICT_EVEN_SHARE if statistics.colored else MIN_EVEN_SHARE)


def is_map(file: Path) -> bool:
    """Tell whether a file may be a map, as its name says; lossy compression would spoil one."""
    return file.suffix.lower() not in JPEG_SUFFIXES


def is_deep(file: Path) -> bool:
    """Tell whether a file has more than eight bits per value, as maps of depth have."""
    statistics = _measure(file)
    return statistics is not None and statistics.deep


def is_mask_of(mask: Path, image: Path) -> bool:
    """Tell from the pixels alone whether a file is a mask of an image."""
    if mask.suffix.lower() in JPEG_SUFFIXES:  # lossy: values do not survive
        return False
    one, other = _measure(mask), _measure(image)
    if one is None or other is None or one.size != other.size:
        return False
    few = (
        one.colors <= MAX_MASK_COLORS and MIN_COLOR_RATIO * one.colors < other.colors and other.common > MIN_COLOR_RATIO
    )
    return few and one.even >= MIN_STRICT_EVEN_SHARE and other.even < MIN_STRICT_EVEN_SHARE
