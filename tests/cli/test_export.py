from pathlib import Path

import pytest
import torch
from tests.cli.conftest import Program

from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.latents import LatentLayout


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    architecture = Architecture((32, 32), 2, "compact-unet", "none", latents=LatentLayout(8), background_network=None)
    AstSeg(architecture).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_as_an_onnx_file(astseg: Program, model: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "new/model.onnx"
    assert astseg("export", model, "--onnx", "--out", out) == 0
    assert astseg.out == f"Model: {out} ({out.stat().st_size / 1e6:.1f} MB; images of 32 x 32, K = 2)\n"
    assert "torch" not in astseg.err
    opened = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    assert opened.get_modelmeta().custom_metadata_map["model"] == str(model)


def test_a_rule_for_onnx_alone(astseg: Program, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    out, change = tmp_path / "model.onnx", ("--rule", "split_parts=true")
    assert "connected pieces" in astseg.mistake("export", "rooms", "--onnx", "--out", out, *change)
    assert "keeps the rule of its model" in astseg.mistake("export", model, "--out", tmp_path / "folder", *change)


def test_a_device_for_folders_alone(astseg: Program, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    message = astseg.mistake("export", "rooms", "--onnx", "--out", out, "--device", "cpu")
    assert "Nothing is computed for ONNX" in message


def test_the_name_is_refused_before_the_model_is_read(astseg: Program, tmp_path: Path) -> None:
    message = astseg.mistake("export", tmp_path / "no-model", "--onnx", "--out", tmp_path / "exported")
    assert "should end in .onnx, not 'exported'" in message
    assert "no model" in astseg.mistake("export", tmp_path / "no-model", "--onnx", "--out", tmp_path / "new.onnx")


def test_a_file_that_is_there_is_not_overwritten(astseg: Program, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    out = tmp_path / "mine.onnx"
    out.write_bytes(b"mine")
    assert "mine.onnx exists already" in astseg.mistake("export", model, "--onnx", "--out", out)
    assert out.read_bytes() == b"mine"
