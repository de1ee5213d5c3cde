"""The commands as a user gives them, on twelve tiny images and with two or three steps."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from astseg._core.errors import NonFiniteWeightsError
from astseg.cli import ablate as ablate_command
from astseg.cli import app
from astseg.cli._console import run
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter
from astseg.model.ast_seg import AstSeg
from astseg.paper.ablation import choose_rows, plan_runs
from astseg.training.presets import cpu_recipe
from astseg.training.run import train_run

STEPS = 3


def astseg(*arguments: object) -> int:
    return run(app, [str(argument) for argument in arguments])


def ablate(dataset: str, store: Store, out: Path, *more: object) -> int:
    return astseg(
        "ablate", dataset, "--data", store.path, "--out", out, "--device", "cpu", "--miniature", "--steps", STEPS, *more
    )


def read_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    AstSeg(cpu_recipe((32, 32), 2).architecture).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


class TestAblate:
    def test_a_row_that_runs_away_does_not_hold_up_the_others(
        self, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        to_the_end = ablate_command.run_to_the_end

        def first_runs_away(folder: Path, *given: object, **options: object) -> None:
            if "no-transformer" in folder.name:
                raise NonFiniteWeightsError("Training ran away.")
            to_the_end(folder, *given, **options)

        monkeypatch.setattr(ablate_command, "run_to_the_end", first_runs_away)
        assert ablate("clevrtex", tiny_store, tmp_path, "--rows", "no-transformer,unet", "--seeds", 1) == 2
        err = capsys.readouterr().err
        assert "Failed Training ran away." in err
        assert "The weights of clevrtex-no-transformer-seed-0 became no numbers. All other runs are done." in err
        assert (tmp_path / "clevrtex-unet-seed-0/scores.json").is_file()

    def test_two_rows_elsewhere_and_their_report(
        self, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "table"
        rows = ("--rows", "no-transformer,unet", "--seeds", 1, "--ood", tiny_store.path)
        assert ablate("clevrtex", tiny_store, out, *rows) == 0
        assert sorted(path.name for path in out.iterdir()) == ["clevrtex-no-transformer-seed-0", "clevrtex-unet-seed-0"]
        content = json.loads((out / "clevrtex-unet-seed-0/scores.json").read_text())
        assert content["data"]["images"] == {"train": 12, "test": 4}
        assert (out / "clevrtex-unet-seed-0/clevrtex-ood/per_image.csv").is_file()

        before = {file: file.stat().st_mtime_ns for file in out.rglob("scores.json")}
        assert ablate("clevrtex", tiny_store, out, *rows) == 0
        assert {file: file.stat().st_mtime_ns for file in out.rglob("scores.json")} == before
        assert "2 of 2: clevrtex-unet-seed-0 (finished)" in capsys.readouterr().err

        assert astseg("report", out) == 0
        text = capsys.readouterr().out
        assert "## CLEVRTEX: Table 4" in text
        assert "clevrtex-unet on OOD \\[MINIATURE" not in text  # brackets are no markup here
        assert "astseg clevrtex-unet on OOD [MINIATURE, OTHER DATA]" in text

    def test_goes_on_with_an_interrupted_run_to_the_same_end(
        self, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = ("--rows", "unet", "--seeds", 1)
        presets = choose_rows("clevr", ["unet"])
        (cut,) = plan_runs(presets, 1, tiny_store, tmp_path / "cut", small=True, steps=STEPS)
        assert not train_run(cut.folder, cut.settings, torch.device("cpu"), stop=lambda: True)
        assert ablate("clevr", tiny_store, tmp_path / "cut", *rows) == 0
        assert "1 of 1: clevr-unet-seed-0 (interrupted)" in capsys.readouterr().err
        assert ablate("clevr", tiny_store, tmp_path / "whole", *rows) == 0
        ours, theirs = (
            load_file(tmp_path / name / "clevr-unet-seed-0/model/model.safetensors") for name in ("cut", "whole")
        )
        for name, weights in theirs.items():
            torch.testing.assert_close(ours[name], weights, rtol=0, atol=0)

    def test_nothing_to_score_elsewhere_is_said_before_any_work(
        self, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plain = tmp_path / "plain"
        with StoreWriter(plain, tiny_store.image_size, "s", "p") as writer, writer.split("test") as split:
            split.append(np.array(tiny_store["test"].images))
        assert ablate("clevrtex", tiny_store, tmp_path / "out", "--rows", "unet", "--camo", plain) == 2
        assert f"{plain} has no split 'test' with masks" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_rows_that_are_the_same_are_named(
        self, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("astseg.cli.ablate.run_to_the_end", lambda *a, **k: None)
        assert ablate("objectsroom", tiny_store, tmp_path / "out") == 0
        text = capsys.readouterr().err
        assert "one and the same recipe: objectsroom, objectsroom-random-backbone." in text
        assert "30 of 30: objectsroom-isotropic-seed-2 (new)" in text  # ten rows, three seeds

    def test_another_size_than_the_papers_is_said(
        self, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("astseg.cli.ablate.run_to_the_end", lambda *a, **k: None)
        assert astseg("ablate", "clevr", "--rows", "unet", "--data", tiny_store.path, "--out", tmp_path / "out") == 0
        assert "The images are of 32x32, those of the paper of 128x128" in capsys.readouterr().err

    def test_mistakes(self, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def complaint(*arguments: object) -> str:
            assert astseg("ablate", *arguments, "--out", tmp_path / "out") == 2
            return capsys.readouterr().err

        path = tiny_store.path
        assert "clevr has no row 'more'" in complaint("clevr", "--data", path, "--rows", "more")
        assert "only a miniature takes others" in complaint("clevr", "--data", path, "--steps", 9)
        assert "Only models of clevrtex" in complaint("clevr", "--data", path, "--camo", path)
        assert "no prepared data set" in complaint("clevrtex", "--data", path, "--camo", tmp_path / "nothing")
        assert "no prepared data set" in complaint("clevr", "--data", tmp_path / "nothing")
        assert not (tmp_path / "out").exists()


class TestReport:
    def test_mistakes(self, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert astseg("report", tmp_path) == 2
        assert "holds no training run" in capsys.readouterr().err
        (begun,) = plan_runs(choose_rows("clevr", ["unet"]), 1, tiny_store, tmp_path, small=True, steps=STEPS)
        train_run(begun.folder, begun.settings, torch.device("cpu"), stop=lambda: True)
        assert astseg("report", tmp_path) == 2
        assert "None of these runs has scores yet: clevr-unet-seed-0." in capsys.readouterr().err

    def test_to_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("astseg.paper.report.read_results", lambda paths: (["a result"], []))
        monkeypatch.setattr("astseg.paper.report.group_results", lambda results: results)
        monkeypatch.setattr("astseg.paper.report.build_report", lambda groups, unfinished: groups)
        monkeypatch.setattr("astseg.paper.report.write_as", lambda report, form: f"{form}: {report[0]} ± 1\n")
        assert astseg("report", tmp_path, "--format", "latex", "--out", tmp_path / "new/t.tex") == 0
        assert (tmp_path / "new/t.tex").read_text(encoding="utf-8") == "latex: a result ± 1\n"


class TestGallery:
    def test_pairs(self, model: Path, tiny_store: Store, tmp_path: Path) -> None:
        out = tmp_path / "pairs.png"
        assert astseg("gallery", model, tiny_store.path, "--split", "train", "--count", 5, "--out", out) == 0
        grid = read_pixels(out)
        assert grid.shape == (8 + 2 * 168, 8 + 4 * 328, 3)  # five pairs, four in a row, each side 160
        first = np.asarray(tiny_store["train"].images[0]).repeat(5, 0).repeat(5, 1)
        np.testing.assert_array_equal(grid[8:168, 8:168], first)
        fifth = np.asarray(tiny_store["train"].images[4]).repeat(5, 0).repeat(5, 1)
        np.testing.assert_array_equal(grid[176:336, 8:168], fifth)

    def test_whole_rows_of_all_there_are(
        self, model: Path, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "rows.png"
        assert astseg("gallery", model, tiny_store.path, "--slots", "--out", out) == 0
        # Input, truth, reconstruction, segmentation, background and two slots; the split has four images.
        assert read_pixels(out).shape == (30 + 4 * 168, 8 + 7 * 168, 3)
        assert "4 images" in capsys.readouterr().out

    def test_more_than_a_batch(self, model: Path, tiny_images, tmp_path: Path) -> None:
        with StoreWriter(tmp_path / "more", (32, 32), "squares", "none") as writer, writer.split("test") as split:
            split.append(np.concatenate([tiny_images] * 2))  # without masks
        assert astseg("gallery", model, tmp_path / "more", "--count", 21, "--out", tmp_path / "g.png") == 0
        assert read_pixels(tmp_path / "g.png").shape == (8 + 6 * 168, 8 + 4 * 328, 3)

    def test_mistakes(self, model: Path, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert astseg("gallery", model, tiny_store.path, "--out", tmp_path / "image") == 2
        assert "an ending such as .png, not 'image'" in capsys.readouterr().err
        assert astseg("gallery", model, tiny_store.path, "--split", "more") == 2
        assert "has no split 'more'" in capsys.readouterr().err
        assert astseg("gallery", tiny_store.path, tiny_store.path, "--out", tmp_path / "g.png") == 2
        assert "holds no model" in capsys.readouterr().err
