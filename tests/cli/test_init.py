"""The program as a whole: help, version, and how it behaves in a pipe and in other locales."""

import inspect
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

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
def test_help_teaches(name: str, astseg, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert astseg(*name.split()[1:], "--help") == 0
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    command = commands()[name]
    assert command.help
    if any(parameter.param_type_name == "argument" or parameter.required for parameter in command.params):
        assert examples(command), "a command that needs something shows how it is given"
    for example in examples(command):
        assert example in shown, "each example stands whole on its own line"
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{parameter.name} is explained"


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


def test_version(astseg, capsys) -> None:
    assert astseg("--version") == 0
    assert capsys.readouterr().out == f"astseg {__version__}\n"


@pytest.mark.parametrize("arguments", [("nonsense",), ("--nonsense",), ("train", "--nonsense"), ("segment",)])
def test_wrong_words(arguments: tuple[str, ...], astseg, capsys) -> None:
    assert astseg(*arguments) == 2
    assert "Error: " in capsys.readouterr().err


def test_in_a_locale_without_the_letters_of_a_name(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    command = [*PROGRAM, "train", str(tmp_path / "ü[red].png")]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert rb"There is no file or folder" in done.stderr
    assert rb"\xfc[red].png" in done.stderr


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": "5000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_threads_wait_briefly_unless_told_otherwise(
    chosen: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(chosen)
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(cli, "run", lambda _: 0)
    with pytest.raises(SystemExit):
        cli.main()
    assert {name: value for name, value in environment.items() if name != "HF_HUB_VERBOSITY"} == expected


def test_a_result_that_cannot_be_written() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*PROGRAM, "presets"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "The disk is full" in done.stderr
    assert "Traceback" not in done.stderr
