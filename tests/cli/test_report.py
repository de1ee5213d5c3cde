from pathlib import Path

import pytest
import torch
from tests.cli.conftest import Program

from astseg.data.store import Store
from astseg.paper.ablation import choose_rows, plan_runs
from astseg.training.run import train_run


def test_mistakes(astseg: Program, tiny_store: Store, tmp_path: Path) -> None:
    assert "no training run" in astseg.mistake("report", tmp_path)
    (begun,) = plan_runs(choose_rows("clevr", ["unet"]), 1, tiny_store, tmp_path, small=True, steps=3)
    train_run(begun.folder, begun.settings, torch.device("cpu"), stop=lambda: True)
    assert "scores yet: clevr-unet-seed-0." in astseg.mistake("report", tmp_path)


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astseg.paper.report.read_results", lambda paths: (["a result"], []))
    monkeypatch.setattr("astseg.paper.report.group_results", lambda results: results)
    monkeypatch.setattr("astseg.paper.report.build_report", lambda groups, unfinished: groups)


@pytest.mark.usefixtures("result")
def test_to_a_file(astseg: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astseg.paper.report.write_as", lambda report, form: f"{form}: {report[0]} ± 1\n")
    assert astseg("report", tmp_path, "--format", "latex", "--out", tmp_path / "new/t.tex") == 0
    assert (tmp_path / "new/t.tex").read_text(encoding="utf-8") == "latex: a result ± 1\n"
    assert "t.tex exists already" in astseg.mistake("report", tmp_path, "--out", tmp_path / "new/t.tex")


@pytest.mark.usefixtures("result")
@pytest.mark.parametrize(
    ("name", "options", "form"),
    [
        ("t.html", (), "html"),
        ("T.TEX", (), "latex"),
        ("t.md", (), "markdown"),
        ("t", (), "markdown"),
        ("t.txt", ("--format", "latex"), "latex"),
    ],
)
def test_a_name_tells_the_format(
    name: str, options: tuple[str, ...], form: str, astseg: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astseg.paper.report.write_as", lambda report, form: form)
    assert astseg("report", tmp_path, "--out", tmp_path / "new" / name, *options) == 0
    assert (tmp_path / "new" / name).read_text() == form


@pytest.mark.usefixtures("result")
def test_to_the_terminal(astseg: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# Report\n\n| a | [b] |\n" + "long " * 60 + "\x1b[31m\n"
    monkeypatch.setattr("astseg.paper.report.write_as", lambda report, form: text)
    assert astseg("report", tmp_path) == 0
    assert astseg.out == text.replace("\x1b", r"\x1b")
