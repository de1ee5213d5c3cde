"""The program as a whole: help, version, exit codes, pipes and locales."""

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.cli.conftest import Program

from astseg import __version__, cli
from astseg.cli import app

PROGRAM = [sys.executable, "-m", "astseg"]


def commands() -> dict[str, Any]:
    """All commands by their full names."""
    found: dict[str, Any] = {}

    def visit(name: str, command: Any) -> None:
        inner = getattr(command, "commands", None)
        if inner is None:
            found[name] = command
        for key, value in (inner or {}).items():
            visit(f"{name} {key}", value)

    visit("astseg", typer.main.get_command(app))
    return found


def examples(command: Any) -> list[str]:
    """The lines of the code block in a command's help."""
    _, _, rest = inspect.cleandoc(command.help or "").partition("```\n")
    return rest.partition("\n```")[0].splitlines()


def test_all_the_commands_are_there() -> None:
    names = {name.removeprefix("astseg ") for name in commands()}
    assert {"demo", "train", "segment", "evaluate", "background", "presets", "doctor", "data make"} <= names
    assert {"data import", "data check", "data download", "data benchmarks"} <= names


@pytest.mark.parametrize("name", commands())
def test_help(name: str, astseg: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert astseg(*name.split()[1:], "--help") == 0
    shown = [line.strip() for line in astseg.out.splitlines()]
    command = commands()[name]
    assert command.help
    if any(parameter.param_type_name == "argument" or parameter.required for parameter in command.params):
        assert examples(command), "a command with arguments has examples"
    for example in examples(command):
        assert example in shown, "each example is on a line of its own"
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{parameter.name} has a help text"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["data", "make", "--help"]])
def test_help_and_version_are_quick(arguments: list[str]) -> None:
    code = (
        "import sys; from astseg.cli import app; from astseg.cli._console import run\n"
        f"code = run(app, {arguments})\n"
        "heavy = {'torch', 'numpy', 'transformers', 'scipy'} & sys.modules.keys()\n"
        "sys.exit(f'{heavy} came along' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("arguments", [("nonsense",), ("--nonsense",), ("train", "--nonsense"), ("segment",)])
def test_wrong_words(arguments: tuple[str, ...], astseg: Program) -> None:
    assert "Error: " in astseg.mistake(*arguments)


def test_in_a_locale_without_the_letters_of_a_name(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    command = [*PROGRAM, "train", str(tmp_path / "ü[red].png")]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert rb"There is no file or folder" in done.stderr
    assert rb"\xfc[red].png" in done.stderr


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_main_prints_the_version_and_limits_the_spinning_of_threads(
    chosen: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "HF_HUB_VERBOSITY"):
        monkeypatch.setenv(name, "restored afterwards")
        monkeypatch.delenv(name)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["astseg", "--version"])
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"astseg {__version__}\n"
    assert os.environ.get("GOMP_SPINCOUNT") == expected


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_very_end_ends_it_without_a_word(number: signal.Signals) -> None:
    code = (
        "import signal, sys, weakref; from astseg.cli import main\n"
        f"weakref.finalize(sys, signal.raise_signal, {int(number)})\n"  # as torch cleans up
        "sys.argv = ['astseg', '--version']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-number, "")
    assert done.stdout == f"astseg {__version__}\n"


def test_a_result_that_cannot_be_written() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*PROGRAM, "presets"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "The disk is full" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rooms", "no-such-folder"), "no file or folder no-such-folder"),
        (("no-such-model", "."), "no model 'no-such-model'"),
        (("rooms", ".", "--tiles", "many"), "not 'many'"),
    ],
)
def test_a_mistake_is_told_before_anything_slow_is_imported(words: tuple[str, ...], message: str) -> None:
    program = [sys.executable, "-X", "importtime", "-m", "astseg", "segment", *words]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "astseg.cli" in imported
    assert not {"numpy", "scipy", "av", "torch"} & imported
