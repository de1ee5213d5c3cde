"""``astseg segment``, ``evaluate``, ``background`` and ``doctor`` as a user gives them."""

import json
import shutil
import signal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import interrupt_after

from astseg._core.image_files import read_image
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter
from astseg.data.video import VideoWriter
from astseg.evaluation.scores_file import read_scores
from astseg.model.ast_seg import AstSeg

pytestmark = pytest.mark.usefixtures("few_steps")


def no_room(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def ctrl_c(*_: object, **__: object) -> None:
    signal.raise_signal(signal.SIGINT)


class TestSegment:
    def test_a_folder(self, astseg, finished: Path, images: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "masks[1]"
        assert astseg("segment", finished, images, "--out", out, "--device", "cpu") == 0
        names = {"a[red]", "c[]", "e", "more/b", "more/ü", "more/f"}
        labels = {path.relative_to(out / "labels").with_suffix("").as_posix() for path in out.glob("labels/**/*.png")}
        assert labels == names
        found = json.loads((out / "objects.json").read_text(encoding="utf-8"))
        assert {image["name"] for image in found["images"]} == names
        assert [entry["name"] for entry in found["skipped"]] == ["broken[b]"]
        printed, err = capsys.readouterr()
        assert printed.startswith("6 images, ")
        assert printed.endswith(f": {out}\n")
        assert "Skipped broken[b]" in err

    def test_a_film(self, astseg, finished: Path, tmp_path: Path) -> None:
        with VideoWriter(tmp_path / "film.mp4", Fraction(10)) as writer:
            for index in range(6):
                writer.append(np.full((48, 64, 3), 40 * index, np.uint8))
        assert astseg("segment", finished, tmp_path / "film.mp4", "--every", 2, "--out", tmp_path / "out") == 0
        assert (tmp_path / "out" / "overlay.mp4").stat().st_size > 0
        assert sorted(path.stem for path in (tmp_path / "out" / "labels").iterdir()) == ["000000", "000002", "000004"]

    def test_one_pixel_is_an_image_too(self, astseg, finished: Path, tmp_path: Path, capsys) -> None:
        Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
        assert astseg("segment", finished, tmp_path / "dot.png", "--out", tmp_path / "out") == 0
        with Image.open(tmp_path / "out" / "labels" / "dot.png") as labels:
            assert labels.size == (1, 1)
        assert capsys.readouterr().out.startswith("1 image, ")

    def test_prepared_data_without_a_test_split(self, astseg, finished: Path, tmp_path: Path) -> None:
        with StoreWriter(tmp_path / "data", (32, 32), "grey", "none") as writer, writer.split("train") as split:
            split.append(np.full((2, 32, 32, 3), 99, np.uint8))
        assert astseg("segment", finished, tmp_path / "data", "--out", tmp_path / "out") == 0
        assert len(list((tmp_path / "out" / "labels").iterdir())) == 2

    def test_mistakes(self, astseg, finished: Path, images: Path, tmp_path: Path, capsys) -> None:
        (tmp_path / "empty").mkdir()
        out = ("--out", tmp_path / "out")
        cases = [
            (("nowhere", images), "There is no model 'nowhere'"),
            ((tmp_path / "empty", images), "holds no model"),
            ((finished, tmp_path / "nothing"), "There is no file or folder"),
            ((finished, tmp_path / "empty"), "holds no images"),
            ((finished, images / "broken[b].png"), "can be read (1 tried)"),
            ((finished, images, "--batch-size", 0), "--batch-size"),
            ((finished, images, "--every", 0), "--every"),
        ]
        for arguments, message in cases:
            assert astseg("segment", *arguments, *out) == 2
            assert message in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "images"]
        assert astseg("segment", finished, images, "--out", images) == 2
        assert "exists already. Choose another place" in capsys.readouterr().err

    def test_weights_of_another_configuration(
        self, astseg, finished: Path, images: Path, tmp_path: Path, capsys
    ) -> None:
        model = tmp_path / "model"
        shutil.copytree(finished / "model", model)
        config = json.loads((model / "config.json").read_text())
        config["architecture"]["num_slots"] += 1
        (model / "config.json").write_text(json.dumps(config))
        assert astseg("segment", model, images, "--out", tmp_path / "out") == 2
        assert "holds the weights of another configuration" in capsys.readouterr().err

    @pytest.mark.parametrize(("event", "code", "message"), [(no_room, 2, "No space left"), (ctrl_c, 130, "Stopped.")])
    def test_a_full_disk_and_ctrl_c_leave_nothing(
        self, event, code, message, astseg, finished: Path, images: Path, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        monkeypatch.setattr(Image.Image, "save", event)
        assert astseg("segment", finished, images, "--out", tmp_path / "out") == code
        assert message in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["images"]


class TestEvaluate:
    def test_scores_and_files(self, astseg, finished: Path, rooms: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "scores[1]"
        assert astseg("evaluate", finished, rooms, "--out", out, "--device", "cpu") == 0
        printed = capsys.readouterr().out
        assert printed.endswith(f"Files: {out / 'scores.json'}, {out / 'per_image.csv'}\n")
        assert "4 images of the split 'test' at 32 x 32 pixels" in printed
        scores = json.loads((out / "scores.json").read_text())
        # The run scored the same images at its end.
        assert read_scores(out / "scores.json").summary == read_scores(finished / "scores.json").summary
        assert scores["split"] == "test"
        assert len((out / "per_image.csv").read_text().splitlines()) == 1 + 4
        assert astseg("evaluate", finished, rooms, "--out", out) == 2
        assert "exists already" in capsys.readouterr().err

    def test_a_run_that_is_not_finished_is_told(
        self, astseg, finished: Path, rooms: Path, tmp_path: Path, capsys
    ) -> None:
        assert astseg("evaluate", finished, rooms, "--out", tmp_path / "whole") == 0
        assert "not finished" not in capsys.readouterr().err
        shutil.copytree(finished, tmp_path / "run [red]")
        progress = {"phase": "objects", "step": 1, "steps": 2, "finished": False}
        (tmp_path / "run [red]" / "model" / "progress.json").write_text(json.dumps(progress))
        assert astseg("evaluate", tmp_path / "run [red]", rooms, "--out", tmp_path / "part") == 0
        told = (
            f"Note {tmp_path / 'run [red]'} is not finished: its model has come to step 1 of 2 of the phase 'objects'."
        )
        assert told in capsys.readouterr().err
        assert astseg("export", tmp_path / "run [red]", "--out", tmp_path / "exported") == 0
        assert "is not finished" in capsys.readouterr().err

    def test_more_labels_than_slots_are_told(self, astseg, finished: Path, rooms: Path, tmp_path: Path, capsys) -> None:
        masks = Store(rooms)["test"].masks
        assert masks is not None
        crowded = sum(len(np.unique(mask[mask > 0])) > 2 for mask in masks)
        assert crowded
        assert astseg("evaluate", finished, rooms, "--out", tmp_path / "out") == 0
        assert f"Note {crowded} image" in capsys.readouterr().out

    def test_mistakes(self, astseg, finished: Path, rooms: Path, images: Path, tmp_path: Path, capsys) -> None:
        assert astseg("data", "import", images, "--size", 32, "--out", tmp_path / "data") == 0
        capsys.readouterr()
        cases = [
            ((finished, images), "is no prepared data set"),
            ((finished, rooms, "--split", "val"), "has no split 'val'. It has: train, test."),
            ((finished, tmp_path / "data"), "has no masks, so nothing can be scored"),
            (("nowhere", rooms), "There is no model 'nowhere'"),
        ]
        for arguments, message in cases:
            assert astseg("evaluate", *arguments, "--out", tmp_path / "out") == 2
            err = capsys.readouterr().err
            assert message in err
            assert "Scoring" not in err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "images"]


class TestBackground:
    @pytest.fixture(autouse=True)
    def _few_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("astseg.training.time_budget.MIN_STEPS", 3)
        monkeypatch.setattr("astseg.training.time_budget.MAX_TIMED_SECONDS", 0.0)

    def test_masks_and_f_measure(self, astseg, tiny_store: Store, tmp_path: Path, capsys) -> None:
        out = tmp_path / "back[1]"
        command = ("background", tiny_store.path, "--minutes", 1e-4, "--device", "cpu", "--out")
        assert astseg(*command, out) == 0
        printed = capsys.readouterr().out
        assert "F-measure: " in printed
        assert printed.endswith(f"4 images: {out / 'images'}\n")
        for kind in ("backgrounds", "masks"):
            assert len(list((out / "images" / kind).iterdir())) == 4
        assert json.loads((out / "images/summary.json").read_text())["rule"] == "noise"
        assert astseg(*command, out) == 2
        assert "exists already" in capsys.readouterr().err

    def test_masks_that_the_user_names(self, astseg, images: Path, tmp_path: Path, capsys) -> None:
        (tmp_path / "elsewhere/more").mkdir(parents=True)
        for file in [file for file in images.rglob("*.*g") if "broken" not in file.name]:
            mask = np.zeros(read_image(file).shape[:2], np.uint8)
            mask[:9], mask[9:] = 7, 1
            Image.fromarray(mask).save(tmp_path / "elsewhere" / file.relative_to(images).with_suffix(".png"))
        command = (
            "background",
            images,
            "--masks",
            tmp_path / "elsewhere",
            "--minutes",
            1e-4,
            "--device",
            "cpu",
            "--out",
        )
        assert astseg(*command, tmp_path / "out") == 0
        assert "over 6 images" in capsys.readouterr().out
        assert astseg(*command, tmp_path / "other", "--ignore", "1,7") == 0
        assert "F-measure" not in capsys.readouterr().out  # nothing is left to be scored

    def test_the_same_run_by_either_rule(self, astseg, tiny_store: Store, tmp_path: Path, capsys) -> None:
        command = ("background", tiny_store.path, "--minutes", 1e-4, "--device", "cpu", "--out", tmp_path)
        for flags, rule in (((), "noise"), (("--by-predicted-error",), "predicted error")):
            assert astseg(*command, *flags) == 0
            assert json.loads((tmp_path / "images/summary.json").read_text())["rule"] == rule
            shutil.rmtree(tmp_path / "images")
        assert "by_predicted_error" not in capsys.readouterr().err

    def test_masks_that_look_wrong_are_told(self, astseg, tmp_path: Path, capsys) -> None:
        np.save(
            tmp_path / "grey.npy", np.full((12, 32, 32, 3), 128, np.uint8)
        )  # the grey with which a still one begins
        command = ("background", tmp_path / "grey.npy", "--minutes", 1e-4, "--device", "cpu", "--out", tmp_path / "out")
        assert astseg(*command) == 0
        assert "Note The masks cover only 0.0 % of the pixels." in " ".join(capsys.readouterr().err.split())

    def test_stopped_and_run_again_it_goes_on(
        self, astseg, tiny_store: Store, rooms: Path, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        options = ("--minutes", 1e-4, "--device", "cpu", "--out", tmp_path / "out")
        with monkeypatch.context() as patch:
            interrupt_after(patch)
            assert astseg("background", tiny_store.path, *options) == 130
        assert "The same command goes on." in capsys.readouterr().err
        assert astseg("background", rooms, *options) == 2
        assert "Choose another --out" in capsys.readouterr().err
        assert astseg("background", tiny_store.path, *options) == 0
        assert "as it was begun; --minutes cannot change it." in capsys.readouterr().err

    def test_what_never_began_is_not_in_the_way(
        self, astseg, images: Path, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        out = tmp_path / "out"
        options = ("--minutes", 1e-4, "--device", "cpu", "--out", out)
        assert astseg("background", images, "--size", 12, *options) == 2
        assert "These images do not suit the model" in capsys.readouterr().err
        assert not (out / "run" / "data").exists()
        with monkeypatch.context() as patch:
            patch.setattr("astseg.training.auto_config.background_steps", lambda *_: signal.raise_signal(signal.SIGINT))
            assert astseg("background", images, "--size", 64, *options) == 130
        assert Store(out / "run" / "data").image_size == (64, 64)
        assert astseg("background", images, "--size", 32, *options) == 0
        assert Store(out / "run" / "data").image_size == (32, 32)

    def test_of_a_size(self, astseg, images: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "out"
        options = ("--minutes", 1e-4, "--size", "32x32", "--device", "cpu", "--out", out)
        assert astseg("background", images, *options) == 0
        assert Store(out / "run" / "data").image_size == (32, 32)
        err = capsys.readouterr().err
        assert "of 32x32 to learn from." in err
        assert "fewer would teach nothing" in err

    def test_mistakes(self, astseg, images: Path, tmp_path: Path, capsys) -> None:
        for minutes in (0, -1, "nan"):
            assert astseg("background", images, "--minutes", minutes, "--out", tmp_path / "out") == 2
            assert "more than 0 minutes" in capsys.readouterr().err
        assert astseg("background", tmp_path / "nowhere", "--out", tmp_path / "out") == 2
        assert "There is no file or folder" in capsys.readouterr().err


def test_the_doctor(astseg, monkeypatch, capsys) -> None:
    from astseg import doctor

    findings = [doctor.Finding("torch", "2.0[x]"), doctor.Finding("a training step", "works on cpu")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    monkeypatch.setattr(doctor, "environment", lambda: "OS: one[y]")
    assert astseg("doctor") == 0
    out = capsys.readouterr().out
    assert out.startswith("OS: one[y]\n\n")
    assert "torch            2.0[x]" in out
    findings.append(doctor.Finding("disk", "0.1 GB free here", good=False))
    assert astseg("doctor") == 1
    assert "no  disk" in capsys.readouterr().out


def test_a_model_saved_by_hand(astseg, finished: Path, tmp_path: Path) -> None:
    AstSeg.from_pretrained(finished / "model").save_pretrained(tmp_path / "mine")
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    assert astseg("segment", tmp_path / "mine", tmp_path / "a.png", "--out", tmp_path / "out") == 0
