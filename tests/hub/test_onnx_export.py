import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.test_readme import ROOT, blocks

from astseg import __version__
from astseg._core.errors import AstSegError
from astseg.data.scenes import make_store
from astseg.hub import onnx_export
from astseg.hub.loading import load_model
from astseg.hub.onnx_export import OUTPUTS, check_onnx, export_onnx
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.build import BackgroundNetwork
from astseg.model.label_rule import mean_field
from astseg.model.label_rule.settings import LabelRule
from astseg.model.latents import LatentLayout
from astseg.model.refinement import TransformerLayout
from astseg.model.slow_features.features import SlowFeatureLayout

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TIES = 5e-5
"""The share of pixels whose layer may depend on rounding; twenty images have 81 920."""


def session(file: Path) -> Any:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def run(file: Path, images: torch.Tensor) -> dict[str, torch.Tensor]:
    found = session(file).run(OUTPUTS, {"images": images.numpy()})
    return dict(zip(OUTPUTS, map(torch.from_numpy, found), strict=True))


def assert_equal(file: Path, model: AstSeg, images: torch.Tensor, ties: float = TIES) -> None:
    found, expected = run(file, images), model.segment(images)
    assert found["labels"].dtype == torch.int64
    assert (found["labels"] != expected.labels).float().mean() <= ties
    for name in OUTPUTS[1:]:
        torch.testing.assert_close(found[name], getattr(expected, name), rtol=1e-3, atol=1e-4)


@contextmanager
def few_steps(name: str) -> Iterator[None]:
    """Have the label rule smooth labels in two steps, but for one model: each step is the same operators once more."""
    with pytest.MonkeyPatch.context() as patch:
        if name != "rooms":
            patch.setattr(mean_field, "NUM_MEAN_FIELD_STEPS", 2)
        yield


def undivided(name: str) -> AstSeg:
    """Return a model that comes with astseg, with a rule that ONNX has operators for."""
    model = load_model(name)
    assert model.label_rule is not None
    model.label_rule = replace(model.label_rule, division_likeness=0.0)
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports the models that come with astseg, each once."""

    @cache
    def export(name: str) -> Path:
        file = tmp_path_factory.mktemp("onnx") / f"{name}.onnx"
        with few_steps(name):
            export_onnx(undivided(name), file, name)
        return file

    return export


@pytest.mark.parametrize("name", ["rooms", "towers", "clevr"])
def test_labels_are_those_of_torch(name: str, exported: Callable[[str], Path], tmp_path: Path) -> None:
    model = undivided(name)
    split = make_store(tmp_path / "scenes", name, {"test": 20}, seed=8, image_size=64, workers=1)["test"]
    images = torch.from_numpy(np.array(split.images[:])).permute(0, 3, 1, 2) / 255
    with few_steps(name):
        assert int(model.segment(images).labels.max()) > 1
        assert_equal(exported(name), model, images)
        assert_equal(exported(name), model, images[:1], ties=5e-4)  # any number of images


def test_the_file_says_what_it_is(exported: Callable[[str], Path]) -> None:
    opened = session(exported("rooms"))
    meta = opened.get_modelmeta()
    assert (meta.producer_name, meta.custom_metadata_map) == (
        "astseg",
        {"model": "rooms", "astseg": __version__, "image_size": "64x64", "num_slots": "3"},
    )
    (given,) = opened.get_inputs()
    assert (given.name, given.shape, given.type) == ("images", ["N", 3, 64, 64], "tensor(float)")
    shapes = {output.name: output.shape for output in opened.get_outputs()}
    assert shapes == {
        "labels": ["N", 64, 64],
        "positions": ["N", 3, 2],
        "scales": ["N", 3, 2],
        "activations": ["N", 3],
        "appearances": ["N", 3, 32],
    }
    with pytest.raises(Exception, match="Got invalid dimensions"):
        run(exported("rooms"), torch.zeros(1, 3, 64, 32))


def test_the_documented_example_needs_no_torch(exported: Callable[[str], Path], tmp_path: Path) -> None:
    (code,) = [block.text for block in blocks((ROOT / "docs/onnx.md").read_text("utf-8")) if block.language == "python"]
    assert len(code.splitlines()) <= 40
    (tmp_path / "find.py").write_text(code)
    split = make_store(tmp_path / "scenes", "rooms", {"test": 2}, seed=9, image_size=64, workers=1)["test"]
    for index, image in enumerate(split.images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    start = "import runpy, sys; sys.modules['torch'] = None; runpy.run_path('find.py', run_name='__main__')"
    command = [sys.executable, "-c", start, str(exported("rooms")), "0.png", "1.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    labels = np.stack([np.load(tmp_path / f"{index}.labels.npy") for index in range(2)])
    expected = load_model("rooms").segment(np.array(split.images[:])).labels.numpy()
    assert (labels != expected).mean() <= 1e-3
    assert len(done.stdout.splitlines()) == sum(len(np.unique(one[one > 0])) for one in labels)


@pytest.mark.parametrize(
    "changes",
    [
        {"feature_network": "segformer-b0", "refinement": "transformer", "background_network": None},
        {"feature_network": "unet", "background_network": "simple", "residual_attention_bias": 2.0},
        {"background_network": "static", "residual_attention_bias": 2.0, "per_pixel_background_activation": True},
    ],
    ids=["segformer", "unet and ae-ne", "static"],
)
def test_other_networks_by_the_rule_of_the_paper(changes: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = TransformerLayout(dimension=16, heads=2, feedforward=16, layers=1)
    settings: dict[str, Any] = {
        "feature_network": "compact-unet",
        "refinement": "none",
        "initial_background_log_activation": 0.0,
    }
    architecture = Architecture((64, 96), 2, transformer=small, latents=LatentLayout(8), **(settings | changes))
    model = AstSeg(architecture).eval()
    export_onnx(model, tmp_path / "model.onnx", "random")
    assert_equal(tmp_path / "model.onnx", model, torch.rand(3, 3, 64, 96), ties=1e-3)


def test_what_the_exporter_lacks(tmp_path: Path) -> None:
    class Lacking(torch.nn.Module):
        def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            medians = values.nanmedian(-1)
            found = values.gather(-1, medians.indices[..., None])[..., 0]
            return medians.values, found, (40 * values).sigmoid()

    values = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    values[torch.arange(5) < torch.arange(6)[:, None]] = torch.nan  # 5 to 0 values, odd and even counts
    values[0, 1:4] = values[0, 0]
    assert values.nan_to_num().min() < -0.5  # a sigmoid below 1e-8
    table = onnx_export._translations()
    with onnx_export._silence():
        program = torch.onnx.export(
            Lacking().eval(), (values,), opset_version=onnx_export.OPSET, custom_translation_table=table, verbose=False
        )
    assert program is not None
    program.save(tmp_path / "lacking.onnx")
    medians, found, shares = session(tmp_path / "lacking.onnx").run(None, {"values": values.numpy()})
    np.testing.assert_array_equal(medians, values.nanmedian(-1).values.numpy())
    np.testing.assert_array_equal(found[:-1], medians[:-1])
    np.testing.assert_allclose(shares, (40 * values).sigmoid().numpy(), rtol=1e-5)


class TestRefusals:
    def model(
        self,
        rule: LabelRule | None = None,
        slow_features: SlowFeatureLayout | None = None,
        background: BackgroundNetwork = "region",
    ) -> AstSeg:
        latents = LatentLayout(8)
        architecture = Architecture((32, 32), 2, "compact-unet", "none", latents=latents, background_network=background)
        return AstSeg(replace(architecture, slow_features=slow_features), rule)

    def test_parts_that_onnx_lacks(self, tmp_path: Path) -> None:
        file = tmp_path / "model.onnx"
        with pytest.raises(AstSegError, match=r"by textures .* Cholesky .* Use the model in astseg"):
            export_onnx(self.model(slow_features=SlowFeatureLayout("filters")), file, "textures")
        with pytest.raises(AstSegError, match=r"connected pieces .* Use the model in astseg, .* split_parts off"):
            export_onnx(self.model(LabelRule(split_parts=True)), file, "parts")
        with pytest.raises(AstSegError, match=r"connected pieces .* with a division_likeness"):
            export_onnx(self.model(LabelRule(division_likeness=0.3)), file, "halves")
        with pytest.raises(AstSegError, match=r"connected pieces .* noise_multiple of 0"):
            export_onnx(self.model(LabelRule(noise_multiple=7.0), background="static"), file, "pieces")
        with pytest.raises(AstSegError, match=r"more than once .* with 1 for looks"):
            export_onnx(self.model(LabelRule(looks=2)), file, "looks")
        assert not file.exists()

    def test_names_of_other_files(self, tmp_path: Path) -> None:
        with pytest.raises(AstSegError, match=r"should end in .onnx, not 'exported'"):
            export_onnx(self.model(), tmp_path / "exported", "model")

    def test_missing_packages(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("astseg.hub.onnx_export.find_spec", lambda name: None)
        with pytest.raises(AstSegError, match=r"\(onnx, onnx_ir, onnxscript\): pip install 'astseg\[onnx\]'"):
            check_onnx(tmp_path / "model.onnx")

    def test_an_interrupted_export_keeps_the_older_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        file = tmp_path / "model.onnx"
        file.write_bytes(b"older")

        class Interrupted:
            model = SimpleNamespace(metadata_props={})

            def save(self, place: Path) -> None:
                place.write_bytes(b"half")
                raise KeyboardInterrupt

        monkeypatch.setattr(onnx_export, "_translate", lambda model: Interrupted())
        with pytest.raises(KeyboardInterrupt):
            export_onnx(self.model(), file, "model")
        assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
        assert file.read_bytes() == b"older"
