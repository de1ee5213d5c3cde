"""What an image file looks like: a photograph, a mask, a map."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import opened_image

EVEN_SHARE = 0.5
"""In a mask more pixels than this are like their right neighbor; in a photograph hardly any are."""
STRICTLY_EVEN_SHARE = 0.8
FEW_COLORS = 64
"""A mask that no name calls one has no more values than this, and its image several times as many."""
SEVERAL_TIMES = 4
NEARLY_ALL = 0.95
JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"})


class _Look(NamedTuple):
    """What a file's pixels look like."""

    size: tuple[int, int]
    even: float
    """The share of pixels that are like their right neighbor."""
    colors: int
    common: int
    """How many of the colors it takes for nearly all pixels."""
    deep: bool
    """Whether its values have more than eight bits."""


def _look(path: Path) -> _Look | None:
    """Look at a file; None if it cannot be read."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return _look_at(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=4096)
def _look_at(path: Path, changed: int, size: int) -> _Look | None:
    """Look at a file as it was changed last, once for all questions about it."""
    try:
        with opened_image(path) as image:
            deep = image.mode[0] in "IF"
            values = np.array(_opaque(image) if not deep else image)
    except AstSegError:
        return None
    flat = values.reshape(*values.shape[:2], -1).astype(np.int64)
    codes = flat @ 256 ** np.arange(flat.shape[-1]) if flat.shape[-1] > 1 else flat[..., 0]
    even = codes[:, 1:] == codes[:, :-1]
    counts = np.sort(np.unique(codes, return_counts=True)[1])[::-1]
    common = int(np.searchsorted(np.cumsum(counts), NEARLY_ALL * codes.size)) + 1
    return _Look((flat.shape[0], flat.shape[1]), float(even.mean()) if even.size else 1.0, len(counts), common, deep)


def _opaque(image: Image.Image) -> Image.Image:
    """Return what tells whether an image is a mask: of one with a cut-out, the cut-out."""
    if image.mode in ("P", "L", "1"):
        return image
    if image.mode in ("RGBA", "LA"):
        alpha = image.getchannel("A")
        if alpha.getextrema() == (0, 255):
            return alpha
    return image.convert("RGB")


def is_mask(file: Path) -> bool:
    """Tell whether a file looks like a mask, where its name says so too; one that cannot be read is taken for one."""
    look = _look(file)
    return look is None or (look.even >= EVEN_SHARE and look.common <= FEW_COLORS)


def is_strictly_mask(file: Path) -> bool:
    """Tell whether a file can be nothing but a mask, or a drawing."""
    look = None if file.suffix.lower() in JPEG_SUFFIXES else _look(file)
    return look is not None and look.even >= STRICTLY_EVEN_SHARE and look.colors <= FEW_COLORS


def is_photograph(file: Path) -> bool:
    """Tell whether a file has more colors than any mask or simple drawing."""
    look = _look(file)
    return look is not None and look.common > FEW_COLORS


def is_map(file: Path) -> bool:
    """Tell whether a file may be a map, as its name says: lossy compression would spoil it."""
    return file.suffix.lower() not in JPEG_SUFFIXES


def is_deep(file: Path) -> bool:
    """Tell whether a file has more than eight bits, as depth has."""
    look = _look(file)
    return look is not None and look.deep


def are_twins(mask: Path, image: Path) -> bool:
    """Tell whether a file is a mask of an image, by their pixels alone."""
    if mask.suffix.lower() in JPEG_SUFFIXES:  # which keeps no values
        return False
    one, other = _look(mask), _look(image)
    if one is None or other is None or one.size != other.size:
        return False
    few = one.colors <= FEW_COLORS and SEVERAL_TIMES * one.colors < other.colors and other.common > SEVERAL_TIMES
    return few and one.even >= STRICTLY_EVEN_SHARE and other.even < STRICTLY_EVEN_SHARE
