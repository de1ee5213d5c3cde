"""``astseg train``, ``demo`` and ``presets`` as a user gives them, on tiny images and with a handful of steps."""

import json
import shutil
import signal
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.cli.conftest import interrupt_after

from astseg.cli import demo
from astseg.data.store import Store
from astseg.data.video import VideoWriter
from astseg.training.memory import Memory
from astseg.training.presets import PRESETS
from astseg.training.run import read_recipe, read_run

pytestmark = pytest.mark.usefixtures("few_steps")

TINY = ("--objects", 2, "--device", "cpu")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Ten frames in which a square moves over a dark ground."""
    with VideoWriter(tmp_path / "film.mp4", Fraction(10)) as writer:
        for index in range(10):
            frame = np.full((48, 64, 3), 60, np.uint8)
            frame[10:20, 5 * index : 5 * index + 10] = 200
            writer.append(frame)
    return tmp_path / "film.mp4"


def model_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def nothing_unfinished(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if "partial" in path.name]


class TestTrain:
    def test_prepared_data(self, finished: Path, rooms: Path) -> None:
        assert {"run.json", "checkpoint.pt", "metrics.jsonl", "model", "page.html", "scores.json", "per_image.csv"} <= {
            path.name for path in finished.iterdir()
        }
        settings = read_run(finished)
        assert settings.data == str(rooms)
        assert settings.recipe.architecture.num_slots == 2
        assert settings.recipe.foreground.steps == 4
        assert nothing_unfinished(finished)

    def test_a_folder_of_mixed_images(self, astseg, images: Path, tmp_path: Path, capsys) -> None:
        run = tmp_path / "my[run]"
        assert astseg("train", images, *TINY, "--size", 32, "--minutes", 1e-4, "--out", run) == 0
        out, err = capsys.readouterr()
        assert out == f"Model:  {run / 'model'}\nPage:   {run / 'page.html'}\n"
        assert "Skipped broken[b]" in err
        assert "Images: 5 of 32x32 to learn from." in err
        assert "Objects: at most 2 in an image (as requested)." in err
        assert "Steps: 2 for the background and 2 for the objects, about 1 min on this machine: fewer would" in err
        assert "Scoring" not in err
        assert "<html" in (run / "page.html").read_text(encoding="utf-8")

    def test_a_film(self, astseg, film: Path, tmp_path: Path, capsys) -> None:
        assert astseg("train", film, *TINY, "--size", "32x48", "--steps", 3, "--out", tmp_path / "run") == 0
        assert "9 of 32x48" in capsys.readouterr().err
        assert not (tmp_path / "run" / "scores.json").exists()

    def test_an_array_with_masks_and_a_preset(self, astseg, tmp_path: Path, capsys) -> None:
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
        np.savez(tmp_path / "some.npz", image=images, mask=random.integers(0, 3, (6, 32, 32), dtype=np.uint8))
        preset = ("--preset", "demo", "--size", 32, "--steps", 3, "--device", "cpu")
        assert astseg("train", tmp_path / "some.npz", *preset, "--out", tmp_path / "run") == 0
        out, err = capsys.readouterr()
        assert "Recipe: the preset demo." in err
        assert "Objects: at most 3 in an image (as in the recipe). --objects says otherwise." in err
        assert "mIoU" in out
        assert json.loads((tmp_path / "run" / "scores.json").read_text())["summary"]["overall"]["images"] == 1

    @pytest.mark.parametrize(
        ("size", "said"),
        [
            ((), "9 of 48x64 to learn from (the recipe's own size is 64x64)."),
            (("--size", 32), "32x32 to learn from (the recipe's own size"),
        ],
    )
    @pytest.mark.usefixtures("small_demo")
    def test_a_preset_works_at_its_longer_side(
        self, size: tuple, said: str, astseg, film: Path, tmp_path: Path, capsys
    ) -> None:
        assert astseg("train", film, "--preset", "demo", *size, "--device", "cpu", "--out", tmp_path / "run") == 0
        assert said in " ".join(capsys.readouterr().err.split())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--objects", 0), "The number of objects should lie between 1 and 254, not 0."),
            (("--objects", 255), "The number of objects should lie between 1 and 254, not 255."),
            (("--steps", 0), "should be more than 0"),
            (("--minutes", 0), "should be more than 0"),
            (("--minutes", "nan"), "should be more than 0"),
            (("--minutes", "inf"), "should be more than 0"),
            (("--minutes", 1, "--steps", 1), "Give either the minutes or the steps to train, not both."),
            (("--preset", "best"), "There is no preset 'best'. There are: clevrtex, "),
            (("--set", "foreground.entropy_wait=1"), "there is no 'entropy_wait'; the nearest is 'entropy_weight'"),
            (("--set", "foreground.steps"), "--set: a change looks like foreground.entropy_weight=1e-3"),
            (("--set", "architecture.shadows=no"), "Expected `bool`, got `str`"),
            (("--set", "foreground.steps=9", "--steps", 9), "Give either a time, or the steps"),
            (("--set", "architecture.image_size=[64, 64]"), "give the size to prepare them at"),
            (("--recipe", "nowhere.json"), "Cannot read the recipe nowhere.json"),
            (("--size", "huge"), "A size looks like 96x128"),
            (("--device", "toaster"), "The device 'toaster' cannot be used"),
            (("--seed", -1), "--seed"),
        ],
    )
    def test_wishes_are_refused_before_any_work(
        self, options, message, astseg, images: Path, tmp_path: Path, capsys
    ) -> None:
        assert astseg("train", images, *options, "--out", tmp_path / "run") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    def test_sources_that_are_none(self, astseg, tmp_path: Path, capsys) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "damaged").mkdir()
        (tmp_path / "damaged" / "a.png").write_bytes(b"no image")
        (tmp_path / "text.txt").write_text("no image")
        expected = {
            "nowhere": "There is no file or folder",
            "empty": "holds no images and no arrays of images",
            "damaged": "can be read (1 tried)",
            "text.txt": "text.txt cannot be read",
        }
        for name, message in expected.items():
            assert astseg("train", tmp_path / name, "--out", tmp_path / "run") == 2
            assert message in capsys.readouterr().err
        assert astseg("train", "--out", tmp_path / "run") == 2
        assert "What should be learned from?" in capsys.readouterr().err
        assert not list((tmp_path / "run").glob("*")), "nothing is left behind"

    def test_a_refused_size_is_not_in_the_way_of_the_next(self, astseg, film: Path, tmp_path: Path, capsys) -> None:
        run = tmp_path / "run"
        for preset in ((), ("--preset", "demo")):
            assert astseg("train", film, *preset, "--size", 12, "--out", run, "--device", "cpu") == 2
            assert "These images do not suit the model" in capsys.readouterr().err
            assert not list(run.glob("*")), "nothing was prepared"
        assert astseg("train", film, *TINY, "--size", 32, "--steps", 3, "--out", run) == 0

    def test_what_a_stopped_choice_prepared_is_not_in_the_way_of_another_size(
        self, astseg, film: Path, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr("astseg.training.auto_config.fit_to_time", lambda *_: signal.raise_signal(signal.SIGINT))
            assert astseg("train", film, *TINY, "--size", 64, "--out", run) == 130
        assert Store(run / "data").image_size == (64, 64)
        capsys.readouterr()
        assert astseg("train", film, *TINY, "--size", 32, "--steps", 3, "--out", run) == 0
        err = capsys.readouterr().err
        assert "Preparing the images again" in err
        assert "9 of 32x32 to learn from" in err
        assert "Memory: about 0." in err

    def test_too_little_memory_is_told_before_anything_is_prepared(
        self, astseg, film: Path, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        monkeypatch.setattr("astseg.training.auto_config.machine_memory", lambda _: Memory(4e9, 3e9))
        assert astseg("train", film, *TINY, "--size", 1000, "--out", tmp_path / "run") == 2
        err = " ".join(capsys.readouterr().err.split())
        assert "Training at 1000x1000 takes about" in err
        assert "GB of memory, and this machine has 4.0 GB. A smaller size takes less" in err
        assert "--size and --objects" in err
        assert not list((tmp_path / "run").glob("*"))

    def test_one_pixel(self, astseg, tmp_path: Path, capsys) -> None:
        np.save(tmp_path / "one.npy", np.zeros((3, 1, 1, 3), np.uint8))
        assert astseg("train", tmp_path / "one.npy", "--out", tmp_path / "run") == 2
        assert "has 1 x 1 pixels; a side should have 8" in capsys.readouterr().err

    def test_prepared_data_keeps_its_size(self, astseg, rooms: Path, tmp_path: Path, capsys) -> None:
        assert astseg("train", rooms, "--size", 64, "--out", tmp_path / "run") == 2
        assert "is prepared at 32x32 already" in capsys.readouterr().err

    def test_a_place_that_is_taken(self, astseg, finished: Path, rooms: Path, images: Path, capsys) -> None:
        before = (finished / "checkpoint.pt").read_bytes()
        assert astseg("train", rooms, *TINY, "--out", finished) == 2
        assert "holds a training run already. Go on with it by --resume" in capsys.readouterr().err
        assert (finished / "checkpoint.pt").read_bytes() == before
        assert astseg("train", images, "--out", images) == 2
        assert "holds other things. Choose another --out" in capsys.readouterr().err


class TestStopAndResume:
    @pytest.mark.parametrize("steps", [1, 2, 4], ids=["background", "objects", "joint"])
    def test_ends_as_if_it_had_never_stopped(
        self, steps: int, astseg, rooms: Path, finished: Path, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            interrupt_after(patch, steps)
            assert astseg("train", rooms, *TINY, "--steps", 4, "--out", run) == 130
        err = capsys.readouterr().err
        assert "Stopping after this step" in err
        assert "Interrupted: Everything learned is saved. The same command with --resume goes on." in err
        assert nothing_unfinished(run)
        assert astseg("train", "--resume", "--out", run, "--device", "cpu") == 0
        resumed, whole = model_of(run), model_of(finished)
        assert resumed.keys() == whole.keys()
        assert all(torch.equal(resumed[name], whole[name]) for name in whole)

    def test_a_second_ctrl_c_does_not_wait(self, astseg, rooms: Path, tmp_path: Path, monkeypatch, capsys) -> None:
        interrupt_after(monkeypatch, 2, times=2)
        assert astseg("train", rooms, *TINY, "--steps", 4, "--out", tmp_path / "run") == 130
        assert "Interrupted: Stopped." in capsys.readouterr().err
        assert nothing_unfinished(tmp_path / "run")
        monkeypatch.undo()
        assert astseg("train", "--resume", "--out", tmp_path / "run", "--device", "cpu") == 0

    def test_while_reading_images(self, astseg, images: Path, tmp_path: Path, monkeypatch, capsys) -> None:
        from astseg.data.store_writer import SplitWriter

        monkeypatch.setattr(SplitWriter, "append", lambda *_: signal.raise_signal(signal.SIGINT))
        assert astseg("train", images, "--out", tmp_path / "run") == 130
        assert "Interrupted: Stopped." in capsys.readouterr().err
        assert not list((tmp_path / "run").glob("*"))

    def test_a_full_disk_loses_nothing(self, astseg, rooms: Path, tmp_path: Path, monkeypatch, capsys) -> None:
        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            interrupt_after(patch, 1)
            assert astseg("train", rooms, *TINY, "--steps", 4, "--out", run) == 130
        before = (run / "checkpoint.pt").read_bytes()

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(torch, "save", fail)
            assert astseg("train", "--resume", "--out", run, "--device", "cpu") == 2
        assert "checkpoint.pt: No space left on device" in capsys.readouterr().err
        assert (run / "checkpoint.pt").read_bytes() == before
        assert nothing_unfinished(run)

    def test_without_a_run(self, astseg, tmp_path: Path, capsys) -> None:
        assert astseg("train", "--resume", "--out", tmp_path / "nowhere") == 2
        assert "holds no training run" in capsys.readouterr().err

    def test_other_options_are_named_and_mean_nothing(
        self, astseg, finished: Path, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        monkeypatch.setattr("astseg.cli._runs.run_to_the_end", lambda folder, settings, **_: calls.append(settings))
        calls: list[object] = []
        assert astseg("train", "elsewhere", "--resume", "--objects", 7, "--steps", 9, "--out", finished) == 0
        err = capsys.readouterr().err
        assert "as it was begun" in err
        assert all(name in err for name in ("the source", "--objects", "--steps"))
        assert "--seed" not in err
        assert calls == [read_run(finished)]
        assert astseg("train", "--resume", "--out", finished, "--device", "cpu") == 0
        assert "as it was begun" not in capsys.readouterr().err

    def test_data_that_moved_with_the_run_or_is_gone(
        self, astseg, finished: Path, rooms: Path, tmp_path: Path, capsys
    ) -> None:
        run = tmp_path / "moved"
        shutil.copytree(finished, run)
        content = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**content, "data": str(tmp_path / "before" / "data")}))
        assert astseg("train", "--resume", "--out", run) == 2
        assert f"is no longer in {tmp_path / 'before' / 'data'}. Put it back" in capsys.readouterr().err
        shutil.copytree(rooms, run / "data")
        assert astseg("train", "--resume", "--out", run, "--device", "cpu") == 0

    def test_damaged_files_and_other_data(self, astseg, finished: Path, tmp_path: Path, capsys) -> None:
        run = tmp_path / "run"
        shutil.copytree(finished, run)
        np.savez(tmp_path / "larger.npz", image=np.zeros((4, 64, 64, 3), np.uint8))
        assert astseg("data", "import", tmp_path / "larger.npz", "--size", 64, "--out", tmp_path / "larger") == 0
        good = (run / "run.json").read_text()
        content = {**json.loads(good), "data": str(tmp_path / "larger")}
        (run / "run.json").write_text(json.dumps(content))
        assert astseg("train", "--resume", "--out", run, "--device", "cpu") == 2
        assert "is of a run on images of 32x32, but these have 64x64" in capsys.readouterr().err
        (run / "run.json").write_text(good)
        (run / "checkpoint.pt").write_bytes(b"damaged")
        assert astseg("train", "--resume", "--out", run, "--device", "cpu") == 2
        assert "readable checkpoint" in capsys.readouterr().err
        (run / "run.json").write_text("{}")
        assert astseg("train", "--resume", "--out", run, "--device", "cpu") == 2
        assert "run.json cannot be understood" in capsys.readouterr().err


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's own way, with few rooms and few steps."""
    recipe = PRESETS["demo"].recipe
    recipe = replace(
        recipe,
        background=replace(recipe.background, steps=2, batch_size=4, exponent_ramp_steps=1),
        foreground=replace(recipe.foreground, steps=4, frozen_steps=2, batch_size=4),
    )
    monkeypatch.setattr("astseg.training.presets.PRESETS", {"demo": replace(PRESETS["demo"], recipe=recipe)})
    monkeypatch.setattr(demo, "DEMO_TRAIN", 6)
    monkeypatch.setattr(demo, "DEMO_TEST", 4)
    monkeypatch.setattr(demo, "FIRST_LOOK_IMAGES", 2)


@pytest.mark.usefixtures("small_demo")
class TestDemo:
    def test_from_nothing_to_a_page(self, astseg, tmp_path: Path, capsys) -> None:
        out = tmp_path / "demo[1]"
        assert astseg("demo", "--out", out, "--seed", 3, "--device", "cpu") == 0
        printed = capsys.readouterr().out
        assert printed.startswith(
            f"What the model that comes with astseg finds in a few rooms: {out / 'first-look.png'}"
        )
        with Image.open(out / "first-look.png") as look:
            assert look.width > look.height  # two rows with truth, segmentation and each slot
        assert printed.endswith(f"Scores: {out / 'scores.json'}\nPage:   {out / 'page.html'}\n")
        scores = json.loads((out / "scores.json").read_text())
        assert {"miou", "ari_fg", "ari", "msc_fg", "mse"} <= scores["summary"]["overall"].keys()
        assert all({"miou", "ari_fg", "mse"} <= means.keys() for means in scores["summary"]["by_objects"].values())
        assert scores["seed"] == 3
        assert scores["seconds"].keys() == {"generating", "background", "objects", "joint"}
        assert all(seconds > 0 for seconds in scores["seconds"].values())
        assert scores["summary"]["overall"]["images"] == 4
        page = (out / "page.html").read_text(encoding="utf-8")
        assert "data:image/png;base64" in page
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert nothing_unfinished(tmp_path)

        before = (out / "checkpoint.pt").read_bytes()
        assert astseg("demo", "--out", out) == 2
        assert "holds a training run already. Go on with it by --resume" in capsys.readouterr().err
        assert (out / "checkpoint.pt").read_bytes() == before

    def test_stopped_and_resumed(self, astseg, tmp_path: Path, monkeypatch, capsys) -> None:
        whole, stopped = tmp_path / "whole", tmp_path / "stopped"
        assert astseg("demo", "--out", whole, "--device", "cpu") == 0
        with monkeypatch.context() as patch:
            interrupt_after(patch, 3)
            assert astseg("demo", "--out", stopped, "--device", "cpu") == 130
        assert "The same command with --resume goes on." in capsys.readouterr().err
        assert astseg("demo", "--out", stopped, "--device", "cpu", "--resume", "--seed", 9) == 0
        assert "--seed cannot change it" in capsys.readouterr().err
        first, second = model_of(whole), model_of(stopped)
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_resumed_before_training_had_begun(self, astseg, tmp_path: Path, capsys) -> None:
        assert astseg("demo", "--resume", "--out", tmp_path / "nowhere") == 2
        assert "holds no demo to go on with" in capsys.readouterr().err
        assert astseg("data", "make", "rooms", tmp_path / "demo" / "data", "--train", 6, "--test", 2, "--seed", 4) == 0
        capsys.readouterr()
        assert astseg("demo", "--resume", "--seed", 9, "--out", tmp_path / "demo", "--device", "cpu") == 0
        assert "--seed cannot change it" in capsys.readouterr().err
        assert read_run(tmp_path / "demo").seed == 4, "the seed of the rooms"
        assert len(Store(tmp_path / "demo" / "data")["train"]) == 6

    def test_begun_anew_where_one_had_begun(self, astseg, tmp_path: Path, capsys) -> None:
        out = tmp_path / "demo"
        (out / ".data.partial").mkdir(parents=True)  # left by a process that was killed while it made rooms
        (out / ".data.partial" / "train.images.npy").write_bytes(b"")
        assert astseg("demo", "--out", out, "--device", "cpu") == 0
        for path in (out / "run.json", out / "scores.json"):
            path.unlink()
        capsys.readouterr()
        assert astseg("demo", "--out", out) == 2
        assert "holds a demo that was begun. Go on with it by --resume" in capsys.readouterr().err

    def test_beside_a_folder_called_rooms(self, astseg, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "rooms").mkdir()
        assert astseg("demo", "--out", "demo", "--device", "cpu") == 0

    def test_stopped_while_rooms_are_made(self, astseg, tmp_path: Path, monkeypatch, capsys) -> None:
        from astseg.data.store_writer import SplitWriter

        monkeypatch.setattr(SplitWriter, "append", lambda *_, **__: signal.raise_signal(signal.SIGINT))
        assert astseg("demo", "--out", tmp_path / "demo", "--device", "cpu") == 130
        assert not list((tmp_path / "demo").glob("*"))

    def test_stopped_after_the_first_look(self, astseg, tmp_path: Path, monkeypatch) -> None:
        make_scenes = demo.make_scenes

        def interrupted(name: str, destination: Path, counts: dict[str, int], seed: int) -> None:
            if "train" in counts:
                raise KeyboardInterrupt
            make_scenes(name, destination, counts, seed)

        with monkeypatch.context() as patch:
            patch.setattr(demo, "make_scenes", interrupted)
            assert astseg("demo", "--out", tmp_path / "demo", "--device", "cpu") == 130
        assert [path.name for path in (tmp_path / "demo").glob("*")] == ["first-look.png"]
        assert astseg("demo", "--out", tmp_path / "demo", "--device", "cpu") == 0


def test_presets_are_listed_with_size_and_slots(astseg, capsys) -> None:
    assert astseg("presets") == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(PRESETS)
    natural = [line.split()[-2:] for line in lines if line.startswith("natural-video")]
    assert natural == [["200x320", "20"]] * 2


def test_a_recipe_goes_out_is_changed_and_comes_in(astseg, rooms: Path, tmp_path: Path, capsys) -> None:
    assert astseg("presets", "rooms-cpu") == 0
    file = tmp_path / "mine.json"
    file.write_text(capsys.readouterr().out)
    assert read_recipe(file) == PRESETS["rooms-cpu"].recipe
    steps = {"background.steps": 2, "foreground.steps": 4, "foreground.frozen_steps": 2}
    changes = [word for name, value in steps.items() for word in ("--set", f"{name}={value}")]
    command = ("train", rooms, "--recipe", file, *changes, "--set", "foreground.entropy_weight=1e-3")
    assert astseg(*command, "--device", "cpu", "--out", tmp_path / "run") == 0
    recipe = read_run(tmp_path / "run").recipe
    assert recipe == read_recipe(tmp_path / "run" / "run.json")
    assert (recipe.foreground.steps, recipe.background.steps, recipe.foreground.entropy_weight) == (4, 2, 1e-3)
    assert recipe.foreground.slot_use_weight == PRESETS["rooms-cpu"].recipe.foreground.slot_use_weight
    capsys.readouterr()
    assert astseg("train", rooms, "--recipe", file, "--preset", "demo", "--out", tmp_path / "other") == 2
    assert "either a preset or a recipe" in capsys.readouterr().err
    file.write_text('{"architecture": {"num_slots": 3}}')
    assert astseg("train", rooms, "--recipe", file, "--out", tmp_path / "other") == 2
    assert "is no recipe: Object missing required field `image_size`" in capsys.readouterr().err
