"""Values as text for people."""

from typing import Any


def format_duration(seconds: float) -> str:
    """Return a time in suitable units.

    >>> format_duration(7.26), format_duration(129.7), format_duration(7265)
    ('7.3 s', '2 min 10 s', '2 h 01 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_value(value: Any) -> str:
    """Return a setting, or the shape of an image or array, as text.

    >>> format_value(None), format_value(True), format_value(1e-3), format_value((96, 128))
    ('none', 'yes', '0.001', '96x128')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "x".join(map(format_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
