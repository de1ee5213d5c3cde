"""Write `docs/settings.md`, every setting of a recipe with its meaning, from the source::

python -m tests.settings_page
"""

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from astseg.training.config import Recipe

PAGE = Path(__file__).parents[1] / "docs/settings.md"
MODULES_OF_CHOICES = (
    "model.attention",
    "model.backgrounds.build",
    "model.refinement",
    "training.config",
    "training.schedules",
)
HEAD = """# Every setting of a recipe

What `--set NAME=VALUE` of `astseg train` takes, as JSON or a plain word, and `astseg.override`, as Python has it. The
defaults are the paper's where it says something; `astseg presets NAME` prints a preset's. Networks may be your own, too
([research.md](research.md)). This page is written from the source by `python -m tests.settings_page`.
"""


def page() -> str:
    """The page as it should be."""
    lines = [HEAD]
    for group, rows in _groups(Recipe, "", "Recipe", None):
        lines += [f"## {group}\n", "| setting | default | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in rows]
        lines.append("")
    return "\n".join(lines)


def _groups(kind: Any, prefix: str, title: str, defaults: Any) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield the title and the rows of a dataclass, and those of the dataclasses in it.

    ``defaults`` has the values of the group where they are not those of the class.
    """
    hints, documented, choices = get_type_hints(kind), _docstrings(inspect.getsource(kind)), _choices()
    rows, inner = [], []
    for field in fields(kind):
        options = (hints[field.name], *get_args(hints[field.name]))
        nested = next((option for option in options if is_dataclass(option)), None)
        meaning = documented.get(field.name, "")
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        if nested is not None:
            absent = " (null by default)" if default is None else ""
            known = default if is_dataclass(default) else None
            inner.append((nested, f"{prefix}{field.name}.", f"`{prefix}{field.name}`{absent}", known))
            continue
        words = [word for option in options if get_origin(option) is Literal for word in get_args(option)]
        alias = next((text for known, text in choices if words and known == words), "")
        listed = "" if alias or not words else f"One of {', '.join(f'`{word}`' for word in words)}."
        shown = "*needed*" if default is MISSING else f"`{json.dumps(default)}`"
        rows.append((prefix + field.name, shown, _in_markdown(" ".join((meaning, alias, listed)))))
    if rows:
        yield title, rows
    for group in inner:
        yield from _groups(*group)


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _docstrings(source: str) -> dict[str, str]:
    """The docstrings below the annotated names of a class or a module."""
    body = ast.parse(source).body
    if isinstance(body[0], ast.ClassDef):
        body = body[0].body
    return {
        first.target.id: str(second.value.value)
        for first, second in pairwise(body)
        if isinstance(first, ast.AnnAssign) and isinstance(first.target, ast.Name)
        if isinstance(second, ast.Expr) and isinstance(second.value, ast.Constant)
    }


def _choices() -> list[tuple[list[str], str]]:
    """The words of each documented type of choices, and what it says of them."""
    found = []
    for name in MODULES_OF_CHOICES:
        module = import_module(f"astseg.{name}")
        for alias, text in _docstrings(inspect.getsource(module)).items():
            value = getattr(module, alias)
            if get_origin(value) is Literal:
                found.append(([*get_args(value)], text))
    return found


def _in_markdown(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
