"""A check for masks that look wrong: almost nothing is foreground, or too much."""

from collections.abc import Sequence

import numpy as np

MIN_FOREGROUND_SHARE = 0.005
"""Masks that cover less than this share of all pixels look empty."""
LARGE_SHARE = 0.5
"""A mask that covers more than this share of its image is large."""
MAX_LARGE_MASKS = 0.1
"""The share of large masks above which something looks wrong."""


def foreground_note(shares: Sequence[float], *, if_empty: str, if_full: str) -> str | None:
    """Return a note on masks that look wrong, with what to try, or None if they look right.

    Args:
        shares: for each image, the share of its pixels that are foreground.
        if_empty: what to try if almost nothing is foreground.
        if_full: what to try if many masks are large.

    >>> foreground_note([0.0, 0.004], if_empty="Train longer.", if_full="")
    'The masks cover only 0.2 % of the pixels. Train longer.'
    >>> foreground_note([0.02, 0.3], if_empty="", if_full="") is None
    True
    """
    if not shares:
        return None
    mean = float(np.mean(shares))
    if mean < MIN_FOREGROUND_SHARE:
        return f"The masks cover only {mean:.1%} of the pixels. {if_empty}".replace("%", " %")
    large = float(np.mean(np.asarray(shares) > LARGE_SHARE))
    if large > MAX_LARGE_MASKS:
        return f"In {large:.0%} of the images the mask takes more than half. {if_full}".replace("%", " %")
    return None
