"""Print what does not go well in a training, and by which options to change it."""

from typing import TYPE_CHECKING

from rich.console import Console

from astseg.cli._console import print_note

if TYPE_CHECKING:
    from astseg.training.health import Aspect, Judgment

OPTIONS: dict["Aspect", str] = {
    "empty slots": "The options are --objects, --minutes and --steps.",
    "shared slots": "The options are --objects, --minutes and --steps.",
    "reconstruction": "The options are --set and --seed.",
    "loss": "The option is --set.",
    "background": "The option is --set.",
}
"""How `astseg train` does what is advised."""


def print_problem(judgment: "Judgment", where: Console | None = None) -> None:
    """Print what is wrong, what to try and by which options; by default among the messages."""
    print_note("Problem", f"{judgment} {OPTIONS.get(judgment.aspect, '')}".strip(), where)
