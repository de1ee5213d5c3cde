from pathlib import Path

import pytest
import torch
from tests.cli.conftest import Program

from astseg.hub.loading import load_model
from astseg.model.backgrounds.ae_ne import BackgroundAutoencoder


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


def test_writes_a_model(astseg: Program, checkpoint: Path, tmp_path: Path) -> None:
    assert astseg("import-authors", checkpoint, "--preset", "natural-video", "--out", tmp_path / "model") == 0
    assert "Only the background" in astseg.out
    assert load_model(tmp_path / "model").image_size == (32, 32)


@pytest.mark.parametrize(("preset", "message"), [(("--preset", "clevr"), "of 7 levels"), ((), "--preset")])
def test_mistakes(preset: tuple[str, ...], message: str, astseg: Program, checkpoint: Path, tmp_path: Path) -> None:
    assert message in astseg.mistake("import-authors", checkpoint, *preset, "--out", tmp_path / "model")
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pth"]
