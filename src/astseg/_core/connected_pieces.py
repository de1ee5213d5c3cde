"""The connected pieces of a mask."""

import numpy as np
from jaxtyping import Bool, Int32
from scipy import ndimage

TOUCHING = np.ones((3, 3), bool)
"""A pixel touches those at its sides and at its corners."""


def connected_pieces(mask: Bool[np.ndarray, "height width"]) -> Int32[np.ndarray, "height width"]:
    """Number the pieces of a mask from 1 on; pixels that touch, also by corners, are of one.

    >>> connected_pieces(np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool)).tolist()
    [[1, 0, 0, 2], [0, 1, 0, 2]]
    """
    pieces: Int32[np.ndarray, "height width"] = ndimage.label(mask, TOUCHING)[0]
    return pieces
