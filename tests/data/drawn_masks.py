"""Masks for tests."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from astseg.data.mask_edges import RawMask
from astseg.data.masks import Labels


def grey(codes: npt.ArrayLike, kind: Literal["index", "grey", "number", "color"] = "grey") -> RawMask:
    return RawMask(np.asarray(codes, np.int64), kind)


def discs(values: tuple[int, int], size: tuple[int, int] = (96, 128)) -> tuple[Labels, Labels]:
    """Return discs with smooth edges, and with each pixel belonging to one side."""
    fine = Image.new("L", (4 * size[1], 4 * size[0]))
    draw = ImageDraw.Draw(fine)
    draw.ellipse((30, 30, 200, 210), fill=values[0])
    draw.ellipse((260, 120, 450, 330), fill=values[1])
    soft = np.array(fine.resize((size[1], size[0]), Image.Resampling.BOX))
    own = np.where(np.arange(size[1]) < size[1] // 2, *values)  # one disc is left, the other right
    return soft, np.where(2 * soft.astype(int) > own, own, 0).astype(np.uint8)
