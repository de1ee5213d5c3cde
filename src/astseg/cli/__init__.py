"""The command line: one file per command, which parses, calls and prints; files that begin with ``_`` are shared."""

import atexit
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from astseg import __version__
from astseg.cli import (
    ablate,
    background,
    convert,
    data_benchmarks,
    data_check,
    data_download,
    data_import,
    data_make,
    data_moving,
    demo,
    diagnose,
    doctor,
    evaluate,
    export,
    gallery,
    import_authors,
    presets,
    report,
    score,
    segment,
    train,
)
from astseg.cli._console import output, run, stop_now
from astseg.cli._own_code import run_file
from astseg.cli._stderr import keep_stderr

COMMANDS: tuple[Callable[..., None], ...] = (
    demo.demo,
    train.train,
    segment.segment,
    convert.convert,
    diagnose.diagnose,
    evaluate.evaluate,
    score.score,
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
    "moving": data_moving.moving,
    "import": data_import.import_,
    "benchmarks": data_benchmarks.benchmarks,
    "download": data_download.download,
    "check": data_check.check,
}

app = typer.Typer(
    no_args_is_help=True,
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


def _print_version(requested: bool) -> None:
    if requested:
        output.print(f"astseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    own_code: Annotated[
        list[Path] | None,
        typer.Option(
            "--import",
            metavar="FILE.py",
            help="First run a Python file of yours, which registers networks of your own (docs/research.md): "
            "'astseg --import my_networks.py train ...'. Repeat it for other files.",
        ),
    ] = None,
) -> None:
    for path in own_code or []:
        run_file(path)


def main() -> None:
    """Run the ``astseg`` program."""
    # The hub library writes a long text if there is no network; the command line needs only a sentence.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    _limit_thread_spinning()
    keep_stderr()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that the encoding cannot represent
    signal.signal(signal.SIGTERM, stop_now)
    _end(run(app))


def _end(code: int) -> NoReturn:
    """End this process; if it is one of several, without the steps by which Python takes itself down.

    All is written by then. Threads of torch that talk to the other processes could abort the process meanwhile, and the
    launcher would take that for a failure.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        with suppress(OSError, ValueError):  # nobody may be reading any longer
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    atexit.register(_end_by_signals)  # the last one is called first
    sys.exit(code)


def _end_by_signals() -> None:
    """Let Ctrl-C and SIGTERM end this process without a word, while Python takes itself down."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, signal.SIG_DFL)


def _limit_thread_spinning() -> None:
    """Let waiting threads of torch spin for only a fraction of a millisecond, unless the environment decides otherwise.

    On a busy machine, the usual milliseconds of spinning delay the very thread that the others wait for
    (``benchmarks/training_step.py --beside 1``). GNU's OpenMP, which torch brings on Linux, reads this when it loads.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
