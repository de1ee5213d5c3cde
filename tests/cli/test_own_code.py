"""``astseg --import``: networks of the user's own in commands."""

import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Program

from astseg.model import own_networks

pytestmark = pytest.mark.usefixtures("few_steps")

NETWORKS = """\
from dataclasses import dataclass

from torch import nn

import astseg
from neighbor import STRIDE


@dataclass
class Settings:
    inputs: int


class Patches(nn.Module):
    def __init__(self, size, channels, inputs):
        super().__init__()
        self.output_layer = nn.Conv2d(Settings(inputs).inputs, channels, STRIDE, stride=STRIDE)

    def forward(self, images):
        return self.output_layer(images)


astseg.register_network("feature_network", "own:patches", Patches)
"""


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that registers a network, and imports one that lies beside it."""
    (tmp_path / "neighbor.py").write_text("STRIDE = 4\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for module in ("neighbor", "my_networks", "failing"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(own_networks, "_builders", {setting: {} for setting in own_networks._builders})
    path = tmp_path / "my_networks.py"
    path.write_text(NETWORKS)
    return path


def test_train_and_segment(astseg: Program, networks: Path, rooms: Path, images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--objects", 2, "--steps", 4, "--device", "cpu", "--set", "architecture.feature_network=own:patches")
    message = astseg.mistake("train", rooms, *options, "--out", run)
    assert "'own:patches'" in message
    assert "astseg --import FILE.py" in message
    assert not run.exists()
    assert astseg("--import", networks, "train", rooms, *options, "--out", run) == 0
    assert astseg("--import", networks, "segment", run, images, "--out", tmp_path / "masks") == 0
    assert list((tmp_path / "masks" / "labels").rglob("*.png"))


def test_no_such_file(astseg: Program, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for name in ("missing.py", "notes.txt", "."):
        assert f"There is no Python file {tmp_path / name}." in astseg.mistake("--import", tmp_path / name, "presets")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import neighbor\n\nastseg", "NameError: name 'astseg' is not defined ({failing}, line 3)."),
        ("import astseg\nastseg.register_network('a', 'b', 0)", "ValueError: setting should be one of"),
        ("def f(:", "SyntaxError: invalid syntax (failing.py, line 1)."),
    ],
)
def test_a_file_that_fails(code: str, told: str, astseg: Program, networks: Path) -> None:
    failing = networks.with_name("failing.py")
    failing.write_text(code)
    message = astseg.mistake("--import", failing, "presets")
    assert f"{failing} fails: " in message
    assert told.format(failing=failing) in message
