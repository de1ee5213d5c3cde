"""The command line: a file for each command, which parses, calls and prints; shared parts begin with ``_``."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from types import FrameType
from typing import Annotated

import typer

from astseg import __version__
from astseg.cli import (
    ablate,
    background,
    data_benchmarks,
    data_check,
    data_download,
    data_import,
    data_make,
    demo,
    doctor,
    evaluate,
    export,
    gallery,
    import_authors,
    presets,
    report,
    segment,
    train,
)
from astseg.cli._console import output, run

COMMANDS: tuple[Callable[..., None], ...] = (
    demo.demo,
    train.train,
    segment.segment,
    evaluate.evaluate,
    export.export,
    background.background,
    ablate.ablate,
    report.report,
    gallery.gallery,
    import_authors.import_authors,
    presets.presets,
    doctor.doctor,
)
DATA_COMMANDS: Mapping[str, Callable[..., None]] = {
    "make": data_make.make,
    "import": data_import.import_,
    "benchmarks": data_benchmarks.benchmarks,
    "download": data_download.download,
    "check": data_check.check,
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Find and segment the objects in images and fixed-camera video, without any labels.",
)
data = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Generate, import, download and check data.")
app.add_typer(data, name="data")
for command in COMMANDS:
    app.command()(command)
for name, command in DATA_COMMANDS.items():
    data.command(name)(command)


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
