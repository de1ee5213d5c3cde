"""Whether masks look as if something went wrong: nearly nothing is foreground, or nearly everything."""

from collections.abc import Sequence

import numpy as np

NEARLY_EMPTY = 0.005
"""Masks that cover less than this share of all pixels are worth a word."""
MUCH = 0.5
"""So is an image of which more than this is foreground..."""
OFTEN = 0.1
"""...where more than this share of the images are like that."""


def foreground_note(shares: Sequence[float], *, if_empty: str, if_full: str) -> str | None:
    """Say in two sentences that masks are nearly empty or take most of many images, and what to try.

    Args:
        shares: of each image, the share of its pixels that are foreground.
        if_empty: what to try where next to nothing is foreground.
        if_full: what to try where most of the image is.

    Returns:
        None where there is nothing to be said.

    >>> foreground_note([0.0, 0.004], if_empty="Train longer.", if_full="")
    'The masks cover only 0.2 % of the pixels. Train longer.'
    >>> foreground_note([0.02, 0.3], if_empty="", if_full="") is None
    True
    """
    if not shares:
        return None
    mean = float(np.mean(shares))
    if mean < NEARLY_EMPTY:
        return f"The masks cover only {mean:.1%} of the pixels. {if_empty}".replace("%", " %")
    full = float(np.mean(np.asarray(shares) > MUCH))
    if full > OFTEN:
        return f"In {full:.0%} of the images the mask takes more than half. {if_full}".replace("%", " %")
    return None
