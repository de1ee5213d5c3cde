import gzip
import os
import re

import numpy as np
import pytest

from astseg._core.errors import AstSegError
from astseg.cli import app
from astseg.cli.console import run
from astseg.data.benchmarks import benchmark_import
from astseg.data.benchmarks.benchmark_import import import_benchmark
from astseg.data.benchmarks.protocols import Portion, Protocol
from astseg.data.store import Store
from astseg.data.store_writer import SplitWriter

FIRST_THREE = Protocol("small", "the first three for test", (Portion("test", 0, 3), Portion("train", 3, None)))
COUNT = 10


class StopError(Exception):
    pass


def stop_at(stage, done):
    def report(progress):
        if progress.stage.startswith(stage) and progress.done >= done:
            raise StopError

    return report


def same(first, second):
    assert Store(first).manifest == Store(second).manifest
    Store(first).verify()


# -- records


@pytest.fixture
def rooms(formats, tmp_path):
    scenes = [formats.room(index) for index in range(COUNT)]
    path = tmp_path / "objects_room_train.tfrecords"
    return formats.write_records(path, [formats.scene_message(*scene) for scene in scenes]), scenes


def test_objects_room(rooms, tmp_path):
    path, scenes = rooms
    store = import_benchmark("objectsroom", path, tmp_path / "s", protocol=FIRST_THREE)
    assert {name: len(store[name]) for name in store.splits} == {"test": 3, "train": 7}
    for index, (image, masks) in enumerate(scenes):
        split, place = (store["test"], index) if index < 3 else (store["train"], index - 3)
        np.testing.assert_array_equal(split.images[place], image)
        np.testing.assert_array_equal(split.masks[place], np.maximum(0, masks.argmax(0) - 3))
    manifest = store.manifest
    assert manifest.details["records_read"] == {path.name: COUNT}
    assert (manifest.details["benchmark"], manifest.details["slots"]) == ("objectsroom", 3)
    assert manifest.details["protocol"] == "small"
    assert "objects_room_train.tfrecords" in manifest.source
    assert "no crop, resized to 64 x 64" in manifest.protocol
    assert "the first three for test" in manifest.protocol
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, "s"]


def test_the_three_test_sets_of_objects_room(formats, rooms, tmp_path):
    for name, entities in (("empty_room", 4), ("six_objects", 10), ("identical_color", 10)):
        messages = [formats.scene_message(*formats.room(index, entities)) for index in range(2)]
        formats.write_records(tmp_path / f"objects_room_test_{name}.tfrecords", messages)
    store = import_benchmark("objectsroom", tmp_path, tmp_path / "s", protocol=FIRST_THREE, limit=2)
    counts = {name: len(store[name]) for name in store.splits}
    assert counts == {"test": 2, "train": 2, "empty_room": 2, "six_objects": 2, "identical_color": 2}
    assert store["empty_room"].masks.max() == 0
    np.testing.assert_array_equal(store["six_objects"].masks[1], np.maximum(0, formats.room(1, 10)[1].argmax(0) - 3))
    assert "only the first 2 images of each split" in store.manifest.protocol


def test_clevr(formats, tmp_path):
    scenes = [formats.clevr_scene(index) for index in range(4)]
    path = formats.write_records(tmp_path / "clevr.tfrecords", [formats.scene_message(*scene) for scene in scenes])
    store = import_benchmark("clevr", path, tmp_path / "s", image_size=192, protocol=FIRST_THREE)
    assert {name: len(store[name]) for name in store.splits} == {"test": 3, "train": 1}
    np.testing.assert_array_equal(store["train"].images[0], scenes[3][0][24:216, 64:256])
    assert store.manifest.image_size == (192, 192)
    assert "centre crop 192 x 192" in store.manifest.protocol
    exchanged = import_benchmark(
        "clevr", path, tmp_path / "x", image_size=192, protocol=FIRST_THREE, exchange_red_and_blue=True
    )
    np.testing.assert_array_equal(exchanged["test"].images, store["test"].images[..., ::-1])
    np.testing.assert_array_equal(exchanged["test"].masks, store["test"].masks)
    assert "red and blue exchanged" in exchanged.manifest.protocol


def test_a_protocol_of_which_the_file_holds_only_a_part(rooms, tmp_path):
    store = import_benchmark("objectsroom", rooms[0], tmp_path / "s", protocol="genesis")
    assert store.splits == ("test",)
    assert len(store["test"]) == COUNT


@pytest.mark.parametrize("done", [1, 4, 9])
def test_a_stopped_import_of_records_goes_on(rooms, tmp_path, done):
    path, _ = rooms
    import_benchmark("objectsroom", path, tmp_path / "whole", protocol=FIRST_THREE)
    arguments = ("objectsroom", path, tmp_path / "s")
    with pytest.raises(StopError):
        import_benchmark(*arguments, protocol=FIRST_THREE, report=stop_at("reading", done))
    assert not (tmp_path / "s").exists()
    seen = []
    import_benchmark(*arguments, protocol=FIRST_THREE, report=seen.append)
    assert seen[0].done == done + 1
    assert (seen[-1].done, seen[-1].unit) == (COUNT, "images")
    same(tmp_path / "s", tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, "s", "whole"])


def test_a_damaged_record_stops_the_import_and_a_whole_file_goes_on(rooms, tmp_path):
    path, _ = rooms
    import_benchmark("objectsroom", path, tmp_path / "whole", protocol=FIRST_THREE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(AstSegError, match="is damaged"):
        import_benchmark("objectsroom", path, tmp_path / "s", protocol=FIRST_THREE)
    path.write_bytes(whole)
    import_benchmark("objectsroom", path, tmp_path / "s", protocol=FIRST_THREE)
    same(tmp_path / "s", tmp_path / "whole")


def test_a_stopped_import_is_not_continued_with_other_settings(rooms, tmp_path):
    with pytest.raises(StopError):
        import_benchmark("objectsroom", rooms[0], tmp_path / "s", report=stop_at("reading", 2))
    with pytest.raises(AstSegError, match="begun with other settings"):
        import_benchmark("objectsroom", rooms[0], tmp_path / "s", image_size=32)


def test_mistakes_with_records(formats, rooms, tmp_path):
    path, _ = rooms
    with pytest.raises(AstSegError, match="does not exist"):
        import_benchmark("clevr", tmp_path / "none", tmp_path / "s")
    with pytest.raises(AstSegError, match="No file was given"):
        import_benchmark("clevr", [], tmp_path / "s")
    with pytest.raises(AstSegError, match=r"read from \.tfrecords or \.hdf5 files"):
        import_benchmark("clevr", formats.unpack(tmp_path / "f", {"a.png": b""}), tmp_path / "s")
    with pytest.raises(AstSegError, match="Is it another data set"):
        import_benchmark("clevr", path, tmp_path / "s")
    with pytest.raises(AstSegError, match="would fill the same split"):
        import_benchmark("objectsroom", [path, path], tmp_path / "s")
    with pytest.raises(AstSegError, match="no protocol"):
        import_benchmark("objectsroom", path, tmp_path / "s", protocol="mine")
    with pytest.raises(AstSegError, match="not 0"):
        import_benchmark("objectsroom", path, tmp_path / "s", limit=0)
    with pytest.raises(AstSegError, match="not 4"):
        import_benchmark("objectsroom", path, tmp_path / "s", image_size=4)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["f", path.name]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(AstSegError, match="exists already"):
        import_benchmark("objectsroom", path, tmp_path / "full")


def test_a_file_without_records(formats, tmp_path):
    path = formats.write_records(tmp_path / "a.tfrecords", [])
    with pytest.raises(AstSegError, match="holds no records"):
        import_benchmark("objectsroom", path, tmp_path / "s")
    assert list(tmp_path.iterdir()) == [path]


def test_records_that_no_split_wants(formats, tmp_path):
    path = formats.write_records(tmp_path / "clevr.tfrecords", [formats.scene_message(*formats.clevr_scene(0))])
    later = Protocol("later", "all but the first nine", (Portion("test", 9, None),))
    with pytest.raises(AstSegError, match="none of the records is of a split of the protocol 'later'"):
        import_benchmark("clevr", path, tmp_path / "s", protocol=later)
    assert list(tmp_path.iterdir()) == [path]


# -- CLEVRTEX


@pytest.fixture
def tex(formats):
    return {name: data for index in range(20) for name, data in formats.tex_files(index).items()}


def prepared(formats, index):
    labels = formats.tex_labels(index)[24:216, 64:256]
    places = ((np.arange(128) + 0.5) * 1.5).astype(int)
    return labels[np.ix_(places, places)]


def check_tex(store, formats):
    assert {name: len(store[name]) for name in store.splits} == {"test": 2, "validation": 2, "train": 16}
    masks = np.concatenate([store[name].masks for name in ("test", "validation", "train")])
    images = np.concatenate([store[name].images for name in ("test", "validation", "train")])
    for index in range(20):
        np.testing.assert_array_equal(masks[index], prepared(formats, index))
        assert (images[index][..., 1] == index).all()


def test_clevrtex_from_a_folder_and_from_archives(formats, tex, tmp_path):
    folder = formats.unpack(tmp_path / "folder", tex)
    store = import_benchmark("clevrtex", folder, tmp_path / "a")
    check_tex(store, formats)
    assert store.manifest.details["images_found"] == 20
    assert store.manifest.details["unreadable"] == []

    # Masks first and images last, in three archives of their own.
    names = sorted(tex, key=lambda name: (not name.endswith("_flat.png"), name[::-1]))
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for part in range(3):
        content = formats.tar({name: tex[name] for name in names[part::3]})
        (downloads / f"clevrtex_full_part{part + 1}.tar.gz").write_bytes(gzip.compress(content))
    (downloads / "clevrtex_camo.tar.gz").write_bytes(b"something else")
    (downloads / "clevrtex_full_part9.tar.gz.part").write_bytes(b"half a download")
    progress = []
    same_store = import_benchmark("clevrtex", downloads, tmp_path / "b", report=progress.append)
    assert same_store.manifest.splits == store.manifest.splits
    assert progress[0].unit == "bytes"
    assert progress[-1].stage == "writing train"

    # One archive in pieces.
    archive = gzip.compress(formats.tar(tex))
    quarter = -(-len(archive) // 4)
    paths = [tmp_path / f"clevrtex_full_part{part + 1}.tar.gz" for part in range(4)]
    for part, path in enumerate(paths):
        path.write_bytes(archive[part * quarter : (part + 1) * quarter])
    assert import_benchmark("clevrtex", paths, tmp_path / "c").manifest.splits == store.manifest.splits


def test_other_variants_and_converted_clevr(formats, tmp_path):
    files = {}
    for index in range(3):
        files |= formats.tex_files(index, "outd")
        for name, data in formats.tex_files(index).items():
            files[f"clevr/{name.rpartition('_full_')[2]}".replace("clevr/", "clevr/CLEVR_")] = data
    folder = formats.unpack(tmp_path / "folder", files)
    store = import_benchmark("clevrtex-ood", folder, tmp_path / "a")
    assert {name: len(store[name]) for name in store.splits} == {"test": 3}
    converted = import_benchmark("clevr-png", folder, tmp_path / "b", exchange_red_and_blue=True)
    np.testing.assert_array_equal(converted["test"].images, store["test"].images[..., ::-1])
    with pytest.raises(AstSegError, match="No readable image of 'clevrtex-camo'"):
        import_benchmark("clevrtex-camo", folder, tmp_path / "c")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a", "b", "folder"]


def test_a_missing_image_is_named_and_can_be_added(formats, tex, tmp_path):
    folder = formats.unpack(tmp_path / "folder", tex)
    mask = folder / "clevrtex_full/0/CLEVRTEX_full_000007_flat.png"
    content = mask.read_bytes()
    mask.unlink()
    with pytest.raises(AstSegError, match="1 of 20 images or their masks are missing, the first is number 7"):
        import_benchmark("clevrtex", folder, tmp_path / "s")
    extra = formats.unpack(tmp_path / "extra", {mask.name: content})
    check_tex(import_benchmark("clevrtex", [folder, extra], tmp_path / "s"), formats)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["extra", "folder", "s"]


def test_unreadable_images_are_skipped_and_named(formats, tex, tmp_path):
    names = [name for name in tex if name.endswith(("000004.png", "000009_flat.png"))]
    tex[names[0]] = tex[names[0]][:500]
    tex[names[1]] = formats.png(np.zeros((240, 320, 3), np.uint8), 2)
    store = import_benchmark("clevrtex", formats.unpack(tmp_path / "f", tex), tmp_path / "s")
    assert len(store["train"]) == 16 - 2 + (4 < 4)
    assert {name for name, _ in store.manifest.details["unreadable"]} == set(names)
    assert "palette" in str(store.manifest.details["unreadable"])
    np.testing.assert_array_equal(store["train"].masks[0], prepared(formats, 5))


def test_the_command_says_what_the_import_found(formats, tex, tmp_path, capsys):
    (name,) = (name for name in tex if name.endswith("000004.png"))
    tex[name] = tex[name][:500]
    folder = formats.unpack(tmp_path / "f", tex)
    arguments = ["data", "import", str(folder), "--benchmark", "clevrtex", "--out", str(tmp_path / "s")]
    assert run(app, arguments) == 0
    out, err = capsys.readouterr()
    assert f"Skipped {name}: " in err
    assert re.search(r"Note \d+ images were found, but 50000 are published", err)
    assert out.endswith(f"Data: {tmp_path / 's'}\n")
    assert "reading" in err


@pytest.mark.parametrize(("stage", "done"), [("reading", 17), ("writing validation", 1), ("writing train", 9)])
def test_a_stopped_import_of_images_goes_on(formats, tex, tmp_path, stage, done, monkeypatch):
    folder = formats.unpack(tmp_path / "folder", tex)
    import_benchmark("clevrtex", folder, tmp_path / "whole")
    with pytest.raises(StopError):
        import_benchmark("clevrtex", folder, tmp_path / "s", report=stop_at(stage, done))
    assert not (tmp_path / "s").exists()
    decoded = []
    decode = benchmark_import.clevrtex.decode
    monkeypatch.setattr(benchmark_import.clevrtex, "decode", lambda *a: decoded.append(1) or decode(*a))
    import_benchmark("clevrtex", folder, tmp_path / "s")
    assert len(decoded) == (30 if stage == "reading" else 0)
    same(tmp_path / "s", tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "s", "whole"]


def test_a_destination_in_use_is_refused_before_anything_is_read(formats, tex, tmp_path):
    folder = formats.unpack(tmp_path / "folder", tex)
    (tmp_path / "s").write_text("a file")
    with pytest.raises(AstSegError, match="exists already"):
        import_benchmark("clevrtex", folder, tmp_path / "s", report=stop_at("reading", 0))


# -- ShapeStacks


@pytest.fixture
def stacks(formats):
    files = {
        "splits/default/train.txt": b"b\na\n",
        "splits/default/eval.txt": b"c\n",
        "splits/default/test.txt": b"d\n",
    }
    for number, scenario in enumerate("abcd"):
        for camera in range(1, 17):
            files |= formats.stack_files(scenario, camera, number + 1, loose=scenario == "c" and camera < 4)
    return files


def test_shapestacks_from_a_folder_and_from_archives(formats, stacks, tmp_path):
    store = import_benchmark("shapestacks", formats.unpack(tmp_path / "folder", stacks), tmp_path / "a")
    assert {name: len(store[name]) for name in store.splits} == {"train": 32, "validation": 16, "test": 16}
    assert store.splits == ("train", "validation", "test")
    # Scenario b comes first, as in the list; cameras come by number.
    assert store["train"].images[:, 0, 0, 1].tolist() == [*range(1, 17), *range(1, 17)]
    assert store["train"].masks[:, 32, 32].tolist() == [2] * 16 + [1] * 16
    assert store["validation"].masks.max() == 3
    assert store["test"].masks[0, 32, 32] == 4
    details = store.manifest.details
    # The loose pixels lie in rows and columns 16 to 45 of the crop of 196, of which 64 are kept.
    kept = sum(16 <= int((place + 0.5) * 196 / 64) < 46 for place in range(64))
    assert details["unassigned"] == {"images": 3, "pixels": 3 * kept**2}
    assert details["missing"] == 0
    assert "centre crop 196 x 196, resized to 64 x 64" in store.manifest.protocol

    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for part, start in (("rgb", "recordings"), ("iseg", "iseg"), ("meta", "splits")):
        chosen = {name: data for name, data in reversed(stacks.items()) if name.startswith(start)}
        (downloads / f"shapestacks-{part}.tar.gz").write_bytes(gzip.compress(formats.tar(chosen)))
    archived = import_benchmark("shapestacks", downloads, tmp_path / "b")
    assert archived.manifest.splits == store.manifest.splits
    assert archived.manifest.details["unassigned"] == details["unassigned"]


def test_shapestacks_with_missing_recordings(formats, stacks, tmp_path):
    absent = [name for name in stacks if name.startswith("iseg/d") and "cam_1-" in name]
    for name in absent:
        del stacks[name]
    store = import_benchmark("shapestacks", formats.unpack(tmp_path / "folder", stacks), tmp_path / "a")
    assert len(store["test"]) == 15
    assert store.manifest.details["missing"] == 1


def test_a_stopped_import_of_stacks_counts_every_loose_pixel_once(formats, stacks, tmp_path):
    folder = formats.unpack(tmp_path / "folder", stacks)
    import_benchmark("shapestacks", folder, tmp_path / "whole")
    with pytest.raises(StopError):
        import_benchmark("shapestacks", folder, tmp_path / "s", report=stop_at("writing validation", 2))
    import_benchmark("shapestacks", folder, tmp_path / "s")
    same(tmp_path / "s", tmp_path / "whole")


def test_shapestacks_without_lists(formats, stacks, tmp_path):
    folder = formats.unpack(tmp_path / "folder", stacks)
    with pytest.raises(AstSegError, match=r"No splits/blocks_all/train\.txt was found"):
        import_benchmark("shapestacks", folder, tmp_path / "s", protocol="blocks_all")


# -- a full disk


@pytest.mark.parametrize("full", [11, 12])
def test_a_full_disk_while_staging(formats, tex, tmp_path, monkeypatch, full):
    folder = formats.unpack(tmp_path / "folder", tex)
    write, written = os.pwrite, []

    def limited(file, data, place):
        written.append(len(data))
        return write(file, data[: len(data) // 2 if len(written) == full else None], place)

    monkeypatch.setattr(os, "pwrite", limited)
    with pytest.raises(AstSegError, match=r"The import stopped: .*No space left.*it goes on"):
        import_benchmark("clevrtex", folder, tmp_path / "s")
    monkeypatch.undo()
    check_tex(import_benchmark("clevrtex", folder, tmp_path / "s"), formats)


def test_a_full_disk_while_writing(rooms, tmp_path, monkeypatch):
    path, _ = rooms
    import_benchmark("objectsroom", path, tmp_path / "whole", protocol=FIRST_THREE)
    append, appended = SplitWriter.append, []

    def limited(split, images, masks):
        appended.append(1)
        if len(appended) == 5:
            append(split, images, masks)
            raise OSError(28, "No space left on device")
        append(split, images, masks)

    monkeypatch.setattr(SplitWriter, "append", limited)
    with pytest.raises(AstSegError, match="No space left"):
        import_benchmark("objectsroom", path, tmp_path / "s", protocol=FIRST_THREE)
    monkeypatch.undo()
    import_benchmark("objectsroom", path, tmp_path / "s", protocol=FIRST_THREE)
    same(tmp_path / "s", tmp_path / "whole")
