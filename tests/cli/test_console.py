import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from rich.console import Console
from rich.table import Table

from astseg._core.errors import AstSegError, OtherRunError, RunExistsError
from astseg.cli import _console as console
from astseg.cli import _progress
from astseg.cli._console import SafeConsole, Stopped, deferred_interrupt, format_count, print_table, run
from astseg.cli._options import find_device, parse_size


def command_that(raises: BaseException) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise raises

    return app


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_a_stop_in_the_middle_of_exec_ends_by_its_own_code(tmp_path: Path) -> None:
    (tmp_path / "stopped.py").write_text("""
import os, signal, sys
from astseg.cli._console import run, stop_now

def app(arguments, standalone_mode):
    exec("os.kill(os.getpid(), signal.SIGTERM)\\nwhile True: pass", globals())

signal.signal(signal.SIGTERM, stop_now)
sys.exit(run(app))
""")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    program = [sys.executable, "-m", "stopped"]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 143
    assert done.stderr == "Interrupted: Stopped.\n"


class TestRun:
    @pytest.mark.parametrize(
        ("error", "code", "message"),
        [
            (AstSegError("Expected [red] things."), 2, "Error: Expected [red] things.\n"),
            (RunExistsError("It exists."), 2, "Error: It exists. The options are --resume and --out.\n"),
            (OtherRunError("It exists."), 2, "Error: It exists. The option is --out.\n"),
            (KeyboardInterrupt(), 130, "Interrupted: Stopped.\n"),
            (Stopped("All is saved."), 130, "Interrupted: All is saved.\n"),
            (typer.Abort(), 130, "Interrupted: Stopped.\n"),
            (typer.Exit(7), 7, ""),
            (OSError(errno.ENOSPC, "No space left on device"), 2, "Error: The disk is full."),
            (OSError(errno.EDQUOT, "Disk quota exceeded"), 2, "Error: The disk is full."),
            (OSError(errno.EFBIG, "File too large"), 2, "Error: The disk is full, or no file may be so large"),
            (PermissionError(errno.EACCES, "Permission denied", "out[1]"), 2, "Error: Permission denied: out[1].\n"),
            (torch.OutOfMemoryError("CUDA out of memory."), 2, "Error: The GPU's memory is full."),
            (OSError(errno.EIO, "Input/output error"), 2, "Error: Input/output error.\n"),
        ],
    )
    def test_errors_become_a_sentence_and_an_exit_code(
        self, error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(command_that(error), []) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.lstrip("\n").startswith(message)
        assert message or not err

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_the_code_tells_which_signal_stopped_a_command(self, number: int, code: int) -> None:
        app = typer.Typer()

        @app.command()
        def wait() -> None:
            with deferred_interrupt() as stop:
                signal.raise_signal(number)
                if stop():
                    raise Stopped("All is saved.")

        assert run(app, []) == code
        assert run(command_that(KeyboardInterrupt()), []) == 130  # a later command knows nothing of it

    @pytest.mark.parametrize("error", [ValueError("a bug"), OSError("without a number")])
    def test_bugs_keep_their_traceback(self, error: Exception) -> None:
        with pytest.raises(type(error), match=str(error)):
            run(command_that(error), [])

    def test_a_wrong_option(self, capsys: pytest.CaptureFixture[str]) -> None:
        app = typer.Typer()
        app.command()(lambda: None)
        assert run(app, []) == 0
        assert run(app, ["--nonsense"]) == 2
        assert "--nonsense" in capsys.readouterr().err

    def test_a_file_that_looks_like_an_option(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        app = typer.Typer()
        app.command()(lambda: None)
        monkeypatch.chdir(tmp_path)
        Path("-x.png").touch()
        monkeypatch.setattr(sys, "argv", ["astseg", "-x.png"])
        for arguments in (None, ["-x.png"]):
            assert run(app, arguments) == 2
            assert "The file of that name is ./-x.png" in " ".join(capsys.readouterr().err.split())
        assert run(app, ["-y.png"]) == 2
        assert "of that name" not in capsys.readouterr().err


class TestDeferredInterrupt:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_second_one_stops_at_once(self, number: int, capsys: pytest.CaptureFixture[str]) -> None:
        before = signal.getsignal(number)
        with deferred_interrupt() as stop:
            assert not stop()
            signal.raise_signal(number)
            assert capsys.readouterr().err == ""  # the signal may come while messages are printed
            assert stop()
            assert "Stopping after this step" in capsys.readouterr().err
            assert stop()
            assert capsys.readouterr().err == ""
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        assert signal.getsignal(number) is before


class TestPrintTable:
    def table(self) -> Table:
        table = Table("name", "what it is")
        table.add_row("a-name", "a rather long description of it " * 4)
        return table

    def test_a_pipe_gets_each_row_in_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_table(self.table())
        line = next(line for line in capsys.readouterr().out.splitlines() if "a-name" in line)
        assert line.count("description") == 4

    @pytest.mark.parametrize("width", [1, 20, 30])
    def test_a_narrow_terminal_gets_every_name_and_number(self, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
        screen = io.StringIO()
        monkeypatch.setattr(console, "output", Console(file=screen, force_terminal=True, width=width))
        table = Table("name", "what it is", "protocols", "more than K objects", "mIoU", box=None)
        table.add_row("a-rather-long-name-of-it", "words_that_are_long and short", "one, another", "10000", "0.123456")
        print_table(table)
        printed = screen.getvalue()
        assert "a-rather-long-name-of-it" in printed
        assert "0.123456" in printed
        assert "10000" in printed
        assert "…" not in printed

    def test_a_terminal_gets_what_fits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        screen = io.StringIO()
        monkeypatch.setattr(console, "output", Console(file=screen, force_terminal=True, width=40))
        print_table(self.table())
        assert len(screen.getvalue().splitlines()) > 6
        assert screen.getvalue().count("description") == 4


def test_format_count() -> None:
    assert [format_count(count, "image") for count in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_sizes() -> None:
    assert parse_size(None) is None
    assert parse_size("64") == (64, 64)
    assert parse_size("96X128") == (96, 128)


@pytest.mark.parametrize("text", ["", "0", "96x", "96x0", "1x2x3", "-5", "large", "²"])
def test_no_size(text: str) -> None:
    with pytest.raises(AstSegError, match="96x128"):
        parse_size(text)


def test_devices() -> None:
    assert find_device("cpu") == torch.device("cpu")
    for name in ("cuda:99", "toaster", "mps", "xpu:7"):
        with pytest.raises(AstSegError, match=f"There is no device '{name}' here; there is .*cpu. Name one of these"):
            find_device(name)


@pytest.mark.parametrize("kind", [None, "cuda", "mps", "xpu"])
def test_auto_is_what_torch_finds(kind: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: found)
    assert find_device("auto").type == (kind or "cpu")
    with pytest.raises(AstSegError, match=f"there are {kind} and cpu" if kind else "there is cpu"):
        find_device("toaster")


NAME = "a\x1b[31m\n\u202e\x1b]8;;http://evil\x1b\\b"
SHOWN = r"a\x1b[31m\n\u202e\x1b]8;;http://evil\x1b\b"


class TestNames:
    """Names of files never reach the terminal raw, however they are printed."""

    @pytest.fixture
    def screen(self, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
        screen = io.StringIO()
        for name in ("output", "messages"):
            safe = SafeConsole(file=screen, force_terminal=True, width=200, highlight=False, soft_wrap=True)
            monkeypatch.setattr(console, name, safe)
        return screen

    def test_in_lines_and_notes(self, screen: io.StringIO) -> None:
        console.output.print(NAME, NAME, sep="\n", markup=False)
        console.print_note("Note", NAME)
        assert screen.getvalue().count(SHOWN) == 3
        assert "\x1b[31m" not in screen.getvalue()
        assert screen.getvalue().count("\n") == 3

    def test_what_looks_like_an_emoji_is_printed_as_it_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        console.output.print("out:x:/a", markup=False)
        console.output.print("[bold]out:x:/b[/]")
        console.print_note("Note", "out:x:/c")
        table = Table("name")
        table.add_row("out:x:/d")
        print_table(table)
        captured = capsys.readouterr()
        assert [f"out:x:/{letter}" in captured.out + captured.err for letter in "abcd"] == [True] * 4

    def test_in_errors(self, screen: io.StringIO) -> None:
        assert run(command_that(AstSegError(f"There is no {NAME}.")), []) == 2
        assert run(command_that(PermissionError(errno.EACCES, "Permission denied", NAME)), []) == 2
        assert screen.getvalue().count(SHOWN) == 2
        assert screen.getvalue().count("\n") == 2

    def test_in_tables(self, screen: io.StringIO) -> None:
        table = Table("name")
        table.add_row(NAME)
        print_table(table)
        assert "\x1b[31m" not in screen.getvalue()
        assert "\x1b]8" not in screen.getvalue()
        assert r"a\x1b[31m" in screen.getvalue()

    def test_in_bars(self, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_progress, "messages", console.messages)
        with _progress.progress_by_name("images") as show:
            show(NAME, 1, 2)
        assert "a\x1b[31m" not in screen.getvalue()
        assert "\x1b]8" not in screen.getvalue()

    def test_in_wrong_options(self, capsys: pytest.CaptureFixture[str]) -> None:
        app = typer.Typer()
        app.command()(lambda: None)
        assert run(app, [f"--{NAME}"]) == 2
        assert "\x1b]8" not in capsys.readouterr().err
