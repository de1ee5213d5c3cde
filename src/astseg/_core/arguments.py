"""Checks of what a program hands to a function."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from astseg._core.errors import wrong_argument


def check_kind(name: str, value: object, kind: type[Any], *, optional: bool = False) -> None:
    """Raise unless an argument of a call is of a kind.

    Raises:
        TypeError: it is not.

    >>> check_kind("settings", 5, dict)
    Traceback (most recent call last):
    TypeError: settings should be a dict, not an int
    """
    if not isinstance(value, kind) and not (optional and value is None):
        article = "an" if kind.__name__[0].lower() in "aeiou" else "a"
        raise wrong_argument(f"{name} should be {article} {kind.__name__}{' or None' if optional else ''}", value)


def as_paths(name: str, value: object) -> list[Path]:
    """Return the paths that an argument of a call is, one or several.

    Raises:
        TypeError: it is none.

    >>> as_paths("places", "a") == as_paths("places", ["a"]) == [Path("a")]
    True
    >>> as_paths("places", None)
    Traceback (most recent call last):
    TypeError: places should be a path or several, not a NoneType
    """
    if isinstance(value, str | os.PathLike):
        return [Path(value)]
    if not isinstance(value, Iterable):
        raise wrong_argument(f"{name} should be a path or several", value)
    return [as_path(f"each of {name}", one) for one in value]


def as_path(name: str, value: object) -> Path:
    """Return the path that an argument of a call is.

    Raises:
        TypeError: it is none.

    >>> as_path("out", None)
    Traceback (most recent call last):
    TypeError: out should be a path, not a NoneType
    """
    if not isinstance(value, str | os.PathLike):
        raise wrong_argument(f"{name} should be a path", value)
    return Path(value)
