"""Conversion of settings dataclasses to and from the builtin types of JSON, with checks of names and types."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from numbers import Integral, Real
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from astseg._core.errors import wrong_argument
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
SMALLEST_NUMBER, LARGEST_NUMBER = 1.2e-38, 1e18
"""Of settings that may be fractions: single precision holds both, and the square of the latter, as optimizers need."""
LARGEST_WHOLE_NUMBER = 2**31 - 1

_PLACE = re.compile(r"(?P<problem>.*) - at `\$\.?(?P<place>[^`]+)`", re.DOTALL)
_OF_A_SETTING = re.compile(r"\w+ should ")
_WRONG_KIND = re.compile(r"Expected `(?P<wanted>[a-z| ]+)`, got `(?P<found>[a-z]+)`(?: - at `\$\.?(?P<place>.+)`)?")
_WRONG_LENGTH = re.compile(
    r"Expected `array` of length (?P<wanted>\d+), got (?P<found>\d+)(?: - at `\$\.?(?P<place>.+)`)?"
)


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
    for problem in _problems(kind, content, ""):
        raise ValueError(problem)
    try:
        return msgspec.convert(content, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise ValueError(_in_words(str(error), kind.__name__)) from error


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have.

    >>> str(Range(1)), str(Range(1, 254)), str(Range(above=0)), str(Range(0, below=1))
    ('at least 1', 'between 1 and 254', 'above 0', 'at least 0 and below 1')
    """

    at_least: float | None = None
    at_most: float | None = None
    """None for the largest number that can be computed with."""
    above: float | None = None
    below: float | None = None

    def holds(self, number: float) -> bool:
        """Tell whether a number lies in the range."""
        return (
            (self.at_least is None or number >= self.at_least)
            and (self.at_most is None or number <= self.at_most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        """Return the range as it stands behind "should be"."""
        if self.at_least is not None and self.at_most is not None:
            return f"between {self.at_least} and {self.at_most}"
        limits = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        return " and ".join(f"{words} {limit}" for words, limit in limits.items() if limit is not None)


COUNT = Range(1)
"""Of what there must be some of, such as steps."""
NOT_NEGATIVE = Range(0)
POSITIVE = Range(above=0)
SHARE = Range(0, 1)
SIZE = Range(1, 2**16)
"""Of images' sides and networks' layers: more than a machine has room for, and yet not too much to compute the room."""
REPETITIONS = Range(1, 16)
"""Of what takes its time anew with each, and of which two or three are enough."""
SEED = Range(0, 2**64 - 1)
"""Of torch's random generators."""


def check_values(settings: Any, **ranges: Range) -> None:
    """Raise unless a dataclass has whole numbers at ``int``, finite ones at ``float``, and so on for each kind.

    For settings made by a program, and for what can be computed with; the types of those in files are checked by
    ``from_builtins``.

    Args:
        settings: the dataclass.
        ranges: by the name of a setting, the range of its number, or of each of its numbers.

    Raises:
        ValueError: another value is there, such as NaN, half a step or a negative size. The message begins with the
            setting's name.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value, kinds = getattr(settings, field.name), (hints[field.name], *get_args(hints[field.name]))
        if value is None and NoneType in kinds:
            continue
        if bool in kinds and not isinstance(value, bool):
            raise ValueError(f"{field.name} should be True or False, not {value!r:.80}")
        if str in kinds and not isinstance(value, str):
            raise ValueError(f"{field.name} should be a word, not {value!r:.80}")
        groups = [kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)]
        if groups and not isinstance(value, tuple(groups)):
            raise ValueError(f"{field.name} should be {groups[0].__name__}(...), not {value!r:.80}")
        several = isinstance(value, tuple | list)  # the hub library makes lists of tuples
        if float in kinds or int in kinds:
            for one in value if several else (value,):
                wanted = _wanted_number(one, ranges.get(field.name, Range()), whole=float not in kinds)
                if wanted and not (one is None and type(None) in kinds):
                    raise ValueError(f"{field.name} should {'each be' if several else 'be'} {wanted}, not {one!r}")


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raise unless a setting is one of the words of a ``Literal``.

    Raises:
        ValueError: it is not.

    >>> check_choice("scenario", "both", Literal["curriculum", "baseline"])
    Traceback (most recent call last):
    ValueError: scenario should be one of curriculum, baseline, not 'both'
    """
    if value not in get_args(choices):
        raise ValueError(f"{name} should be one of {', '.join(map(str, get_args(choices)))}, not {value!r:.80}")


def check_whole_number(name: str, value: Any, allowed: Range) -> None:
    """Raise unless an argument of a call is a whole number of a range.

    Raises:
        ValueError: it is not.

    >>> check_whole_number("seed", -1, SEED)
    Traceback (most recent call last):
    ValueError: seed should be between 0 and 18446744073709551615, not -1
    """
    if wanted := _wanted_number(value, allowed, whole=True):
        raise ValueError(f"{name} should be {wanted}, not {value!r}")


def _wanted_number(value: Any, allowed: Range, *, whole: bool) -> str:
    """Return what stands behind "should be" for a value that is not as it should be; empty if it is."""
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if not is_number or not abs(value) < math.inf:
        return "a whole number" if whole else "a finite number"
    largest = LARGEST_WHOLE_NUMBER if whole else LARGEST_NUMBER
    if not allowed.holds(value):
        return str(allowed)
    if allowed.at_most is None and abs(value) > largest:
        return f"at most {largest}" if value > 0 else f"at least {-largest}"
    if not whole and 0 < abs(value) < SMALLEST_NUMBER:
        zero = "0, or " if allowed.holds(0) else ""
        return f"{zero}a number that single precision holds (from {SMALLEST_NUMBER} on)"
    return ""


def override(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return settings with some of their values changed.

    Args:
        settings: a dataclass.
        changes: the new values by name, with dots between the names of nested settings:
            ``foreground.entropy_weight``.

    Raises:
        ValueError: as for ``from_builtins``, or a name with a dot refers to a value that is not a group of settings.
        TypeError: these are no settings, or no changes by their names.
    """
    if not is_dataclass(settings) or isinstance(settings, type):
        raise wrong_argument("override takes settings, such as a Recipe", settings)
    if not isinstance(changes, Mapping) or not all(isinstance(name, str) for name in changes):
        raise wrong_argument("override takes changes by their names, such as {'foreground.steps': 9}", changes)
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


def differing_settings(*groups: object) -> dict[str, list[Any]]:
    """Return, by name, the values of each setting that not all of some dataclasses share.

    A setting that one of them lacks, because a group of it is None, is None there.
    """
    flat = [flatten(to_builtins(group)) for group in groups]
    values = {name: [one.get(name) for one in flat] for one in flat for name in one}
    return {name: own for name, own in values.items() if any(value != own[0] for value in own)}


def parse_change(text: str) -> tuple[str, Any]:
    """Parse ``NAME=VALUE``, where the value is JSON or else plain text.

    Raises:
        ValueError: the text has another form.

    >>> parse_change("foreground.steps=300"), parse_change("architecture.refinement=none")
    (('foreground.steps', 300), ('architecture.refinement', 'none'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"a change looks like NAME=VALUE, not '{text}'")
    try:
        return name, parse_json(value)
    except ValueError:
        return name, value


def _in_words(problem: str, whole: str) -> str:
    """Return what is wrong with a type, as msgspec says it, in the words of the other errors.

    >>> _in_words("Expected `int | null`, got `str` - at `$.foreground.steps`", "Recipe")
    'foreground.steps should be a whole number or null, not a word'
    >>> _in_words("steps should be at least 1, not 0 - at `$.foreground`", "Recipe")
    'foreground.steps should be at least 1, not 0'
    >>> _in_words("Expected `array` of length 2, got 3 - at `$.architecture.image_size`", "Recipe")
    'architecture.image_size should be a list of length 2, not 3'
    """
    if length := _WRONG_LENGTH.fullmatch(problem):
        return f"{length['place'] or whole} should be a list of length {length['wanted']}, not {length['found']}"
    wrong = _WRONG_KIND.fullmatch(problem)
    if wrong is None:
        refused = _PLACE.fullmatch(problem)
        if refused is None:
            return problem
        between = "." if _OF_A_SETTING.match(refused["problem"]) else ": "
        return f"{refused['place']}{between}{refused['problem']}"
    wanted = " or ".join(_KINDS[kind] for kind in wrong["wanted"].split(" | "))
    return f"{wrong['place'] or whole} should be {wanted}, not {_KINDS[wrong['found']]}"


def _check_known(name: str, known: Mapping[str, Any], where: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        instead = f"the nearest is '{near[0]}'" if near else f"there are {', '.join(known)}"
        raise ValueError(f"{where}: there is no {name!r}; {instead}")


def _problems(kind: Any, content: Any, where: str) -> Iterator[str]:
    """Find unknown names and choices, which may be misspelled, and numbers that are not finite or no numbers.

    Args:
        kind: the type that the content should have.
        content: builtin types.
        where: the content's name, with dots between the groups; empty for the whole.
    """
    options = (kind, *get_args(kind))
    inside = f"{where}." if where else ""
    numeric = get_origin(kind) is not tuple and not {int, float}.isdisjoint(options)
    if isinstance(content, str) and numeric and str not in options:
        wanted = "a finite number" if float in options else "a whole number"
        yield f"{where} should be {wanted}{' or null' if NoneType in options else ''}, not {content!r}"
    elif isinstance(content, float) and not math.isfinite(content):
        yield f"{where} should be a finite number, not {content}"
    elif isinstance(content, list | tuple):
        for item in content:
            yield from _problems(None, item, where)
    elif get_origin(kind) is Mapping and isinstance(content, Mapping):
        for name, item in content.items():
            yield from _problems(get_args(kind)[1], item, f"{inside}{name}")
        return
    words = [word for option in options if get_origin(option) is Literal for word in get_args(option)]
    if words and str not in options and isinstance(content, str) and content not in words:
        yield f"{where} should be one of {', '.join(map(str, words))}, not {content!r}"
    group = next((option for option in options if isinstance(option, type) and is_dataclass(option)), None)
    if group is not None and isinstance(content, Mapping):
        hints = get_type_hints(group)
        known = {field.name: field for field in fields(group)}
        for name, value in content.items():
            try:
                _check_known(name, known, where or group.__name__)
            except ValueError as error:
                yield str(error)
            else:
                yield from _problems(hints[name], value, f"{inside}{name}")
