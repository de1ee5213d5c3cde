import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import read_images
from astseg._core.processes import Place
from astseg.data import file_source
from astseg.data.opening import open_source
from astseg.data.sources import Source
from astseg.data.store import Bytes
from astseg.data.watching import WatchedFolder
from astseg.inference import sharding
from astseg.inference.formats.converting import FormatRequest, convert_results
from astseg.inference.segmenting import segment_source
from astseg.inference.sharding import ShardsResult, segment_in_shards
from astseg.model.ast_seg import AstSeg


@pytest.fixture
def images(tiny_images: Bytes, tmp_path: Path) -> Path:
    """Seven images of two sizes in two folders."""
    for number in range(7):
        place = tmp_path / "images" / ("a" if number < 3 else "b")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiny_images[number][: 32 if number % 2 else 24]).save(place / f"{number}.png")
    return tmp_path / "images"


def labels(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.png")}


def shards(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("shard-*"))


def content(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def test_shards_hold_what_one_folder_would(model: AstSeg, images: Path, tmp_path: Path) -> None:
    source, calls = open_source(images), []
    result = segment_in_shards(model, source, tmp_path / "out", 3, progress=lambda *done: calls.append(done))
    whole = segment_source(model, source, tmp_path / "whole", 16)
    assert result == ShardsResult(3, 0, 7, whole.objects, 0)
    assert calls == [(number, 7) for number in range(1, 8)]
    assert shards(tmp_path / "out") == ["shard-00000", "shard-00001", "shard-00002"]
    found: dict[str, bytes] = {}
    names = []
    for shard in sorted((tmp_path / "out").glob("shard-*")):
        found |= labels(shard / "labels")
        names.append([image["file_name"] for image in json.loads((shard / "objects.json").read_text())["images"]])
        assert sorted(path.name for path in shard.iterdir()) == ["labels", "objects.json"]
    assert found == labels(tmp_path / "whole" / "labels")
    assert names == [["a/0.png", "a/1.png", "a/2.png"], ["b/3.png", "b/4.png", "b/5.png"], ["b/6.png"]]
    plan = json.loads((tmp_path / "out" / "shards.json").read_text())
    assert (plan["files"], plan["shards"], plan["files_per_shard"]) == (7, 3, 3)


@pytest.mark.parametrize("count", [2, 5])
def test_any_number_of_processes_makes_the_same(model: AstSeg, images: Path, tmp_path: Path, count: int) -> None:
    segment_in_shards(model, open_source(images), tmp_path / "one", 2)
    results = [
        segment_in_shards(model, open_source(images), tmp_path / "several", 2, place=Place(rank, count))
        for rank in reversed(range(count))
    ]
    assert content(tmp_path / "several") == content(tmp_path / "one")
    assert sum(result.shards for result in results) == 4
    assert [result.shards for result in results] == ([2, 2] if count == 2 else [0, 1, 1, 1, 1])


def test_goes_on_after_the_last_whole_shard(
    model: AstSeg, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment_in_shards(model, open_source(images), tmp_path / "whole", 2)
    read = Source.__iter__
    seen = 0

    def interrupted(source: Source) -> object:
        nonlocal seen
        for sample in read(source):
            seen += 1
            if seen == 6:
                raise KeyboardInterrupt
            yield sample

    with monkeypatch.context() as patch:
        patch.setattr(Source, "__iter__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            segment_in_shards(model, open_source(images), tmp_path / "out", 2)
    assert shards(tmp_path / "out") == ["shard-00000", "shard-00001"]
    calls: list[tuple[int, int | None]] = []
    result = segment_in_shards(
        model, open_source(images), tmp_path / "out", 2, progress=lambda *done: calls.append(done)
    )
    assert (result.shards, result.found, result.images, calls[-1]) == (2, 2, 3, (3, 3))
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    (tmp_path / "out" / ".shard-00001.partial").mkdir()  # a kill between the last two steps leaves it
    assert segment_in_shards(model, open_source(images), tmp_path / "out", 2) == ShardsResult(0, 4, 0, 0, 0)
    assert not list((tmp_path / "out").glob(".*.partial"))


def test_a_shard_has_its_formats_when_it_appears(
    model: AstSeg, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrow = pytest.importorskip("pyarrow.parquet")
    request = FormatRequest(("parquet", "coco"), {1: "thing"})
    result = segment_in_shards(model, open_source(images), tmp_path / "out", 4, request=request)
    tables = [
        arrow.read_table(tmp_path / "out" / shard / "parquet" / "objects.parquet") for shard in shards(tmp_path / "out")
    ]
    assert sum(table.num_rows for table in tables) == result.objects
    assert all((tmp_path / "out" / shard / "coco").is_dir() for shard in shards(tmp_path / "out"))

    def fail(*_: object, **__: object) -> None:
        raise AstSegError("no room")

    monkeypatch.setattr(sharding, "convert_results", fail)
    with pytest.raises(AstSegError, match="no room"):
        segment_in_shards(model, open_source(images), tmp_path / "other", 4, request=request)
    assert shards(tmp_path / "other") == []


def test_the_frames_of_animations_are_read_with_their_shard_alone(
    model: AstSeg, images: Path, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        first, *more = map(Image.fromarray, tiny_images[number : number + 3])
        first.save(images / f"c{number}.gif", save_all=True, append_images=more)
    request, out = FormatRequest(("cutouts", "yolo")), tmp_path / "out"
    read: Counter[Path] = Counter()

    def counted(path: Path) -> Iterator[Bytes]:
        read[path] += 1
        return read_images(path)

    with monkeypatch.context() as patch:
        patch.setattr(file_source, "read_images", counted)
        result = segment_in_shards(model, open_source(images), out, 2, request=request)
    assert (result.images, len(read), max(read.values())) == (7 + 4 * 3, 11, 2)
    for shard in map(out.joinpath, shards(out)):
        before = content(shard)
        convert_results(shard, request)
        assert content(shard) == before


def test_unreadable_images_are_counted(model: AstSeg, images: Path, tmp_path: Path) -> None:
    (images / "a" / "1.png").write_bytes((images / "a" / "1.png").read_bytes()[:60])
    assert segment_in_shards(model, open_source(images), tmp_path / "out", 3).skipped == 1
    first = json.loads((tmp_path / "out" / "shard-00000" / "objects.json").read_text())
    assert [entry["name"] for entry in first["skipped"]] == ["a/1"]


def test_a_shard_of_damaged_files_stops_no_other(model: AstSeg, images: Path, tmp_path: Path) -> None:
    for name in ("a/2.png", "b/3.png"):
        (images / name).write_bytes(b"no image")
    result = segment_in_shards(model, open_source(images), tmp_path / "out", 2, request=FormatRequest(("coco",)))
    assert (result.shards, result.images, result.skipped) == (4, 5, 2)
    empty = json.loads((tmp_path / "out" / "shard-00001" / "objects.json").read_text())
    assert empty["images"] == []
    assert [entry["name"] for entry in empty["skipped"]] == ["a/2", "b/3"]
    assert len(list((tmp_path / "out").glob("*/coco"))) == 3


def test_a_shard_whose_files_have_changed_is_made_anew(model: AstSeg, images: Path, tmp_path: Path) -> None:
    request = FormatRequest(("coco",))
    out = tmp_path / "out"
    (images / "b" / "6.png").write_bytes(b"no image")
    assert segment_in_shards(model, open_source(images), out, 2, request=request).skipped == 1
    before = content(out)
    shutil.copyfile(images / "a" / "1.png", images / "b" / "3.png")  # of the second shard
    shutil.copyfile(images / "a" / "2.png", images / "b" / "6.png")  # of the fourth
    for name in ("a/0.png", "b/4.png"):
        os.utime(images / name, ns=(0, 0))  # another time, the same content
    result = segment_in_shards(model, open_source(images), out, 2, request=request)
    assert (result.shards, result.found, result.renewed, result.images, result.skipped) == (2, 2, 2, 3, 0)
    segment_in_shards(model, open_source(images), tmp_path / "new", 2, request=request)
    new, now = content(tmp_path / "new"), content(out)
    for shard in ("shard-00001", "shard-00003"):
        files = {name for name in new if name.startswith(shard)}
        assert files == {name for name in now if name.startswith(shard)}
        assert all(now[name] == new[name] for name in files)
        assert now[f"{shard}/objects.json"] != before[f"{shard}/objects.json"]
    assert all(now[name] == before[name] for name in before if name.startswith(("shard-00000", "shard-00002")))
    assert segment_in_shards(model, open_source(images), out, 2, request=request) == ShardsResult(0, 4, 0, 0, 0)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_corrected_labels_are_not_lost(model: AstSeg, images: Path, tmp_path: Path, mode: str) -> None:
    out = tmp_path / "out"
    segment_in_shards(model, open_source(images), out, 2)
    corrected = out / "shard-00001/labels/a/2.png"
    with Image.open(corrected) as opened:
        drawn = np.array(opened)
    drawn[4, 3] += 1
    Image.fromarray(drawn).convert(mode).save(corrected)
    before = content(out)
    assert segment_in_shards(model, open_source(images), out, 2).found == 4
    for name in ("a/1.png", "b/3.png"):  # of the first shard and of the second
        shutil.copyfile(images / "b/6.png", images / name)
    with pytest.raises(AstSegError, match=r"shard-00001 have changed, and so have its labels .* a/2 for one. Move"):
        segment_in_shards(model, open_source(images), out, 2)
    assert content(out) == before
    corrected.unlink()
    assert segment_in_shards(model, open_source(images), out, 2).renewed == 2


def test_changed_formats_are_not_lost(model: AstSeg, images: Path, tmp_path: Path) -> None:
    out, request = tmp_path / "out", FormatRequest(("coco", "grey"))
    segment_in_shards(model, open_source(images), out, 2, request=request)
    (out / "shard-00001/coco/instances.json").write_text("{}")
    before = content(out)
    assert segment_in_shards(model, open_source(images), out, 2, request=request).found == 4
    shutil.copyfile(images / "b/6.png", images / "b/3.png")
    with pytest.raises(AstSegError, match=r"shard-00001/coco is not as it was written"):
        segment_in_shards(model, open_source(images), out, 2, request=request)
    assert content(out) == before


@pytest.mark.parametrize("changed", [False, True])
def test_a_kill_between_a_shard_and_the_one_that_replaces_it(
    model: AstSeg, images: Path, tmp_path: Path, changed: bool
) -> None:
    out = tmp_path / "out"
    segment_in_shards(model, open_source(images), out, 2)
    if changed:
        shutil.copyfile(images / "b/6.png", images / "b/3.png")
    (out / "shard-00001").rename(out / ".shard-00001.former")
    result = segment_in_shards(model, open_source(images), out, 2)
    assert (result.found, result.renewed, result.shards) == (4 - changed, changed, changed)
    segment_in_shards(model, open_source(images), tmp_path / "new", 2)
    assert labels(out) == labels(tmp_path / "new")
    assert not list(out.glob(".*"))


def test_shards_whose_files_are_not_known_stay(model: AstSeg, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment_in_shards(model, open_source(images), out, 4)
    (out / "shard-00000" / "objects.json").unlink()
    objects = out / "shard-00001" / "objects.json"
    objects.write_text(json.dumps(json.loads(objects.read_text())))  # as another program writes it
    for file in images.rglob("*.png"):
        Image.new("RGB", (9, 9)).save(file)
    assert segment_in_shards(model, open_source(images), out, 4) == ShardsResult(0, 2, 0, 0, 0)


@pytest.mark.parametrize(
    "what", ["number of files in a shard", "names of the files", "weights of the model", "formats", "model"]
)
def test_shards_of_two_kinds_are_not_mixed(model: AstSeg, images: Path, tmp_path: Path, what: str) -> None:
    out = tmp_path / "out"
    segment_in_shards(model, open_source(images), out, 3, model_name="mine")
    shutil.rmtree(out / "shard-00002")
    size, name, request = 3, "mine", None
    match what:
        case "number of files in a shard":
            size = 2
        case "names of the files":
            (images / "a" / "0.png").rename(images / "a" / "00.png")
        case "weights of the model":
            torch.nn.init.zeros_(model.background_log_activation)
        case "formats":
            request = FormatRequest(("coco",))
        case "model":
            name = "another"
    with pytest.raises(AstSegError, match=rf"made with other settings \(.*{what}.*\): ask for the same"):
        segment_in_shards(model, open_source(images), out, size, model_name=name, request=request)
    assert shards(out) == ["shard-00000", "shard-00001"]


def test_what_cannot_be_shared(model: AstSeg, images: Path, tmp_path: Path, tiny_store: object) -> None:
    store = open_source(tmp_path / "store")
    for source in (store, WatchedFolder(images)):
        with pytest.raises(AstSegError, match="Only files of images can be divided"):
            segment_in_shards(model, source, tmp_path / "out", 3)
    with pytest.raises(AstSegError, match="Name slots"):
        segment_in_shards(model, open_source(images), tmp_path / "out", 3, request=FormatRequest(("coco",), 2))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(AstSegError, match="holds other files"):
        segment_in_shards(model, open_source(images), tmp_path / "full", 3)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "shards.json").write_text("{")
    with pytest.raises(AstSegError, match="Cannot begin shards"):
        segment_in_shards(model, open_source(images), tmp_path / "damaged", 3)
    assert np.array_equal(shards(tmp_path / "full"), [])
