from pathlib import Path

import pytest
import torch
import typer

from astseg.cli._console import run
from astseg.cli.import_authors import import_authors
from astseg.hub.loading import load_model
from astseg.model.backgrounds.ae_ne import BackgroundAutoencoder


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(import_authors)
    return app


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    network = BackgroundAutoencoder((32, 32), "simple").state_dict()
    parts = {"encoder": ("background_encoder", "downsample"), "generator": ("background_generator", "upsample")}
    content = {}
    for (section, (name, inner)), ours in zip(parts.items(), ("encoder", "decoder"), strict=True):
        content[f"{section}_state_dict"] = {
            key.replace(f"{ours}.", f"{name}.", 1).replace("layers", inner): value
            for key, value in network.items()
            if key.startswith(ours)
        }
        first = torch.stack(torch.meshgrid(torch.linspace(-0.5, 0.5, 32), torch.linspace(-0.5, 0.5, 32), indexing="ij"))
        if section == "encoder":
            content[f"{section}_state_dict"][f"{name}.0.positional_encoding"] = first[None]
    torch.save(content, tmp_path / "checkpoint.pth")
    return tmp_path / "checkpoint.pth"


def test_import_writes_a_model(
    app: typer.Typer, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(app, [str(checkpoint), "--preset", "natural-video", "--out", str(tmp_path / "model")]) == 0
    printed = capsys.readouterr().out
    assert "Only the background was in the file" in printed
    assert load_model(tmp_path / "model").image_size == (32, 32)


def test_a_mistake_is_a_sentence_and_leaves_nothing(
    app: typer.Typer, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(app, [str(checkpoint), "--preset", "clevr", "--out", str(tmp_path / "model")]) == 2
    assert "a background of 5 levels, not a background of 7 levels" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pth"]


def test_the_preset_is_required(app: typer.Typer, checkpoint: Path, tmp_path: Path) -> None:
    assert run(app, [str(checkpoint), "--out", str(tmp_path / "model")]) == 2
    assert not (tmp_path / "model").exists()
