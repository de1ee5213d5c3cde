"""Types of the callbacks that report progress."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called after each piece of work with the amount done and, where known, the total."""

NamedProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with the name of the work, the amount done, and the total."""

ByteProgress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with a file's name, its bytes that have come, and all of them where the number is known."""
