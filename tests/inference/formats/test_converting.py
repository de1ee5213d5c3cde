import codecs
import hashlib
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.inference.formats.conftest import ReadingModel, make_results

from astseg._core.errors import AstSegError
from astseg._core.image_files import Bytes
from astseg.data.opening import open_source
from astseg.data.video_writer import VideoWriter
from astseg.inference.formats.converting import FORMATS, WRITTEN_FILE, FormatRequest, convert_results
from astseg.inference.formats.yolo import YoloWriter
from astseg.inference.found_results import OwnResults
from astseg.inference.segmenting import segment_source

OF_ANY_RESULTS = tuple(name for name in FORMATS if name != "mots")  # which is for tracks
EVERY = FormatRequest(OF_ANY_RESULTS, categories=2)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_again_and_from_elsewhere_gives_the_same_bytes(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = convert_results(results, EVERY)
    first = digests(results)
    assert {path.split("/")[0] for path in first} == {*OF_ANY_RESULTS, "labels", "overlays", "objects.json"}
    assert all(one.path.exists() for one in written)
    monkeypatch.chdir(tmp_path)
    convert_results("results", EVERY, "pictures")
    assert digests(results) == first
    assert not list(results.glob(".*"))


def test_arguments_of_other_kinds_are_refused(results: Path) -> None:
    with pytest.raises(TypeError, match=r"such as FormatRequest\(\('coco', 'yolo'\)\), not a str"):
        convert_results(results, "coco")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"names of formats, such as \('coco', 'yolo'\), not a str"):
        FormatRequest("coco")  # type: ignore[arg-type]


def test_progress_tells_how_far_it_is(results: Path, masks: dict[str, Bytes]) -> None:
    done: list[int] = []
    convert_results(results, FormatRequest(("grey",)), progress=lambda count, total: done.append(count))
    assert done == list(range(1, len(masks) + 1))


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        labels = np.zeros((48, 64), np.uint8)
        labels[8:30, 9:40] = 5
        results = make_results(tmp_path / str(count), {f"{index}.png": labels for index in range(count)})
        request = FormatRequest(("coco", "labelstudio", "cutouts", "grey"))
        convert_results(results, request)  # what is kept for good
        # Python's table of interned names grows by megabytes at once, whenever that is.
        return min(traced_peak(lambda: convert_results(results, request)) for _ in range(2))

    def traced_peak(run: Callable[[], object]) -> int:
        tracemalloc.start()
        run()
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    few, many = peak(10), peak(110)
    # Sources list the files that they read: about two kilobytes for each, less than a mask.
    assert many - few < 100 * 48 * 64


def test_a_failure_leaves_the_former_files(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert_results(results, FormatRequest(("coco", "yolo")))
    before = digests(results)
    append, count = YoloWriter.append, 0

    def fail(writer: YoloWriter, image: Any) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        append(writer, image)

    monkeypatch.setattr(YoloWriter, "append", fail)
    with pytest.raises(KeyboardInterrupt):
        convert_results(results, FormatRequest(("coco", "yolo", "cvat"), {1: "other"}))
    assert digests(results) == before
    assert not list(results.glob(".*"))


@pytest.mark.parametrize("change", ["edited", "added", "removed", "moved", "of another program"])
def test_what_somebody_has_changed_is_not_written_anew(results: Path, change: str) -> None:
    request = FormatRequest(("cutouts", "coco"))
    convert_results(results, request)
    (results / "cutouts/labels.cache").write_text("of a program that has read them")
    (results / "cutouts/.DS_Store").write_text("of a desktop that has shown them")
    convert_results(results, replace(request, categories={1: "other"}))
    cutouts = sorted((results / "cutouts").rglob("*.png"))
    match change:
        case "edited":
            (results / "coco/instances.json").write_text("{}")
        case "added":
            (results / "coco/notes.txt").write_text("mine")
        case "removed":
            cutouts[0].unlink()
        case "moved":
            cutouts[0].rename(cutouts[0].parent.parent / cutouts[0].name)
        case "of another program":
            (results / "coco" / WRITTEN_FILE).unlink()
    before = digests(results)
    changed = "cutouts" if change in ("removed", "moved") else "coco"
    with pytest.raises(
        AstSegError, match=rf"results/{changed} is not as it was written: somebody .* Move it elsewhere"
    ):
        convert_results(results, request)
    assert digests(results) == before
    (results / changed).rename(results.parent / "mine")
    convert_results(results, request)


def test_a_link_in_place_of_a_formats_folder_is_refused(results: Path, tmp_path: Path) -> None:
    request = FormatRequest(("grey",))
    convert_results(results, request)
    (results / "grey").rename(tmp_path / "mine")
    (results / "grey").symlink_to(tmp_path / "mine")
    before = digests(tmp_path / "mine")
    with pytest.raises(AstSegError, match=r"grey should be a folder, but is a link to .*mine\. Remove the link"):
        convert_results(results, request)
    assert digests(tmp_path / "mine") == before


def test_names_that_leave_no_room_are_shortened(tmp_path: Path) -> None:
    labels = np.array([[1, 0, 0, 2]], np.uint8)
    names = [251 * "a", 250 * "a" + "b", 125 * "ü"]
    results = make_results(tmp_path, {f"in/{name}.png": labels for name in names})
    formats = tuple(name for name in OF_ANY_RESULTS if name != "parquet")
    convert_results(results, FormatRequest(formats))
    cutouts = [path for path in (results / "cutouts").rglob("*.png") if path.parent.name == "in"]
    assert len(cutouts) == 6
    assert all(len(os.fsencode(path.name)) <= 255 and path.name.endswith(("-1.png", "-2.png")) for path in cutouts)
    assert sum(path.name.startswith(100 * "ü") for path in cutouts) == 2


def test_corrected_labels_are_converted_as_they_are(tmp_path: Path) -> None:
    labels = np.repeat(np.array([[1, 2, 3]], np.uint8), 8, 1)
    results = make_results(tmp_path, {"a.png": labels})
    corrected = np.where(labels == 2, 3, labels)
    Image.fromarray(corrected).save(results / "labels/a.png")
    convert_results(results, FormatRequest(("coco",)))
    found = json.loads((results / "coco/instances.json").read_text())["annotations"]
    assert [(one["area"], one["bbox"]) for one in found] == [(8, [0, 0, 8, 1]), (16, [8, 0, 16, 1])]
    Image.fromarray(np.full_like(labels, 4)).save(results / "labels/a.png")
    with pytest.raises(AstSegError, match="has a label 4, which"):
        convert_results(results, FormatRequest(("coco",)))


def test_results_of_before_file_names(tmp_path: Path) -> None:
    results = make_results(tmp_path, {"b/a.png": np.eye(3, dtype=np.uint8)})
    path = results / "objects.json"
    content = path.read_text()
    for word in ('"file_name": "b/a.png", ', '"model": "reader", ', '"astseg": "0.1.0", '):
        assert word in content
        content = content.replace(word, "")
    path.write_text(content)
    convert_results(results, FormatRequest(("coco", "yolo")))
    content = json.loads((results / "coco/instances.json").read_text())
    assert content["images"][0]["file_name"] == "b/a.png"
    assert "model" not in content["info"]
    assert (results / "yolo/images/b/a.png").is_file()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"formats": ("cocoa",)}, "no format 'cocoa'. Did you mean 'coco'"),
        ({"formats": ("yolo",), "tolerance": -1.0}, "tolerance should be 0"),
        ({"formats": ("yolo",), "tolerance": float("nan")}, "tolerance should be 0"),
        ({"formats": ("coco",), "categories": 0}, "1 kind"),
        ({"formats": ("coco",), "categories": {1: "a/b"}}, "'a/b' cannot name"),
        ({"formats": ("coco",), "categories": {1: ".."}}, "'..' cannot name"),
        ({"formats": ("coco",), "categories": {1: ""}}, "'' cannot name"),
        ({"formats": ("coco",), "categories": {1: "cars."}}, "'cars.' cannot name a category: on Windows"),
        ({"formats": ("coco",), "categories": {1: "Con"}}, "'Con' cannot name a category: on Windows"),
        ({"formats": ("coco",), "categories": {1: "lpt1 .x"}}, "'lpt1 .x' cannot name a category: on Windows"),
        ({"formats": ("coco",), "categories": {1: "car", 2: "Car"}}, "'car' and 'Car' are one name on some disks"),
        ({"formats": ("coco",), "categories": {1: "Object"}}, "'object' and 'Object' are one name on some disks"),
        ({"formats": ("coco",), "categories": {1: "caf\u00e9", 2: "cafe\u0301"}}, "are one name on some disks"),
        ({"formats": ("coco",), "categories": {1: "a\nb"}}, "cannot name"),
    ],
)
def test_refuses_requests(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(AstSegError, match=message):
        FormatRequest(**request_)


def test_refuses_no_format(results: Path) -> None:
    with pytest.raises(AstSegError, match="Name a format: coco, yolo"):
        convert_results(results, FormatRequest(()))


def test_parquet_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astseg.inference.formats.parquet.find_spec", lambda name: None)
    with pytest.raises(AstSegError, match=r"pip install 'astseg\[parquet\]'"):
        FormatRequest(("parquet",))
    FormatRequest(("coco",))


def rewrite(old: str, new: str) -> Callable[[Path], None]:
    def change(results: Path) -> None:
        path = results / "objects.json"
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new))

    return change


def drop_labels(results: Path) -> None:
    shutil.rmtree(results / "labels")


def change_all(change: Callable[[Any], Any], **style: Any) -> Callable[[Path], None]:
    """Write objects.json anew, as another program does."""

    def write(results: Path) -> None:
        path = results / "objects.json"
        path.write_text(json.dumps(change(json.loads(path.read_text())), **style))

    return write


def with_floats(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: with_floats(value) for key, value in content.items()}
    if isinstance(content, list):
        return [with_floats(value) for value in content]
    return float(content) if isinstance(content, int) else content


def with_mark(results: Path) -> None:
    path = results / "objects.json"
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())


def with_more(content: Any) -> Any:
    if isinstance(content, dict):
        return {"0 more": {"a": [1]}, **{key: with_more(value) for key, value in content.items()}}
    return [with_more(value) for value in content] if isinstance(content, list) else content


def without(*names: str) -> Callable[[Any], Any]:
    def strip(content: Any) -> Any:
        if isinstance(content, dict):
            return {key: strip(value) for key, value in content.items() if key not in names}
        return [strip(value) for value in content] if isinstance(content, list) else content

    return strip


OPTIONAL = ("box", "area", "centroid", "position", "scale", "activation", "appearance", "skipped", "astseg", "commit")


@pytest.mark.parametrize(
    "rewritten",
    [
        change_all(lambda content: content),
        change_all(lambda content: content, indent=2),
        change_all(lambda content: content, separators=(",", ":")),
        change_all(lambda content: content, sort_keys=True),
        change_all(with_floats),
        change_all(with_more, indent=1),
        change_all(without(*OPTIONAL)),
        with_mark,
    ],
)
def test_what_another_program_has_written_anew_is_understood(
    tmp_path: Path, rewritten: Callable[[Path], object]
) -> None:
    results = make_results(tmp_path, {"a.png": np.eye(5, dtype=np.uint8), "b.png": np.zeros((4, 6), np.uint8)})
    request = FormatRequest(("coco", "yolo"))
    convert_results(results, request)
    names = ("coco/instances.json", "yolo/labels/a.txt")
    expected = [without("info")(json.loads((results / names[0]).read_text())), (results / names[1]).read_text()]
    rewritten(results)
    convert_results(results, request)
    found = [without("info")(json.loads((results / names[0]).read_text())), (results / names[1]).read_text()]
    assert found == expected


def test_what_was_lost_is_refused_where_it_is_needed(tmp_path: Path) -> None:
    results = make_results(tmp_path, {"a.png": np.eye(5, dtype=np.uint8)})
    change_all(without("appearance", "activation"))(results)
    with pytest.raises(AstSegError, match="have lost their appearance"):
        convert_results(results, FormatRequest(("coco",), 1))
    assert OwnResults(results).read(0).scores is None
    change_all(without("source"))(results)
    convert_results(results, FormatRequest(("coco",)))
    with pytest.raises(AstSegError, match="does not tell where its images are"):
        convert_results(results, FormatRequest(("cutouts",)))


def color_labels(results: Path) -> None:
    with Image.open(results / "labels/a.png") as image:
        image.convert("RGB").save(results / "labels/a.png")


def shrink_labels(results: Path) -> None:
    with Image.open(results / "labels/a.png") as image:
        image.resize((2, 2)).save(results / "labels/a.png")


def no_text(results: Path) -> None:
    (results / "objects.json").write_bytes(os.urandom(300).replace(b"\n", b""))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_labels, "holds no results"),
        (change_all(without("label")), "lacks what is needed: .*missing required field `label`"),
        (change_all(without("images")), "lacks what is needed: .*missing required field `images`"),
        (change_all(lambda content: {**content, "images": {}}), "Expected `array`, got `object`"),
        (change_all(lambda content: [content]), "Expected `object`, got `array`"),
        (no_text, "objects.json is damaged"),
        (rewrite('"slots": 255', '"slots": 1000'), "objects.json is damaged"),
        (rewrite('"slots": 255', '"slots": ' + 200_000 * "["), "objects.json is damaged"),
        (rewrite('"width": 5', '"width": "5"'), "objects.json is damaged"),
        (rewrite('"activation": 1.0', '"activation": NaN'), "objects.json is damaged"),
        (rewrite('"activation": 1.0', '"activation": 1e999'), "objects.json is damaged"),
        (rewrite('"appearance": [0', '"appearance": [NaN, 0'), "objects.json is damaged"),
        (rewrite('"appearance": [0', '"appearance": [1e155, 0'), "objects.json is damaged"),  # its square is infinite
        (rewrite('"appearance": [0', f'"appearance": [-{10**400}, 0'), "objects.json is damaged"),
        (rewrite('"width": 5', '"time": Infinity, "width": 5'), "objects.json is damaged"),
        (rewrite('"name": "a"', '"name": "../a"'), "not a path below a folder"),
        (rewrite('"name": "a"', '"name": "/a"'), "not a path below a folder"),
        (rewrite('"file_name": "a.png"', '"file_name": "x/../../a.png"'), "not a path below a folder"),
        (rewrite('"width": 5', '"width": 6'), "a.png should have 5 x 6 pixels with 8-bit labels, not 5 x 5"),
        (color_labels, "not 5 x 5 of mode RGB"),
        (shrink_labels, "not 2 x 2 of mode"),
        (lambda results: (results / "labels/a.png").write_bytes(b"no"), "a.png is not a readable image"),
        (lambda results: (results / "labels/a.png").unlink(), "There is no image"),
    ],
)
def test_damaged_results(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    results = make_results(tmp_path, {"a.png": np.eye(5, dtype=np.uint8)})
    damage(results)
    with pytest.raises(AstSegError, match=message):
        convert_results(results, FormatRequest(("coco",)))
    assert not (results / "coco").exists()


def test_images_that_are_no_longer_there(tmp_path: Path) -> None:
    results = make_results(tmp_path, {"a.png": np.eye(5, dtype=np.uint8), "b.png": np.eye(5, dtype=np.uint8)})
    request = FormatRequest(("cutouts",))
    moved = tmp_path / "moved"
    (tmp_path / "pictures").rename(moved)
    with pytest.raises(AstSegError, match=r"images of .* are not in .*pictures. Say where they are now."):
        convert_results(results, request)
    coco, tasks = convert_results(results, FormatRequest(("coco", "labelstudio")))  # which only name them
    assert coco.note is None
    assert str(tasks.note).startswith("images are named where they no longer are: 2 (")
    (task, _) = json.loads((results / "labelstudio/tasks.json").read_text())
    assert task["data"]["image"].endswith("?d=pictures/a.png")
    convert_results(results, request, moved)
    assert len(list((results / "cutouts/object").iterdir())) == 2
    Image.new("RGB", (6, 5)).save(moved / "b.png")
    with pytest.raises(AstSegError, match=r"b of .* has another size in"):
        convert_results(results, request, moved)
    (moved / "b.png").unlink()
    with pytest.raises(AstSegError, match=r"b of .* is not there in"):
        convert_results(results, request, moved)


def test_images_that_are_no_longer_there_may_be_left_out(tmp_path: Path) -> None:
    labels = np.eye(12, dtype=np.uint8)
    results = make_results(tmp_path, {f"{name}.png": labels for name in ("a", "b", "c", "d")})
    pictures = tmp_path / "pictures"
    (pictures / "a.png").unlink()
    Image.new("RGB", (6, 5)).save(pictures / "b.png")
    (pictures / "c.png").write_bytes(b"damaged")
    request = FormatRequest(("coco", "cutouts", "yolo"), may_lack_images=True)
    coco, cutouts, yolo = convert_results(results, request)
    assert coco.note is None
    assert len(json.loads(coco.path.read_text())["images"]) == 4
    assert cutouts.note == "left out, as no longer there as segmented: 3 (a, b, c)"
    assert [path.name for path in cutouts.path.rglob("*.png")] == ["d-1.png"]
    assert yolo.note is not None
    assert yolo.note.startswith("of 1 objects")
    assert yolo.note.endswith(f"; {cutouts.note}")
    assert [path.name for path in (results / "yolo/images").iterdir()] == ["d.png"]
    assert [path.name for path in (results / "yolo/labels").iterdir()] == ["d.txt"]
    shutil.rmtree(pictures)
    _, cutouts, _ = convert_results(results, request)
    assert str(cutouts.note).endswith("4 (a, b, c and 1 more)")


def test_images_that_were_overwritten(tmp_path: Path) -> None:
    results = make_results(tmp_path, {"a.png": np.eye(5, dtype=np.uint8), "b.png": np.eye(5, dtype=np.uint8)})
    other = tmp_path / "pictures/b.png"
    Image.new("RGB", (5, 5), "blue").save(other)
    cutouts, yolo = convert_results(results, FormatRequest(("cutouts", "yolo"), may_lack_images=True))
    assert cutouts.note == "left out, as no longer there as segmented: 1 (b)"
    assert str(yolo.note).endswith(f"; {cutouts.note}")
    assert [path.name for path in (results / "yolo/images").iterdir()] == ["a.png"]
    request = FormatRequest(("cutouts",))
    with pytest.raises(AstSegError, match=r"b of .* has other pixels in .*pictures than were segmented"):
        convert_results(results, request)
    convert_results(results, request, tmp_path / "pictures")  # edited on purpose
    assert len(list((results / "cutouts/object").iterdir())) == 2


def test_of_many_images_left_out_the_first_are_named(tmp_path: Path) -> None:
    results = make_results(tmp_path, {f"{index:02}.png": np.eye(5, dtype=np.uint8) for index in range(12)})
    for index in range(11):
        (tmp_path / f"pictures/{index:02}.png").unlink()
    (written,) = convert_results(results, FormatRequest(("cutouts",), may_lack_images=True))
    assert str(written.note).endswith(": 11 (00, 01, 02 and 8 more)")


@pytest.mark.parametrize("form", ["array", "film"])
def test_a_single_file_that_has_moved_is_named_or_found_in_its_folder(tmp_path: Path, form: str) -> None:
    frames = np.zeros((3, 32, 48, 3), np.uint8)
    frames[:, 4:20, 6:30] = (255, 0, 0)
    file = tmp_path / ("a.npy" if form == "array" else "a.mp4")
    if form == "array":
        np.save(file, frames)
    else:
        with VideoWriter(file, Fraction(25)) as writer:
            for frame in frames:
                writer.append(frame)
    segment_source(ReadingModel(), open_source(file), tmp_path / "results")
    (tmp_path / "moved").mkdir()
    moved = file.rename(tmp_path / "moved" / file.name)
    for place in (moved, moved.parent):
        (written,) = convert_results(tmp_path / "results", FormatRequest(("yolo",)), place)
        assert len(list(written.path.parent.glob("images/*"))) == 3
