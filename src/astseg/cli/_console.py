"""Printing, interrupts and errors, for all commands."""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from astseg._core.errors import (
    AstSegError,
    ImagesNotFoundError,
    InvalidRecipeError,
    LostProcessError,
    MemoryShortageError,
    ModelNotFoundError,
    NonFiniteWeightsError,
    NotPreparedError,
    OtherRunError,
    PresetNotFoundError,
    ResultsNotFoundError,
    RunExistsError,
    RunNotFoundError,
    TracksNeededError,
    TruthNotFoundError,
    UnhealthyTrainingError,
    UnknownNetworkError,
)
from astseg._core.text import printable


class SafeConsole(Console):
    """A console that lets no control character of a name reach the terminal; see `printable`.

    A text to print is one line, of which `sep` may join several. A path with `:key:` in it is no emoji.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, with the texts made printable."""
        super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does: tables, bars and all else that is no plain text pass through here."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else "\n".join(map(printable, text.split("\n"))), style, control)


output = SafeConsole(highlight=False, soft_wrap=True)
"""For results, which a user may redirect into a file."""
messages = SafeConsole(stderr=True, highlight=False, soft_wrap=True)
"""For progress, warnings and errors."""

EXIT_MISTAKE = 2
EXIT_CTRL_C = 130
"""Of typer too."""
EXIT_SIGTERM = 143
"""As of shells: 128 and the number of the signal. Schedulers tell by it that a command has not failed."""

HINTS: dict[type[AstSegError], str] = {
    OtherRunError: "The option is --out.",
    RunExistsError: "The options are --resume and --out.",
    UnhealthyTrainingError: "'astseg diagnose' shows it in images; --resume without --strict goes on.",
    LostProcessError: "To go on: --resume.",
    NonFiniteWeightsError: "The options are --seed and --out.",
    MemoryShortageError: "The options are --size and, for train, --objects and --accumulate.",
    NotPreparedError: "The command is 'astseg data import', or 'astseg data make' to generate images.",
    InvalidRecipeError: "'astseg presets NAME' prints one.",
    PresetNotFoundError: "'astseg presets' lists them.",
    RunNotFoundError: "Runs are made by 'astseg train' and 'astseg ablate'.",
    ResultsNotFoundError: "Results are made by 'astseg segment'.",
    ImagesNotFoundError: "The option is --images.",
    TracksNeededError: "The option of 'astseg segment' is --track.",
    UnknownNetworkError: "A file that calls it is run by 'astseg --import FILE.py', before the command.",
    TruthNotFoundError: "Of 'astseg evaluate', the option is --truth.",
    ModelNotFoundError: "Training runs are made by 'astseg train'.",
}
"""What to add to the library's error on the command line; the first type that matches counts."""

MAX_TABLE_WIDTH = 10_000
"""In columns; wider than any table."""

OUT_OF_MEMORY_ERROR = "OutOfMemoryError"
"""The name of torch's error: importing torch would delay every error message by seconds."""

DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk is full, the quota is used up, or the file is larger than allowed."""


def print_table(table: Table) -> None:
    """Print a table as a result: in a file or a pipe, each row on one line, however long.

    In a terminal, texts are folded to its width, but names and numbers stay whole, even if the lines get too long.
    """
    wide = output.options.update(width=MAX_TABLE_WIDTH)
    width = output.measure(table, options=wide).maximum
    if output.is_terminal and width > output.width:
        for column in table.columns:
            column.overflow = "fold"
            column.no_wrap = all(" " not in str(cell) for cell in column.cells)
            if column.no_wrap:
                column.header = "\n".join(str(column.header).split())
        width = max(output.width, output.measure(table, options=wide).minimum)
    SafeConsole(file=output.file, width=width).print(table)


def print_note(label: str, text: str, where: Console | None = None) -> None:
    """Print a colored label and a text, which may look like markup; by default among the messages."""
    where = where or messages
    where.print(f"[yellow]{label}[/]", end=" ")
    where.print(text, markup=False)


def format_count(count: int, noun: str) -> str:
    """Format a number with its noun in the singular or the plural.

    >>> format_count(1, "image"), format_count(0, "object")
    ('1 image', '0 objects')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def be_quiet(quiet: bool) -> bool:
    """Turn messages off or on; errors are printed in any case."""
    messages.quiet = quiet
    return quiet


def print_result(lines: Sequence[str], facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result as lines for people, or as a single line of JSON for programs; paths may be among the facts."""
    output.print(*([json.dumps(facts, default=str)] if as_json else lines), sep="\n", markup=False)


class Stopped(Exception):  # noqa: N818  (not an error)
    """The user stopped a long run, which has saved its state; the message says how to resume it."""


_stop_signals: list[int] = []
"""The signals by which the running command was asked to stop."""


class _StopNow(KeyboardInterrupt):
    """Of the same effect, but for the exit code.

    Where a `KeyboardInterrupt` itself has passed through an `exec`, as dataclasses use it, ``python -m`` ends by SIGINT
    although it was caught.
    """


def stop_now(number: int, frame: FrameType | None) -> None:
    """Stop the command like Ctrl-C, so that it cleans up: a handler of signals."""
    _stop_signals.append(number)
    raise _StopNow


def exit_code_when_stopped() -> int:
    """Return the exit code of a command that was stopped."""
    return EXIT_SIGTERM if signal.SIGTERM in _stop_signals else EXIT_CTRL_C


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Catch Ctrl-C and SIGTERM; yield a function that tells whether one came, for a long run to call between steps.

    The second one raises `KeyboardInterrupt`.
    """
    requested = told = False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            stop_now(number, frame)
        _stop_signals.append(number)
        requested = True

    def asked() -> bool:
        nonlocal told
        if requested and not told:
            told = True  # here: the signal may come while messages are printed
            messages.print(
                "[yellow]Stopping after this step, with everything saved. Press Ctrl-C again to stop at once.[/]"
            )
        return requested

    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, request) for number in handled}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(app: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run the command line, print a user's mistake as a sentence, and return the exit code."""
    _stop_signals.clear()
    try:
        code = app(arguments, standalone_mode=False)
        if code == EXIT_CTRL_C:
            return _print_error("Stopped.", exit_code_when_stopped())
        return code if isinstance(code, int) else 0
    except Stopped as stopped:
        return _print_error(str(stopped), exit_code_when_stopped())
    except AstSegError as error:
        hint = next((f" {hint}" for kind, hint in HINTS.items() if isinstance(error, kind)), "")
        return _print_error(f"{error}{hint}", EXIT_MISTAKE)
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _print_error("Stopped.", exit_code_when_stopped())
    except OSError as error:
        if error.errno in DISK_FULL_ERRORS:
            limit = ", or no file may be so large (ulimit -f)" if error.errno == errno.EFBIG else ""
            return _print_error(f"The disk is full{limit}. Make room and run the command again.", EXIT_MISTAKE)
        if error.strerror is None:
            raise
        where = f": {error.filename}" if error.filename is not None else ""
        return _print_error(f"{error.strerror}{where}.", EXIT_MISTAKE)
    except Exception as error:
        if type(error).__name__ == OUT_OF_MEMORY_ERROR:
            return _print_error(
                "The GPU's memory is full. Try a smaller --size or --batch-size, fewer --objects, --accumulate for "
                "train, or --device cpu.",
                EXIT_MISTAKE,
            )
        show = getattr(error, "show", None)  # a method of typer's own errors
        if show is None:
            raise
        error.message = printable(error.message + _hint_at_file(arguments))  # type: ignore[attr-defined]
        show(sys.stderr)
        return EXIT_MISTAKE


def _hint_at_file(arguments: Sequence[str] | None) -> str:
    """Return how to name a file whose name looks like an option, if one of the arguments does."""
    words = sys.argv[1:] if arguments is None else arguments
    word = next((word for word in words if len(word) > 1 and word.startswith("-") and os.path.lexists(word)), None)
    return f". The file of that name is ./{word}" if word else ""


def _print_error(message: str, code: int) -> int:
    messages.quiet = False
    messages.print(f"[bold red]{'Error' if code == EXIT_MISTAKE else 'Interrupted'}:[/]", end=" ")
    messages.print(message, markup=False)
    return code
