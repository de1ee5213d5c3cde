"""Formatting of values for people."""

from collections.abc import Iterable
from typing import Any


def format_duration(seconds: float) -> str:
    """Format a time in suitable units.

    >>> format_duration(7.26), format_duration(129.7), format_duration(7265)
    ('7.3 s', '2 min 10 s', '2 h 01 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_setting(value: Any) -> str:
    """Format the value of a setting.

    >>> format_setting(None), format_setting(True), format_setting((1e-3, 2))
    ('none', 'yes', '0.001, 2')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(format_setting, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def format_size(size: Iterable[int]) -> str:
    """Format the size of an image or array with x between the sides.

    >>> format_size((96, 128))
    '96x128'
    """
    return "x".join(map(str, size))
