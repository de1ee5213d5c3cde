"""What all commands share: how they print, are interrupted, and report a user's mistake."""

import errno
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from astseg._core.errors import (
    AstSegError,
    InvalidRecipeError,
    MemoryShortageError,
    ModelNotFoundError,
    NonFiniteWeightsError,
    NotPreparedError,
    OtherRunError,
    RunExistsError,
    RunNotFoundError,
)

if TYPE_CHECKING:
    pass

output = Console(highlight=False, soft_wrap=True)
"""Results: what a user may want to redirect into a file."""
messages = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress, warnings and errors."""

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130

HINTS: dict[type[AstSegError], str] = {
    OtherRunError: "--out names another folder.",
    RunExistsError: "--resume goes on with it, --out names another folder.",
    NonFiniteWeightsError: "--seed and --out name others.",
    MemoryShortageError: "The options are --size and --objects.",
    NotPreparedError: "'astseg data' does it.",
    InvalidRecipeError: "'astseg presets NAME' prints one.",
    RunNotFoundError: "'astseg train' and 'astseg ablate' make runs.",
    ModelNotFoundError: "'astseg train' makes a run.",
}
"""How to follow a library's error on the command line; the first that fits."""

UNBOUNDED = 10_000
"""Columns; wider than any table."""

OUT_OF_MEMORY = "OutOfMemoryError"
"""torch's error, by its name: to import it takes seconds, and a mistake should be told at once."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A full disk, a quota that is used up, a file larger than is allowed."""


def print_table(table: Table) -> None:
    """Print a table as a result: into a file or a pipe each row as one line, however long.

    In a terminal texts are folded to its width, but no name and no number is cut: where it is too narrow, lines run on.
    """
    wide = output.options.update(width=UNBOUNDED)
    width = output.measure(table, options=wide).maximum
    if output.is_terminal and width > output.width:
        for column in table.columns:
            column.overflow = "fold"
            column.no_wrap = all(" " not in str(cell) for cell in column.cells)
            if column.no_wrap:
                column.header = "\n".join(str(column.header).split())
        width = max(output.width, output.measure(table, options=wide).minimum)
    Console(file=output.file, width=width).print(table)


def note(label: str, text: str, where: Console | None = None) -> None:
    """Print a colored word and what it is about, whatever names are in it; by default among the messages."""
    where = where or messages
    where.print(f"[yellow]{label}[/]", end=" ")
    where.print(text, markup=False)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun in the singular or the plural.

    >>> counted(1, "image"), counted(0, "object")
    ('1 image', '0 objects')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


class Stopped(Exception):  # noqa: N818  (nothing went wrong)
    """The user stopped a long run, which then put everything away: says how to go on."""


@contextmanager
def patient_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and a polite kill into a question that a long run can ask between two steps.

    A second Ctrl-C does not wait.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        messages.print("[yellow]Stopping after this step; what was learned is saved. Again to stop at once.[/]")

    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, ask) for number in handled}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(app: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run the command line and turn a user's mistake into a sentence; returns the exit code."""
    try:
        code = app(arguments, standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
            return _complain("Stopped.", EXIT_INTERRUPTED)
        return code if isinstance(code, int) else 0
    except Stopped as stopped:
        return _complain(str(stopped), EXIT_INTERRUPTED)
    except AstSegError as error:
        hint = next((f" {hint}" for kind, hint in HINTS.items() if isinstance(error, kind)), "")
        return _complain(f"{error}{hint}", EXIT_MISTAKE)
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _complain("Stopped.", EXIT_INTERRUPTED)
    except OSError as error:
        if error.errno in NO_ROOM:
            return _complain("The disk is full. Make room and run the command again.", EXIT_MISTAKE)
        if error.strerror is None:
            raise
        where = f": {error.filename}" if error.filename is not None else ""
        return _complain(f"{error.strerror}{where}.", EXIT_MISTAKE)
    except Exception as error:
        if type(error).__name__ == OUT_OF_MEMORY:
            return _complain(
                "The GPU's memory is full. Less fits: a smaller --size or --batch-size, fewer --objects. "
                "Or take --device cpu.",
                EXIT_MISTAKE,
            )
        show = getattr(error, "show", None)  # how typer's own errors present themselves
        if show is None:
            raise
        show(sys.stderr)
        return EXIT_MISTAKE


def _complain(message: str, code: int) -> int:
    messages.print(f"[bold red]{'Error' if code == EXIT_MISTAKE else 'Interrupted'}:[/]", end=" ")
    messages.print(message, markup=False)
    return code
