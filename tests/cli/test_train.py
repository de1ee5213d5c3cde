"""``astseg train`` on tiny images, with a handful of steps."""

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.cli.conftest import Program, ctrl_c_after, press_ctrl_c

from astseg._core.machine_memory import Memory
from astseg.data.store import Store
from astseg.data.video_writer import VideoWriter
from astseg.training.execution import Execution
from astseg.training.presets import PRESETS
from astseg.training.run_folder import read_recipe, read_run, read_run_with_data

pytestmark = pytest.mark.usefixtures("few_steps")

TINY = ("--objects", 2, "--device", "cpu")
SHORT_STEPS = {"background.steps": 2, "foreground.steps": 4, "foreground.frozen_steps": 2}
SHORT = [word for name, value in SHORT_STEPS.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Ten frames in which a square moves over a dark ground."""
    with VideoWriter(tmp_path / "film.mp4", Fraction(10)) as writer:
        for index in range(10):
            frame = np.full((48, 64, 3), 60, np.uint8)
            frame[10:20, 5 * index : 5 * index + 10] = 200
            writer.append(frame)
    return tmp_path / "film.mp4"


def has_leftovers(folder: Path) -> bool:
    return any("partial" in path.name for path in folder.rglob("*"))


class TestTrain:
    def test_prepared_data(self, finished: Path, rooms: Path) -> None:
        assert {"run.json", "checkpoint.pt", "metrics.jsonl", "model", "page.html", "scores.json", "per_image.csv"} <= {
            path.name for path in finished.iterdir()
        }
        settings = read_run(finished)
        assert settings.data == str(rooms)
        assert settings.recipe.architecture.num_slots == 2
        assert settings.recipe.foreground.steps == 4
        assert not has_leftovers(finished)

    def test_a_folder_of_mixed_images(self, astseg: Program, images: Path, tmp_path: Path) -> None:
        run = tmp_path / "my[run]"
        assert astseg("train", images, *TINY, "--size", 32, "--minutes", 1e-4, "--out", run) == 0
        assert astseg.out == f"Model:  {run / 'model'}\nPage:   {run / 'page.html'}\n"
        assert "Skipped broken[b]" in astseg.err
        assert "Images: 5 of 32x32" in astseg.err
        assert "Objects: at most 2 " in astseg.err
        assert "Steps: 2 for the background and 2 for the objects" in astseg.err
        assert "Scoring" not in astseg.err
        assert "<html" in (run / "page.html").read_text(encoding="utf-8")

    def test_precision(self, astseg: Program, rooms: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        assert astseg("train", rooms, *TINY, "--steps", 2, "--precision", "bf16", "--out", run) == 0
        assert "Precision: bf16 in the networks (as requested)." in " ".join(astseg.err.split())
        assert read_run(run).execution == Execution("bf16")
        message = astseg.mistake("train", rooms, "--precision", "fp16", "--out", tmp_path / "other")
        assert "The precision should be one of auto, fp32, tf32, bf16, not 'fp16'." in message

    def test_batches_in_parts_and_compiled_losses(
        self, astseg: Program, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compiled: list[object] = []

        def compile_(function: Callable[..., object], **_: object) -> Callable[..., object]:
            compiled.append(function)
            return function

        monkeypatch.setattr(torch, "compile", compile_)
        run = tmp_path / "run"
        assert astseg("train", rooms, *TINY, "--steps", 2, "--accumulate", 3, "--compile", "--out", run) == 0
        assert read_run(run).execution == Execution(parts=3, compiled=True)
        assert len(compiled) >= 2, "a loss for each phase"
        said = " ".join(astseg.err.split())
        assert "Batches: in 3 parts each, as requested." in said
        assert "Losses: compiled, as requested" in said
        message = astseg.mistake("train", rooms, "--accumulate", 0, "--out", tmp_path / "no")
        assert "greater than or equal to 1" in message

    def test_a_film(self, astseg: Program, film: Path, tmp_path: Path) -> None:
        assert astseg("train", film, *TINY, "--size", "32x48", "--steps", 3, "--out", tmp_path / "run") == 0
        assert "9 of 32x48" in astseg.err
        assert not (tmp_path / "run" / "scores.json").exists()

    def test_an_array_with_masks_and_a_preset(self, astseg: Program, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
        np.savez(tmp_path / "some.npz", image=images, mask=random.integers(0, 3, (6, 32, 32), dtype=np.uint8))
        preset = ("--preset", "demo", "--size", 32, "--steps", 3, "--device", "cpu")
        assert astseg("train", tmp_path / "some.npz", *preset, "--out", tmp_path / "run") == 0
        assert "Recipe: the preset demo." in astseg.err
        assert "Objects: at most 3 in an image (as in the recipe). To change it: --objects." in astseg.err
        assert "mIoU" in astseg.out
        assert json.loads((tmp_path / "run" / "scores.json").read_text())["summary"]["overall"]["images"] == 1

    @pytest.mark.parametrize(("size", "expected"), [((), "9 of 48x64"), (("--size", 32), "9 of 32x32")])
    def test_a_preset_works_at_its_longer_side(
        self, size: tuple[object, ...], expected: str, astseg: Program, film: Path, tmp_path: Path
    ) -> None:
        preset = ("--preset", "demo", *size, *SHORT, "--device", "cpu")
        assert astseg("train", film, *preset, "--out", tmp_path / "run") == 0
        assert f"{expected} to learn from (the recipe's own size is 64x64)" in astseg.err

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--objects", 0), "between 1 and 254, not 0"),
            (("--objects", 255), "between 1 and 254, not 255"),
            (("--steps", 0), "more than 0"),
            (("--minutes", 0), "more than 0"),
            (("--minutes", "nan"), "more than 0"),
            (("--minutes", "inf"), "more than 0"),
            (("--minutes", 1, "--steps", 1), "not both"),
            (("--preset", "best"), "no preset 'best'. There are "),
            (("--preset", "clevrtx"), "Did you mean 'clevrtex', "),
            (("--preset", "clevrtx"), "'astseg presets' lists them."),
            (("--set", "foreground.entropy_wait=1"), "nearest is 'entropy_weight'"),
            (("--set", "foreground.steps"), "--set: "),
            (("--set", "architecture.shadows=no"), "architecture.shadows should be true or false, not a word"),
            (("--set", "foreground.steps=9", "--steps", 9), "not several"),
            (("--set", "architecture.image_size=[64, 64]"), "size to prepare"),
            (("--recipe", "nowhere.json"), "Cannot read the recipe nowhere.json"),
            (("--size", "huge"), "96x128"),
            (("--device", "toaster"), "'toaster'"),
            (("--seed", -1), "--seed"),
            (("--seed", 2**64), "--seed"),
            (("--set", "foreground.entropy_weight=nan"), "foreground.entropy_weight should be a finite number"),
            (("--set", "architecture.glimpse_channels=[0]"), "architecture.glimpse_channels should each be between"),
            (("--set", "architecture.initial_background_log_activation=1e308"), "between -80.0 and 80.0, not 1e+308"),
        ],
    )
    def test_options_are_refused_before_any_work(
        self, options: tuple[object, ...], message: str, astseg: Program, images: Path, tmp_path: Path
    ) -> None:
        assert message in astseg.mistake("train", images, *options, "--out", tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_invalid_sources(self, astseg: Program, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "damaged").mkdir()
        (tmp_path / "damaged" / "a.png").write_bytes(b"no image")
        (tmp_path / "text.txt").write_text("no image")
        expected = {"nowhere": "no file or folder", "empty": "no images", "damaged": "1 tried", "text.txt": "text.txt"}
        for name, message in expected.items():
            assert message in astseg.mistake("train", tmp_path / name, "--out", tmp_path / "run")
        assert "No source" in astseg.mistake("train", "--out", tmp_path / "run")
        assert not list((tmp_path / "run").glob("*"))

    def test_a_refused_size_does_not_prevent_another(self, astseg: Program, film: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        for preset in ((), ("--preset", "demo")):
            message = astseg.mistake("train", film, *preset, "--size", 12, "--out", run, "--device", "cpu")
            assert "do not suit the model" in message
            assert not list(run.glob("*"))
        assert astseg("train", film, *TINY, "--size", 32, "--steps", 3, "--out", run) == 0

    def test_data_prepared_before_an_interrupted_choice_does_not_prevent_another_size(
        self, astseg: Program, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr("astseg.training.recipe_reasons.fit_to_time", press_ctrl_c)
            assert astseg("train", film, *TINY, "--size", 64, "--out", run) == 130
        assert Store(run / "data").image_size == (64, 64)
        assert astseg("train", film, *TINY, "--size", 32, "--steps", 3, "--out", run) == 0
        assert "Preparing the images again" in astseg.err
        assert "9 of 32x32" in astseg.err
        assert "Memory: about 0." in astseg.err

    def test_a_memory_shortage_is_found_before_anything_is_prepared(
        self, astseg: Program, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("astseg.training.recipe_reasons.machine_memory", lambda _: Memory(3.5e9, 3e9))
        message = astseg.mistake("train", film, *TINY, "--size", 1000, "--out", tmp_path / "run")
        assert "Training at 1000x1000 takes about" in message
        assert "this machine has 3.5 GB" in message
        assert "--objects" in message
        assert not list((tmp_path / "run").glob("*"))

    def test_one_pixel(self, astseg: Program, tmp_path: Path) -> None:
        np.save(tmp_path / "one.npy", np.zeros((3, 1, 1, 3), np.uint8))
        assert "1 x 1 pixels" in astseg.mistake("train", tmp_path / "one.npy", "--out", tmp_path / "run")

    def test_prepared_data_keeps_its_size(self, astseg: Program, rooms: Path, tmp_path: Path) -> None:
        assert "32x32 already" in astseg.mistake("train", rooms, "--size", 64, "--out", tmp_path / "run")

    def test_an_occupied_folder(self, astseg: Program, finished: Path, rooms: Path, images: Path) -> None:
        before = (finished / "checkpoint.pt").read_bytes()
        assert "--resume" in astseg.mistake("train", rooms, *TINY, "--out", finished)
        assert (finished / "checkpoint.pt").read_bytes() == before
        assert "other files" in astseg.mistake("train", images, "--out", images)

    def test_a_recipe_file(self, astseg: Program, rooms: Path, tmp_path: Path) -> None:
        assert astseg("presets", "rooms-cpu") == 0
        file = tmp_path / "mine.json"
        file.write_text(astseg.out)
        assert read_recipe(file) == PRESETS["rooms-cpu"].recipe
        command = ("train", rooms, "--recipe", file, *SHORT, "--set", "foreground.entropy_weight=1e-3")
        assert astseg(*command, "--device", "cpu", "--out", tmp_path / "run") == 0
        assert "so that little is learned: " in astseg.err
        assert "To change it: --steps, which shortens them, in place of --set." in " ".join(astseg.err.split())
        recipe = read_run(tmp_path / "run").recipe
        assert recipe == read_recipe(tmp_path / "run" / "run.json") == read_recipe(tmp_path / "run")
        assert (recipe.foreground.steps, recipe.background.steps, recipe.foreground.entropy_weight) == (4, 2, 1e-3)
        # For images of half the sides, of which a sum over pixels has a quarter.
        assert recipe.foreground.slot_use_weight == 4 * PRESETS["rooms-cpu"].recipe.foreground.slot_use_weight
        other = ("train", rooms, "--recipe", file, "--out", tmp_path / "other")
        assert "not both" in astseg.mistake(*other, "--preset", "demo")
        assert "run.json: No such file" in astseg.mistake(
            "train", rooms, "--recipe", rooms, "--out", tmp_path / "other"
        )
        file.write_text('{"architecture": {"num_slots": 3}}')
        message = astseg.mistake(*other)
        assert "`image_size`" in message
        assert "astseg presets NAME" in message


class TestFromATrainedModel:
    def test_a_run_by_its_own_recipe(
        self, astseg: Program, finished: Path, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(finished.parent)
        out = tmp_path / "tuned"
        still = ("--set", "foreground.learning_rate.peak=1e-12", "--set", "background.learning_rate.peak=1e-12")
        command = ("train", rooms, "--model", finished.name, *SHORT, *still, "--device", "cpu", "--out", out)
        assert astseg(*command) == 0
        settings, theirs = read_run(out), read_run(finished)
        assert settings.model == str(finished.resolve())
        assert settings.recipe.architecture == theirs.recipe.architecture
        ours, before = (load_file(folder / "model" / "model.safetensors") for folder in (out, finished))
        learned = [name for name, value in before.items() if name.endswith("weight") and value.ndim > 1]
        assert len(learned) > 10
        for name in learned:
            torch.testing.assert_close(ours[name], before[name])
        assert astseg("report", out, "--format", "markdown") == 0
        assert f"begun with a trained model, {finished.resolve()}" in astseg.out

    def test_a_run_that_was_killed_before_its_first_checkpoint(
        self, astseg: Program, finished: Path, rooms: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "tuned"
        assert astseg("train", rooms, "--model", finished, *SHORT, "--device", "cpu", "--out", out) == 0
        whole = (out / "model" / "model.safetensors").read_bytes()
        for file in (*out.glob("checkpoint*"), out / "metrics.jsonl"):
            file.unlink()
        shutil.rmtree(out / "model")
        assert astseg("train", "--resume", "--out", out, "--device", "cpu") == 0
        assert (out / "model" / "model.safetensors").read_bytes() == whole

    def test_what_cannot_be(
        self, astseg: Program, finished: Path, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command = ("train", rooms, *SHORT, "--device", "cpu", "--out", tmp_path / "tuned")
        assert "num_slots of its architecture differ" in astseg.mistake(*command, "--model", finished, "--objects", 5)
        assert "rooms is no run, whose recipe is known" in astseg.mistake(*command, "--model", "rooms")
        demo = ("--preset", "demo")
        assert "There is no model 'romos'" in astseg.mistake(*command, *demo, "--model", "romos")
        monkeypatch.chdir(rooms.parent)  # where a folder of data is called like a model that comes with astseg
        mistake = astseg.mistake(*command, *demo, "--model", "rooms")
        assert "image_size, slot_position_prior" in mistake
        assert "trained by, and images of 64x64." in mistake
        assert not (tmp_path / "tuned").exists(), "before anything is prepared"

    def test_images_of_another_shape_are_fitted_to_the_model(
        self, astseg: Program, finished: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "wide").mkdir()
        for index in range(8):
            Image.fromarray(np.full((30, 60, 3), 25 * index, np.uint8)).save(tmp_path / "wide" / f"{index}.png")
        command = ("train", tmp_path / "wide", *SHORT, "--device", "cpu", "--out", tmp_path / "tuned")
        assert "image_size of" in astseg.mistake(*command, "--model", finished, "--size", "32x64")
        assert not (tmp_path / "tuned").exists()
        assert astseg(*command, "--model", finished) == 0
        assert read_run(tmp_path / "tuned").recipe.architecture == read_run(finished).recipe.architecture

    def test_a_run_that_has_trained_its_background_alone(self, astseg: Program, rooms: Path, tmp_path: Path) -> None:
        alone = ("--set", "foreground.scenario=background")
        assert astseg("train", rooms, *SHORT, *alone, "--device", "cpu", "--out", tmp_path / "background") == 0
        command = ("train", rooms, *SHORT, "--model", tmp_path / "background", "--out", tmp_path / "tuned")
        assert "has trained only the background" in astseg.mistake(*command)
        assert not (tmp_path / "tuned").exists()


class TestStopAndResume:
    @pytest.mark.parametrize("steps", [1, 2, 4], ids=["background", "objects", "joint"])
    def test_ends_as_if_never_stopped(
        self, steps: int, astseg: Program, rooms: Path, finished: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        with ctrl_c_after(steps):
            assert astseg("train", rooms, *TINY, "--steps", 4, "--out", run) == 130
        assert "Stopping after this step" in astseg.err
        assert "--resume continues" in astseg.err
        assert not has_leftovers(run)
        assert astseg("train", "--resume", "--out", run, "--device", "cpu") == 0
        resumed, whole = (load_file(folder / "model" / "model.safetensors") for folder in (run, finished))
        assert resumed.keys() == whole.keys()
        assert all(torch.equal(resumed[name], whole[name]) for name in whole)

    def test_a_second_ctrl_c_stops_at_once(self, astseg: Program, rooms: Path, tmp_path: Path) -> None:
        with ctrl_c_after(2, times=2):
            assert astseg("train", rooms, *TINY, "--steps", 4, "--out", tmp_path / "run") == 130
        assert "Interrupted: Stopped." in astseg.err
        assert not has_leftovers(tmp_path / "run")
        assert astseg("train", "--resume", "--out", tmp_path / "run", "--device", "cpu") == 0

    def test_while_reading_images(
        self, astseg: Program, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("astseg.data.store_writer.SplitWriter.append", press_ctrl_c)
        assert astseg("train", images, "--out", tmp_path / "run") == 130
        assert "Interrupted: Stopped." in astseg.err
        assert not list((tmp_path / "run").glob("*"))

    def test_a_full_disk_loses_nothing(
        self, astseg: Program, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = tmp_path / "run"
        with ctrl_c_after(1):
            assert astseg("train", rooms, *TINY, "--steps", 4, "--out", run) == 130
        before = (run / "checkpoint.pt").read_bytes()

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", fail)
        assert "checkpoint.pt: No space left" in astseg.mistake("train", "--resume", "--out", run, "--device", "cpu")
        assert (run / "checkpoint.pt").read_bytes() == before
        assert not has_leftovers(run)

    def test_without_a_run(self, astseg: Program, finished: Path, tmp_path: Path) -> None:
        error = astseg.mistake("train", "--resume", "--out", tmp_path / "nowhere")
        assert "no training run" in error
        assert "starts again by its own command, without --resume." in error
        error = astseg.mistake("train", "--resume", finished, "--out", tmp_path / "nowhere")
        assert "is a training run. To resume it, name it by --out." in error

    def test_other_options_are_reported_and_ignored(self, astseg: Program, finished: Path) -> None:
        before = read_run(finished)
        ignored = ("elsewhere", "--objects", 7, "--steps", 9, "--set", "foreground.steps=9")
        assert astseg("train", *ignored, "--resume", "--out", finished, "--device", "cpu") == 0
        assert "ignored: the source, --set, --objects, --steps." in astseg.err
        assert "It is trained to its end, and only scored again. For more steps, train a new run." in astseg.err
        assert read_run(finished) == before
        assert astseg("train", "--resume", "--out", finished, "--device", "cpu") == 0
        assert "ignored" not in astseg.err

    def test_moved_and_missing_data(self, astseg: Program, finished: Path, rooms: Path, tmp_path: Path) -> None:
        run = tmp_path / "moved"
        shutil.copytree(finished, run)
        content = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**content, "data": str(tmp_path / "before" / "data")}))
        assert str(tmp_path / "before" / "data") in astseg.mistake("train", "--resume", "--out", run)
        shutil.copytree(rooms, run / "data")
        assert astseg("train", "--resume", "--out", run, "--device", "cpu") == 0
        (run / "run.json").write_text(json.dumps(content))  # the copied run names the data that it was copied with
        assert read_run_with_data(run).data == str((run / "data").resolve())

    def test_damaged_files_and_other_data(self, astseg: Program, finished: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        shutil.copytree(finished, run)
        resume = ("train", "--resume", "--out", run, "--device", "cpu")
        np.savez(tmp_path / "larger.npz", image=np.zeros((4, 64, 64, 3), np.uint8))
        assert astseg("data", "import", tmp_path / "larger.npz", "--size", 64, "--out", tmp_path / "larger") == 0
        good = (run / "run.json").read_text()
        (run / "run.json").write_text(json.dumps({**json.loads(good), "data": str(tmp_path / "larger")}))
        assert "these have 64x64" in astseg.mistake(*resume)
        (run / "run.json").write_text(good)
        expected = (run / "model" / "model.safetensors").read_bytes()
        (run / "checkpoint.pt").write_bytes(b"damaged")
        assert astseg(*resume) == 0
        assert "Training goes on from the checkpoint before it" in " ".join(astseg.err.split())
        assert (run / "model" / "model.safetensors").read_bytes() == expected
        for name in ("checkpoint.pt", "checkpoint.previous.pt"):
            (run / name).write_bytes(b"damaged")
        assert "Start a new run" in astseg.mistake(*resume)
        (run / "run.json").write_text("{}")
        assert "run.json cannot be understood" in astseg.mistake(*resume)


def test_begins_where_a_process_was_killed_before_it_wrote_anything(
    astseg: Program, rooms: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in (".run.4711.partial.json", ".lock"):
        (out / name).write_text("{")
    assert astseg("train", rooms, *TINY, *SHORT, "--out", out) == 0
    assert not has_leftovers(out)
    other = tmp_path / "other"
    other.mkdir()
    (other / "partial.txt").write_text("by hand")
    assert "holds other files" in astseg.mistake("train", rooms, *TINY, *SHORT, "--out", other)
