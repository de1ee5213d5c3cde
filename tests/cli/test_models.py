"""What the commands say of models that were not trained to their end."""

from pathlib import Path

import pytest
from tests.cli.conftest import interrupt_after

pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.mark.parametrize(
    ("begun", "stopped", "how"),
    [
        ("train", True, "has come to step 0 of 4 of the phase 'objects'. Go on with it by 'astseg train --resume'."),
        ("background", True, "is for nothing else."),
        ("background", False, "is for nothing else."),
    ],
)
def test_a_model_that_knows_the_background_alone(
    begun: str, stopped: bool, how: str, astseg, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    run = tmp_path / "made" / "run" if begun == "background" else tmp_path / "made"
    steps = ("--minutes", 1e-4) if begun == "background" else ("--steps", 4)
    with monkeypatch.context() as patch:
        if stopped:
            interrupt_after(patch)
        code = astseg(begun, rooms, *steps, "--device", "cpu", "--out", tmp_path / "made")
    assert code == (130 if stopped else 0)
    commands = (("segment", run, rooms), ("evaluate", run, rooms), ("export", run), ("gallery", run, rooms))
    for command in commands:
        capsys.readouterr()
        assert astseg(*command, "--out", tmp_path / "out.png") == 2
        err = " ".join(capsys.readouterr().err.split())
        assert f"{run} knows the background alone and finds no objects: its model {how}" in err
    assert not (tmp_path / "out.png").exists()


def test_a_model_that_could_learn_more_is_used_and_that_is_said(
    astseg, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    run = tmp_path / "run"
    assert astseg("train", rooms, "--steps", 3, "--device", "cpu", "--out", run) == 0
    capsys.readouterr()
    progress = run / "model" / "progress.json"
    progress.write_text(progress.read_text().replace("true", "false"))
    assert astseg("segment", run, rooms, "--out", tmp_path / "out") == 0
    assert "is not finished: its model has come to step" in " ".join(capsys.readouterr().err.split())
