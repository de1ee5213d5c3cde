"""Whether foreground masks, or the labels of objects, take a plausible share of the images."""

MIN_FOREGROUND_SHARE = 0.005
"""Masks that cover less than this share of all pixels look empty."""
LARGE_SHARE = 0.5
"""A mask that covers more than this share of its image is large."""
MAX_LARGE_MASKS = 0.1
"""The share of large masks above which something looks wrong."""


class ForegroundShares:
    """What masks take of their images, of any number of them.

    >>> shares = ForegroundShares()
    >>> shares.add(0.0), shares.add(0.004)
    (None, None)
    >>> shares.note(if_empty="Train longer.", if_full="")
    'The masks cover only 0.2 % of the pixels. Train longer.'
    """

    def __init__(self) -> None:
        self.images = 0
        """How many masks were added."""
        self._sum = 0.0
        self._large = 0

    def add(self, share: float) -> None:
        """Count a mask that takes this share of its image's pixels."""
        self.images += 1
        self._sum += share
        self._large += share > LARGE_SHARE

    @property
    def mean(self) -> float:
        """The mean share; NaN if there is no mask."""
        return self._sum / self.images if self.images else float("nan")

    def note(self, *, if_empty: str, if_full: str) -> str | None:
        """Return a note on masks that look wrong, with what to try, or None if they look right.

        Args:
            if_empty: what to try if almost nothing is foreground.
            if_full: what to try if many masks are large.
        """
        if self.mean < MIN_FOREGROUND_SHARE:
            return f"The masks cover only {self.mean:.1%} of the pixels. {if_empty}".replace("%", " %")
        if self._large > MAX_LARGE_MASKS * self.images:
            large = self._large / self.images
            return f"In {large:.0%} of the images the mask takes more than half. {if_full}".replace("%", " %")
        return None
