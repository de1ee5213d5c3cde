"""The foreground as one mask: precision, recall and F-measure as CDnet counts them (Wang et al., CVPRW 2014)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from astseg.evaluation.metrics import f_measure


@dataclass(frozen=True)
class ForegroundScores:
    """The scores of the pixels of all images together, from 0 to 1."""

    f_measure: float
    """The harmonic mean of precision and recall."""
    precision: float
    """The share of the found pixels that are true; 1 if none is found."""
    recall: float
    """The share of the true pixels that are found; 1 if none is true."""
    shadow_claimed: float | None
    """The share of shadow pixels, which are background, that are found; None if no shadow pixels are known."""


@dataclass
class ForegroundCounter:
    """Counts image by image."""

    both: int = 0
    found: int = 0
    true: int = 0
    shadow: int = 0
    shadow_found: int = 0

    def add(
        self,
        found: Bool[np.ndarray, "height width"],
        true: Bool[np.ndarray, "height width"],
        scored: Bool[np.ndarray, "height width"],
        shadow: Bool[np.ndarray, "height width"] | None = None,
    ) -> None:
        """Add an image, of which only some pixels are scored; `shadow` is background where it is not true."""
        self.both += int((found & true & scored).sum())
        self.found += int((found & scored).sum())
        self.true += int((true & scored).sum())
        if shadow is not None:
            shadow = shadow & scored & ~true
            self.shadow += int(shadow.sum())
            self.shadow_found += int((found & shadow).sum())

    def scores(self) -> ForegroundScores:
        """Return the scores of all images."""
        return ForegroundScores(
            f_measure(self.both, self.found - self.both, self.true - self.both),
            self.both / self.found if self.found else 1.0,
            self.both / self.true if self.true else 1.0,
            self.shadow_found / self.shadow if self.shadow else None,
        )
