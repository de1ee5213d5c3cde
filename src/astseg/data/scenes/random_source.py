"""Random numbers that depend only on the scene that they are drawn for.

Each scene has its own stream of raw 64-bit Philox words. The key consists of the data set's name, version and seed,
the counter of the scene's index and the attempt. So scene 17 is the same whether it is drawn alone or in a batch,
first or last. Floats are computed from the words by exact operations only.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from astseg.data.scenes.vectors import Vector

Item = TypeVar("Item")

WORDS_PER_BLOCK = 256
ULP_53_BITS = 2.0**-53


class RandomSource:
    """The random stream of one attempt at one scene.

    Args:
        name: the data set's name.
        version: the data set's version; another version is another stream.
        seed: the user's seed, 0 to 2^64 - 1.
        index: the scene's index, 0 to 2^64 - 1.
        attempt: number of rejected scenes drawn before for this index.
    """

    def __init__(self, name: str, version: int, seed: int, index: int, attempt: int = 0) -> None:
        digest = hashlib.sha256(f"{name}/{version}".encode()).digest()
        key = np.array([int.from_bytes(digest[:8], "little"), seed], np.uint64)
        # Philox counts upwards in the lowest word, so streams that differ in a higher word never overlap.
        counter = np.array([0, attempt, index, 0], np.uint64)
        self._philox = np.random.Philox(key=key, counter=counter)
        self._words: list[int] = []

    def word(self) -> int:
        """Return the next raw word, 0 to 2^64 - 1."""
        if not self._words:
            self._words = self._philox.random_raw(WORDS_PER_BLOCK).tolist()[::-1]
        return self._words.pop()

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number from low (included) to high."""
        return low + (high - low) * ((self.word() >> 11) * ULP_53_BITS)

    def integer(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        # The modulo's bias is below 2^-50 for the small ranges used here.
        return low + self.word() % (high - low + 1)

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.uniform() < probability

    def choice(self, items: Sequence[Item]) -> Item:
        """Return one of the items, all equally likely."""
        return items[self.integer(0, len(items) - 1)]

    def direction(self) -> tuple[float, float]:
        """Return the cosine and sine of a uniform angle, without using either function."""
        while True:
            x, y = self.uniform(-1.0, 1.0), self.uniform(-1.0, 1.0)
            square = x * x + y * y
            if 0.01 < square <= 1:
                length = math.sqrt(square)
                return x / length, y / length

    def color(self, saturation: tuple[float, float], value: tuple[float, float]) -> Vector:
        """Return a color of uniform hue (sRGB, 0 to 1), with its saturation and value from the given ranges."""
        return hue_to_color(self.uniform(), self.uniform(*saturation), self.uniform(*value))


def hue_to_color(hue: float, saturation: float, value: float) -> Vector:
    """Convert hue, saturation and value to RGB, all from 0 to 1."""
    turn = hue * 6
    pure = (abs(turn - 3) - 1, 2 - abs(turn - 2), 2 - abs(turn - 4))
    red, green, blue = (value * (1 - saturation * (1 - min(max(part, 0.0), 1.0))) for part in pure)
    return red, green, blue
