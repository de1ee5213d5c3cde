"""Commands in several processes, as torchrun starts them."""

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

import pytest
import torch
import typer
from tests.cli.conftest import Program, call
from tests.process_groups import run_together

from astseg._core import processes
from astseg._core.errors import AstSegError, LostProcessError
from astseg.cli._console import Stopped, messages, output, run
from astseg.cli._processes import joined_processes
from astseg.training.run_folder import read_progress

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "astseg")


def run_command(*words: object) -> tuple[int, str]:
    """Run a command in a process of its own; return its exit code and what it printed."""
    with redirect_stdout(io.StringIO()) as printed:
        code = call(*words)
    return code, printed.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="gloo needs a name for this machine")
def test_two_processes_train_and_segment(rooms: Path, tmp_path: Path) -> None:
    out, masks = tmp_path / "run", tmp_path / "masks"
    request = ("--objects", "2", "--steps", "4", "--device", "cpu", "--out", out)
    started = [*TORCHRUN, "train", "-", *map(str, request)]
    trained = subprocess.run(started, input=f"{rooms}\n", capture_output=True, text=True, check=False)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.count("Page:") == trained.stderr.count("Scoring") == 1, "the first process speaks for both"
    progress = read_progress(out)
    assert progress is not None
    assert progress.finished
    assert (out / "scores.json").is_file()
    # Forked, as two more programs would take seconds to begin.
    sharing = ("--shard", 3, "--device", "cpu", "--out", masks)
    segmented = run_together(run_command, 2, "segment", out, out / "images", *sharing, joined=False)
    plan = json.loads((masks / "shards.json").read_text())
    assert len(list(masks.glob("shard-*"))) == plan["shards"] > 1
    for rank, (code, printed) in enumerate(segmented, 1):
        assert code == 0
        assert f"Process {rank} of 2: " in printed


@pytest.mark.parametrize(("count", "code"), [("1", -signal.SIGABRT), ("2", 3)])
def test_what_aborts_while_python_ends_is_no_failure_of_several_processes(count: str, code: int) -> None:
    program = "import atexit, os; from astseg.cli import _end; atexit.register(os.abort); print('done'); _end(3)"
    environment = {**os.environ, "WORLD_SIZE": count}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == code
    assert count == "1" or ended.stdout == "done\n"


def start_as(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(max(2, rank + 1)))
    monkeypatch.setattr(processes, "joined", lambda device: nullcontext())


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    start_as(monkeypatch, rank)
    with joined_processes(torch.device("cpu")) as device:
        assert device == torch.device("cpu")
        assert messages.quiet == output.quiet == (rank > 0)
    assert not messages.quiet


def test_who_is_to_be_quiet_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "quiet", True)
    with joined_processes(torch.device("cpu")):
        assert messages.quiet
        assert not output.quiet
    assert messages.quiet


@pytest.mark.parametrize(
    ("error", "rank", "code", "said"),
    [
        (AstSegError("no disk"), 1, 2, "no disk"),
        (LostProcessError("another"), 0, 2, "another"),
        (LostProcessError("another"), 1, 2, "another"),
        (LostProcessError("another"), 2, 2, ""),
        (Stopped("saved"), 0, 130, "saved"),
        (Stopped("saved"), 1, 130, ""),
    ],
)
def test_what_ends_all_processes_is_reported_by_the_first(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    rank: int,
    code: int,
    said: str,
) -> None:
    app = typer.Typer()

    @app.command()
    def command() -> None:
        with joined_processes(torch.device("cpu")):
            raise error

    start_as(monkeypatch, rank)
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(run(app, []))
    assert ended.value.code == code
    printed = capsys.readouterr().err
    assert (said in printed) if said else not printed
    assert not messages.quiet


def test_shards(astseg: Program, finished: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    start_as(monkeypatch, 1)
    assert "add --shard" in astseg.mistake("segment", finished, images, "--out", out)
    assert astseg("segment", finished, images, "--out", out, "--shard", 3, "--device", "cpu") == 0
    assert astseg.out.startswith("Process 2 of 2: 1 shard, 3 images, ")
    assert "Segmenting" not in astseg.err
    monkeypatch.undo()
    assert "Omit --track or --shard" in astseg.mistake("segment", finished, images, "--track", "--shard", 3)
    assert astseg("segment", finished, images, "--out", out, "--shard", 3, "--device", "cpu") == 0
    assert astseg.out.startswith("2 shards, 1 there already, 3 images, ")
    assert f", 1 image unreadable (named in objects.json): {out}" in astseg.out
    assert "Segmenting" in astseg.err
    (images / "broken[b].png").write_bytes(b"broken in another way")
    assert astseg("segment", finished, images, "--out", out, "--shard", 3, "--device", "cpu") == 0
    assert astseg.out.startswith("1 shard (1 anew, as images had changed), 2 there already, ")
    assert "made with other settings (number of files in a shard)" in astseg.mistake(
        "segment", finished, images, "--out", out, "--shard", 2
    )
