"""``astseg segment`` with a model that was trained for a few steps."""

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Program, press_ctrl_c

from astseg._core.image_conversion import from_uint8_images
from astseg.data.store_writer import StoreWriter
from astseg.data.video_writer import VideoWriter
from astseg.hub.loading import load_model
from astseg.inference.tiles import TiledSegmenter
from astseg.model.ast_seg import AstSeg


def fill_disk(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_folder(astseg: Program, finished: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks[1]"
    assert astseg("segment", finished, images, "--out", out, "--device", "cpu") == 0
    names = {"a[red]", "c[]", "e", "more/b", "more/ü", "more/f"}
    labels = {path.relative_to(out / "labels").with_suffix("").as_posix() for path in out.glob("labels/**/*.png")}
    assert labels == names
    found = json.loads((out / "objects.json").read_text(encoding="utf-8"))
    assert {image["name"] for image in found["images"]} == names
    assert [entry["name"] for entry in found["skipped"]] == ["broken[b]"]
    assert astseg.out.startswith("6 images, ")
    assert astseg.out.endswith(f": {out}\n")
    assert "Skipped broken[b]" in astseg.err


def test_a_film(astseg: Program, finished: Path, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "film.mp4", Fraction(10)) as writer:
        for index in range(6):
            writer.append(np.full((48, 64, 3), 40 * index, np.uint8))
    assert astseg("segment", finished, tmp_path / "film.mp4", "--every", 2, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "overlay.mp4").stat().st_size > 0
    assert sorted(path.stem for path in (tmp_path / "out" / "labels").iterdir()) == ["000000", "000002", "000004"]
    assert astseg("segment", finished, tmp_path / "film.mp4", "--max-frames", 2, "--out", tmp_path / "few") == 0
    assert sorted(path.stem for path in (tmp_path / "few" / "labels").iterdir()) == ["000000", "000003"]


def test_tracks(astseg: Program, finished: Path, tmp_path: Path) -> None:
    assert astseg("data", "moving", tmp_path / "in", "--sequences", 1, "--frames", 4, "--size", 32) == 0
    assert astseg("segment", finished, tmp_path / "in" / "000", "--track", "--out", tmp_path / "out") == 0
    assert " tracks: " in astseg.out.replace("1 track:", "1 tracks:")
    entries = json.loads((tmp_path / "out" / "objects.json").read_text())["images"]
    assert len(entries) == 4
    assert all(entry["track"] >= 1 for image in entries for entry in image["objects"])


def test_tracks_go_through_one_film(astseg: Program, finished: Path, images: Path, tmp_path: Path) -> None:
    assert astseg("data", "moving", tmp_path / "in", "--sequences", 1, "--frames", 3, "--size", 32) == 0
    assert "one video or folder" in astseg.mistake("segment", finished, images, tmp_path / "in" / "000", "--track")
    frames = sorted((tmp_path / "in" / "000").rglob("*.png"))
    assert astseg("segment", finished, *frames[:2], "--track", "--out", tmp_path / "out") == 0


def test_categories_by_slot_are_not_for_tiles(astseg: Program, finished: Path, images: Path, tmp_path: Path) -> None:
    request = ("--tiles", "2x2", "--format", "coco", "--categories", "1=car", "--out", tmp_path / "out")
    assert "belong to no slot" in astseg.mistake("segment", finished, images, *request)
    assert not (tmp_path / "out").exists()


def test_tiles(astseg: Program, finished: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (96, 128, 3), np.uint8)).save(tmp_path / "large.png")
    model = load_model(str(finished))
    for tiles, segmenter in (("1x1", TiledSegmenter(model, 1, 1)), ("2x3", TiledSegmenter(model, 2, 3))):
        out = tmp_path / tiles
        assert astseg("segment", finished, tmp_path / "large.png", "--tiles", tiles, "--out", out) == 0
        with Image.open(tmp_path / "large.png") as image, Image.open(out / "labels" / "large.png") as labels:
            expected = segmenter.segment(from_uint8_images(np.asarray(image)[None], "cpu")).labels[0]
            assert (np.asarray(labels) == expected.numpy()).all()


def test_tiles_of_images_of_several_sizes(astseg: Program, finished: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, size in (("a", (20, 40)), ("b", (96, 128))):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / f"in/{name}.png")
    assert astseg("segment", finished, tmp_path / "in", "--tiles", "2x3", "--out", tmp_path / "out") == 0
    segmenters = {
        "a": TiledSegmenter(load_model(str(finished)), 1, 2),
        "b": TiledSegmenter(load_model(str(finished)), 2, 3),
    }
    for name, segmenter in segmenters.items():
        with (
            Image.open(tmp_path / f"in/{name}.png") as image,
            Image.open(tmp_path / f"out/labels/{name}.png") as labels,
        ):
            expected = segmenter.segment(from_uint8_images(np.asarray(image)[None], "cpu")).labels[0]
            assert (np.asarray(labels) == expected.numpy()).all()
    message = astseg.mistake("segment", finished, tmp_path / "in", "--tiles", "7", "--out", tmp_path / "other")
    assert "of 96x128 pixels would have sides below 16 pixels: ask for 6x7 at most" in message


def test_one_pixel_by_a_model_saved_by_hand(astseg: Program, finished: Path, tmp_path: Path) -> None:
    AstSeg.from_pretrained(finished / "model").save_pretrained(tmp_path / "mine")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert astseg("segment", tmp_path / "mine", tmp_path / "dot.png", "--out", tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "labels" / "dot.png") as labels:
        assert labels.size == (1, 1)
    assert astseg.out.startswith("1 image, ")


def test_prepared_data_without_a_test_split(astseg: Program, finished: Path, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "data", (32, 32), "grey", "none") as writer, writer.split("train") as split:
        split.append(np.full((2, 32, 32, 3), 99, np.uint8))
    assert astseg("segment", finished, tmp_path / "data", "--out", tmp_path / "out") == 0
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 2


def test_mistakes(astseg: Program, finished: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases: list[tuple[tuple[object, ...], str]] = [
        (("nowhere", images), "no model 'nowhere'"),
        ((tmp_path / "empty", images), "no model"),
        ((finished, tmp_path / "nothing"), "no file or folder"),
        ((finished, tmp_path / "empty"), "no images"),
        ((finished, images / "broken[b].png"), "1 tried"),
        ((finished, images, "--batch-size", 0), "--batch-size"),
        ((finished, images, "--every", 0), "--every"),
        ((finished, images, "--tiles", "2x0"), "Tiles look like 2x3"),
        ((finished, images, "--tiles", "1000x1000"), "would have sides below 16 pixels: ask for"),
        ((finished, images, "--tiles", 2, "--shard", 2), "not cut into tiles"),
        ((finished, images, "--track", "--shard", 2), "not followed from shard to shard"),
        ((finished, images, "--rule", "min_pixels"), "--rule: a change looks like"),
        ((finished, images, "--rule", "min_pixel=3"), "--rule: the settings: there is no 'min_pixel'"),
        ((finished, images, "--rule", "min_pixels=-3"), "--rule: min_pixels"),
        ((finished, images, "--rule", "noise_multiple=7"), "--rule: a label rule with a noise_multiple needs a static"),
    ]
    for arguments, message in cases:
        assert message in astseg.mistake("segment", *arguments, "--out", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "images"]
    assert "exists already" in astseg.mistake("segment", finished, images, "--out", images)
    assert "Left out" not in astseg.err


def test_another_rule_for_labels(astseg: Program, finished: Path, tmp_path: Path) -> None:
    """Nothing is smaller than a rule allows, and the paper's rule has nothing to change."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / "noise.png")
    found = {}
    for min_pixels in (0, 1024):
        out = tmp_path / str(min_pixels)
        rule = ("--rule", f"min_pixels={min_pixels}", "--rule", "background_margin=9")
        assert astseg("segment", finished, tmp_path / "noise.png", *rule, "--out", out) == 0
        found[min_pixels] = len(json.loads((out / "objects.json").read_text())["images"][0]["objects"])
    assert found[0] > found[1024] == 0
    plain = load_model(str(finished))
    plain.label_rule = None
    plain.save_pretrained(tmp_path / "plain")
    message = astseg.mistake("segment", tmp_path / "plain", tmp_path / "noise.png", "--rule", "min_pixels=1")
    assert "--rule: the model labels pixels by its weights alone, and has no rule to change. Omit it." in message


def test_weights_of_another_configuration(astseg: Program, finished: Path, images: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(finished / "model", model)
    config = json.loads((model / "config.json").read_text())
    config["architecture"]["num_slots"] += 1
    del config["crc32"]  # by hand, and on purpose
    (model / "config.json").write_text(json.dumps(config))
    assert "another configuration" in astseg.mistake("segment", model, images, "--out", tmp_path / "out")


# The signal comes from the thread that writes, so it finds the program anywhere: perhaps just behind an open(), before
# ``with`` has taken the file, which Python then closes with a warning.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize(
    ("event", "code", "message"), [(fill_disk, 2, "No space"), (press_ctrl_c, 130, "The same command goes on")]
)
def test_after_a_full_disk_and_ctrl_c_the_same_command_goes_on(
    event: Callable[..., None],
    code: int,
    message: str,
    astseg: Program,
    finished: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ("segment", finished, images, "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", event)
        assert astseg(*command) == code
    assert message in astseg.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.kept", "images"]
    assert "with other settings (batch size)" in astseg.mistake(*command, "--batch-size", 3)
    assert astseg(*command) == 0
    assert "had been done when the command was stopped" in astseg.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out"]


def test_ctrl_c_before_the_first_image_leaves_nothing(
    astseg: Program, finished: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AstSeg, "segment", press_ctrl_c)
    assert astseg("segment", finished, images, "--out", tmp_path / "out") == 130
    assert astseg.err.endswith("Interrupted: Stopped before any image was done: nothing is kept.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
