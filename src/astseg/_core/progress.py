"""How long work tells how far it is."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int | None], None]
"""Told after each piece of work how much is done and, where known, how much there is."""

NamedProgress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being worked on, how much of it is done, and how much there is."""
