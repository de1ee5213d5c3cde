"""The command line: parse, call, print."""

import os
import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import Annotated

import typer

from astseg import __version__
from astseg.cli import authors, data, tables, training, using
from astseg.cli.console import output, run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Find and segment the objects in images and fixed-camera video, without any labels.",
)
app.add_typer(data.app, name="data")
for command in (
    training.demo,
    training.train,
    using.segment,
    using.evaluate,
    using.export,
    using.background,
    tables.ablate,
    tables.report,
    tables.gallery,
    authors.import_authors,
    training.presets,
    using.doctor,
):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.print(f"astseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """What the ``astseg`` command runs."""
    signal.signal(signal.SIGTERM, _interrupt)
    # The hub's own account of a missing network is long, and the command line says it in a sentence.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    _wait_briefly()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that the terminal's encoding does not have
    sys.exit(run(app))


def _wait_briefly() -> None:
    """Have torch's threads spin for a fraction of a millisecond while they wait for each other, unless told otherwise.

    Beside another program the usual milliseconds are taken from the very thread that all wait for
    (``benchmarks/training_step.py --beside 1``). GNU's OpenMP, which torch brings on Linux, reads this as it is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A polite kill ends like Ctrl-C, with everything put away.
    raise KeyboardInterrupt
