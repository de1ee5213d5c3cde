"""Commands in several processes, as torchrun starts them."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from tests.cli.conftest import Program

from astseg._core import processes
from astseg._core.errors import AstSegError, LostProcessError
from astseg.cli._console import messages, output
from astseg.cli._processes import joined_processes
from astseg.training.run import read_progress

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "astseg")


@pytest.mark.skipif(sys.platform != "linux", reason="gloo needs a name for this machine")
def test_two_processes_train_and_segment(rooms: Path, tmp_path: Path) -> None:
    out, masks = tmp_path / "run", tmp_path / "masks"
    request = ("--objects", "2", "--steps", "4", "--device", "cpu", "--out", out)
    command, words = [*TORCHRUN, "train", "-", *request], f"{rooms}\n"
    trained = subprocess.run(command, input=words, capture_output=True, text=True, check=False)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.count("Page:") == trained.stderr.count("Scoring") == 1, "the first process speaks for both"
    progress = read_progress(out)
    assert progress is not None
    assert progress.finished
    assert (out / "scores.json").is_file()
    sharing = ("--shard", "3", "--device", "cpu", "--out", masks)
    segmented = subprocess.run(
        [*TORCHRUN, "segment", out, out / "images", *sharing], capture_output=True, text=True, check=False
    )
    assert segmented.returncode == 0, segmented.stderr
    plan = json.loads((masks / "shards.json").read_text())
    assert len(list(masks.glob("shard-*"))) == plan["shards"] > 1
    assert all(f"Process {rank} of 2: " in segmented.stdout for rank in (1, 2))


def start_as(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(processes, "joined", lambda device: nullcontext())


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    start_as(monkeypatch, rank)
    with joined_processes(torch.device("cpu")) as device:
        assert device == torch.device("cpu")
        assert messages.quiet == output.quiet == (rank > 0)
    assert not messages.quiet


@pytest.mark.parametrize(("error", "quiet"), [(AstSegError("no disk"), False), (LostProcessError("another"), True)])
def test_other_processes_report_errors_of_their_own(
    monkeypatch: pytest.MonkeyPatch, error: AstSegError, quiet: bool
) -> None:
    start_as(monkeypatch, 1)
    monkeypatch.setattr(messages, "quiet", False)  # and set back afterwards
    monkeypatch.setattr(output, "quiet", False)
    with pytest.raises(AstSegError), joined_processes(torch.device("cpu")):
        raise error
    assert messages.quiet == output.quiet == quiet


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
    assert f", 1 image unreadable: {out}" in astseg.out
    assert "Segmenting" in astseg.err
    assert "made differently (files_per_shard" in astseg.mistake(
        "segment", finished, images, "--out", out, "--shard", 2
    )
