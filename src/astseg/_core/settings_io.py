"""Conversion of settings dataclasses to and from the builtin types of JSON, with checks of names and types."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from astseg._core.input_files import parse_json

Settings = TypeVar("Settings")

_KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a word",
    "array": "a list",
    "object": "a group of settings",
    "null": "null",
}
"""What the types of JSON are called in errors."""
_WRONG_KIND = re.compile(r"Expected `(?P<wanted>[a-z| ]+)`, got `(?P<found>[a-z]+)`(?: - at `\$\.?(?P<place>.+)`)?")


def to_builtins(settings: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, and of nested ones, as builtin types."""
    return asdict(settings)


def from_builtins(kind: type[Settings], content: Any) -> Settings:
    """Make a dataclass from the values that ``to_builtins`` returned.

    Raises:
        ValueError: a name is unknown or missing, a value has the wrong type or is not finite, or the dataclass
            refuses it.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Size:
    ...     sides: tuple[int, int] = (1, 1)
    >>> from_builtins(Size, {"sides": [3, 4]})
    Size(sides=(3, 4))
    """
    for problem in _problems(kind, content, kind.__name__):
        raise ValueError(problem)
    try:
        return msgspec.convert(content, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise ValueError(_in_words(str(error), kind.__name__)) from error


def check_numbers(settings: Any) -> None:
    """Raise unless a dataclass has whole numbers where it says ``int``, and finite ones where it says ``float``.

    For settings made by a program: those of files are checked by ``from_builtins``.

    Raises:
        ValueError: another value is there, such as NaN or half a step.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value, kinds = getattr(settings, field.name), (hints[field.name], *get_args(hints[field.name]))
        values = value if isinstance(value, tuple | list) else (value,)  # the hub library makes lists of tuples
        if float in kinds or int in kinds:
            wanted, words = (Real, "a finite number") if float in kinds else (Integral, "a whole number")
            for one in values:
                known = isinstance(one, wanted) and not isinstance(one, bool) and math.isfinite(one)
                if not known and not (one is None and type(None) in kinds):
                    raise ValueError(f"{field.name} should be {words}, not {one!r}")


def override(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return settings with some of their values changed.

    Args:
        settings: a dataclass.
        changes: the new values by name, with dots between the names of nested settings:
            ``foreground.entropy_weight``.

    Raises:
        ValueError: as for ``from_builtins``, or a name with a dot refers to a value that is not a group of settings.
    """
    content = to_builtins(settings)
    for name, value in changes.items():
        *groups, last = name.split(".")
        place = content
        for depth, group in enumerate(groups, 1):
            _check_known(group, place, ".".join(groups[: depth - 1]) or "the settings")
            if not isinstance(place[group], dict):
                raise ValueError(f"'{'.'.join(groups[:depth])}' is {place[group]!r} here, not a group of settings")
            place = place[group]
        _check_known(last, place, ".".join(groups) or "the settings")
        place[last] = value
    return from_builtins(type(settings), content)


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested settings by their names with dots between the groups, as ``override`` takes them.

    >>> flatten({"seed": 3, "foreground": {"steps": 90}})
    {'seed': 3, 'foreground.steps': 90}
    """
    values: dict[str, Any] = {}
    for name, value in settings.items():
        values |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return values


def parse_change(text: str) -> tuple[str, Any]:
    """Parse ``NAME=VALUE``, where the value is JSON or else plain text.

    Raises:
        ValueError: the text has another form.

    >>> parse_change("foreground.steps=300"), parse_change("architecture.refinement=none")
    (('foreground.steps', 300), ('architecture.refinement', 'none'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"a change looks like foreground.entropy_weight=1e-3, not '{text}'")
    try:
        return name, parse_json(value)
    except ValueError:
        return name, value


def _in_words(problem: str, whole: str) -> str:
    """Return what is wrong with a type, as msgspec says it, in the words of the other errors.

    >>> _in_words("Expected `int | null`, got `str` - at `$.foreground.steps`", "Recipe")
    'foreground.steps should be a whole number or null, not a word'
    """
    wrong = _WRONG_KIND.fullmatch(problem)
    if wrong is None:
        return problem
    wanted = " or ".join(_KINDS[kind] for kind in wrong["wanted"].split(" | "))
    return f"{wrong['place'] or whole} should be {wanted}, not {_KINDS[wrong['found']]}"


def _check_known(name: str, known: Mapping[str, Any], where: str) -> None:
    if name not in known:
        nearest = difflib.get_close_matches(name, known, 1, 0.0)[0]
        raise ValueError(f"{where}: there is no {name!r}; the nearest is '{nearest}'")


def _problems(kind: Any, content: Any, where: str) -> Iterator[str]:
    """Find unknown names and choices, which may be misspelled, and numbers that are not finite."""
    if isinstance(content, float) and not math.isfinite(content):
        yield f"{where} should be a finite number, not {content}"
    elif isinstance(content, list | tuple):
        for item in content:
            yield from _problems(None, item, where)
    elif get_origin(kind) is Mapping and isinstance(content, Mapping):
        for name, item in content.items():
            yield from _problems(get_args(kind)[1], item, f"{where}.{name}")
        return
    options = (kind, *get_args(kind))
    words = [word for option in options if get_origin(option) is Literal for word in get_args(option)]
    if words and isinstance(content, str) and content not in words:
        yield f"{where} should be one of {', '.join(map(str, words))}, not {content!r}"
    group = next((option for option in options if isinstance(option, type) and is_dataclass(option)), None)
    if group is not None and isinstance(content, Mapping):
        hints = get_type_hints(group)
        known = {field.name: field for field in fields(group)}
        for name, value in content.items():
            try:
                _check_known(name, known, where)
            except ValueError as error:
                yield str(error)
            else:
                yield from _problems(hints[name], value, f"{where}.{name}")
