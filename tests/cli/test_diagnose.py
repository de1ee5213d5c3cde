import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import Program

from astseg.training.health import Judgment

PROBLEM = Judgment("empty slots", False, "3 of 4 slots find next to nothing.", "Train with fewer slots.")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "my[run]"))


def test_what_is_well_and_what_is_not(astseg: Program, run: Path) -> None:
    assert astseg("diagnose", run, "--device", "cpu") == 1  # after four steps no slot has found anything
    assert "Good: All weights are finite." in astseg.out
    assert "Problem No slot outweighs the background" in astseg.out
    assert "The options are --objects, --minutes and --steps." in astseg.out
    assert f"1 problem. Page: {run / 'diagnosis.html'}" in astseg.out
    assert "<html" in (run / "diagnosis.html").read_text(encoding="utf-8")


def test_a_healthy_run(astseg: Program, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astseg.training.diagnosis.judge_measures", lambda measures, *, objects: [])
    assert astseg("diagnose", run, "--device", "cpu") == 0
    assert "0 problems. Page:" in astseg.out


def test_a_link_in_place_of_the_page_is_replaced(astseg: Program, run: Path) -> None:
    (run / "mine.html").write_text("mine")
    (run / "diagnosis.html").symlink_to("mine.html")
    assert astseg("diagnose", run, "--device", "cpu") == 1
    assert (run / "mine.html").read_text() == "mine"
    assert "<html" in (run / "diagnosis.html").read_text(encoding="utf-8")


def test_no_run(astseg: Program, tmp_path: Path) -> None:
    assert "holds no training run" in astseg.mistake("diagnose", tmp_path)


@pytest.mark.usefixtures("few_steps")
class TestTrain:
    def test_says_a_problem_and_goes_on(self, astseg: Program, rooms: Path, tmp_path: Path) -> None:
        options = ("--objects", 2, "--steps", 4, "--device", "cpu", "--out", tmp_path / "run")
        assert astseg("train", rooms, *options) == 0
        assert astseg.err.count("Problem No slot outweighs the background") == 1

    def test_strict_stops(self, astseg: Program, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("astseg.training.health_check.judge_measures", lambda measures, *, objects: [PROBLEM])
        options = ("--objects", 2, "--steps", 4, "--device", "cpu", "--out", tmp_path / "run")
        message = astseg.mistake("train", rooms, *options, "--strict")
        assert "stopped at a problem, with everything saved. 3 of 4 slots" in message
        assert "'astseg diagnose' shows it in images; --resume without --strict goes on." in message
        assert not (tmp_path / "run" / "scores.json").exists()
        assert astseg.mistake("train", "--resume", "--strict", "--out", tmp_path / "run", "--device", "cpu")
        assert "ignored" not in astseg.err
        assert astseg("train", "--resume", "--out", tmp_path / "run", "--device", "cpu") == 0
        assert (tmp_path / "run" / "scores.json").exists()
