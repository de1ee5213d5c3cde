import errno
import gzip
import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from tests.data.benchmarks import formats

from astseg._core.errors import AstSegError
from astseg.cli import app
from astseg.cli._console import run
from astseg.data.benchmarks.benchmark_import import import_benchmark
from astseg.data.benchmarks.import_settings import ImportProgress
from astseg.data.benchmarks.protocols import Portion, Protocol
from astseg.data.benchmarks.store_check import check_store
from astseg.data.store import Bytes, Split, Store

FIRST_THREE = Protocol("small", "the first three for test", (Portion("test", 0, 3), Portion("train", 3, None)))
COUNT = 10
Files: TypeAlias = dict[str, bytes]
Rooms: TypeAlias = tuple[Path, list[tuple[Bytes, Bytes]]]


class StopError(Exception):
    pass


def stop_at(stage: str, done: int, error: Exception | None = None) -> Callable[[ImportProgress], None]:
    def report(progress: ImportProgress) -> None:
        if progress.stage.startswith(stage) and progress.done >= done:
            raise error or StopError

    return report


def same(first: Path, second: Path) -> None:
    assert Store(first).manifest == Store(second).manifest
    Store(first).verify()


def masks_of(split: Split) -> Bytes:
    assert split.masks is not None
    return split.masks


def sizes(store: Store) -> dict[str, int]:
    return {name: len(store[name]) for name in store.splits}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# -- records


@pytest.fixture
def rooms(tmp_path: Path) -> Rooms:
    scenes = [formats.room(index) for index in range(COUNT)]
    path = tmp_path / "objects_room_train.tfrecords"
    return formats.write_records(path, [formats.scene_message(*scene) for scene in scenes]), scenes


def test_objects_room(rooms: Rooms, tmp_path: Path) -> None:
    path, scenes = rooms
    store = import_benchmark("objectsroom", path, tmp_path / "s", protocol=FIRST_THREE)
    assert sizes(store) == {"test": 3, "train": 7}
    for index, (image, masks) in enumerate(scenes):
        split, place = (store["test"], index) if index < 3 else (store["train"], index - 3)
        np.testing.assert_array_equal(split.images[place], image)
        np.testing.assert_array_equal(masks_of(split)[place], np.maximum(0, masks.argmax(0) - 3))
    manifest = store.manifest
    assert manifest.details["records_read"] == {path.name: COUNT}
    assert (manifest.details["benchmark"], manifest.details["slots"]) == ("objectsroom", 3)
    assert manifest.details["protocol"] == "small"
    assert "objects_room_train.tfrecords" in manifest.source
    assert "no crop, resized to 64 x 64" in manifest.protocol
    assert "the first three for test" in manifest.protocol
    assert names_in(tmp_path) == {path.name, "s"}


def test_the_three_test_sets_of_objects_room(rooms: Rooms, tmp_path: Path) -> None:
    for name, entities in (("empty_room", 4), ("six_objects", 10), ("identical_color", 10)):
        messages = [formats.scene_message(*formats.room(index, entities)) for index in range(2)]
        formats.write_records(tmp_path / f"objects_room_test_{name}.tfrecords", messages)
    store = import_benchmark("objectsroom", tmp_path, tmp_path / "s", protocol=FIRST_THREE, limit=2)
    assert sizes(store) == {"test": 2, "train": 2, "empty_room": 2, "six_objects": 2, "identical_color": 2}
    assert masks_of(store["empty_room"]).max() == 0
    np.testing.assert_array_equal(
        masks_of(store["six_objects"])[1], np.maximum(0, formats.room(1, 10)[1].argmax(0) - 3)
    )
    assert "only the first 2 images of each split" in store.manifest.protocol


def test_clevr(tmp_path: Path) -> None:
    scenes = [formats.clevr_scene(index) for index in range(4)]
    path = formats.write_records(tmp_path / "clevr.tfrecords", [formats.scene_message(*scene) for scene in scenes])
    store = import_benchmark("clevr", path, tmp_path / "s", image_size=192, protocol=FIRST_THREE)
    assert sizes(store) == {"test": 3, "train": 1}
    np.testing.assert_array_equal(store["train"].images[0], scenes[3][0][24:216, 64:256])
    assert store.manifest.image_size == (192, 192)
    assert "centre crop 192 x 192" in store.manifest.protocol
    exchanged = import_benchmark(
        "clevr", path, tmp_path / "x", image_size=192, protocol=FIRST_THREE, exchange_red_and_blue=True
    )
    np.testing.assert_array_equal(exchanged["test"].images, store["test"].images[..., ::-1])
    np.testing.assert_array_equal(exchanged["test"].masks, store["test"].masks)
    assert "red and blue exchanged" in exchanged.manifest.protocol


def test_a_file_with_only_part_of_a_protocol(rooms: Rooms, tmp_path: Path) -> None:
    store = import_benchmark("objectsroom", rooms[0], tmp_path / "s", protocol="genesis")
    assert sizes(store) == {"test": COUNT}


@pytest.mark.parametrize(
    ("done", "error", "raised"),
    [
        (1, StopError(), StopError),
        (4, StopError(), StopError),
        (9, StopError(), StopError),
        (5, OSError(errno.ENOSPC, "No space left on device"), AstSegError),
    ],
)
def test_a_stopped_import_of_records_resumes(
    rooms: Rooms, tmp_path: Path, done: int, error: Exception, raised: type[Exception]
) -> None:
    path, _ = rooms
    import_benchmark("objectsroom", path, tmp_path / "whole", protocol=FIRST_THREE)
    arguments = ("objectsroom", path, tmp_path / "s")
    with pytest.raises(raised):
        import_benchmark(*arguments, protocol=FIRST_THREE, report=stop_at("reading", done, error))
    assert not (tmp_path / "s").exists()
    seen: list[ImportProgress] = []
    import_benchmark(*arguments, protocol=FIRST_THREE, report=seen.append)
    assert seen[0].done == done + 1
    assert (seen[-1].done, seen[-1].unit) == (COUNT, "images")
    same(tmp_path / "s", tmp_path / "whole")
    assert names_in(tmp_path) == {path.name, "s", "whole"}


def test_a_damaged_record_stops_the_import_and_a_whole_file_resumes_it(rooms: Rooms, tmp_path: Path) -> None:
    path, _ = rooms
    import_benchmark("objectsroom", path, tmp_path / "whole", protocol=FIRST_THREE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(AstSegError, match="is damaged"):
        import_benchmark("objectsroom", path, tmp_path / "s", protocol=FIRST_THREE)
    path.write_bytes(whole)
    import_benchmark("objectsroom", path, tmp_path / "s", protocol=FIRST_THREE)
    same(tmp_path / "s", tmp_path / "whole")


def test_a_stopped_import_is_not_continued_with_other_settings(rooms: Rooms, tmp_path: Path) -> None:
    with pytest.raises(StopError):
        import_benchmark("objectsroom", rooms[0], tmp_path / "s", report=stop_at("reading", 2))
    with pytest.raises(AstSegError, match="begun with other settings"):
        import_benchmark("objectsroom", rooms[0], tmp_path / "s", image_size=32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"protocol": "mine"}, "no protocol"), ({"limit": 0}, "not 0"), ({"image_size": 4}, "not 4")],
)
def test_impossible_settings(rooms: Rooms, tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(AstSegError, match=words):
        import_benchmark("objectsroom", rooms[0], tmp_path / "s", **arguments)
    assert names_in(tmp_path) == {rooms[0].name}


def test_mistakes_with_records(rooms: Rooms, tmp_path: Path) -> None:
    path, _ = rooms
    with pytest.raises(AstSegError, match="does not exist"):
        import_benchmark("clevr", tmp_path / "none", tmp_path / "s")
    with pytest.raises(AstSegError, match="No files"):
        import_benchmark("clevr", [], tmp_path / "s")
    with pytest.raises(AstSegError, match="hdf5"):
        import_benchmark("clevr", formats.unpack(tmp_path / "f", {"a.png": b""}), tmp_path / "s")
    with pytest.raises(AstSegError, match="another data set"):
        import_benchmark("clevr", path, tmp_path / "s")
    with pytest.raises(AstSegError, match="same split"):
        import_benchmark("objectsroom", [path, path], tmp_path / "s")
    assert names_in(tmp_path) == {"f", path.name}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(AstSegError, match="exists already"):
        import_benchmark("objectsroom", path, tmp_path / "full")


def test_a_file_without_records(tmp_path: Path) -> None:
    path = formats.write_records(tmp_path / "a.tfrecords", [])
    with pytest.raises(AstSegError, match="no records"):
        import_benchmark("objectsroom", path, tmp_path / "s")
    assert list(tmp_path.iterdir()) == [path]


def test_records_of_no_split(tmp_path: Path) -> None:
    path = formats.write_records(tmp_path / "clevr.tfrecords", [formats.scene_message(*formats.clevr_scene(0))])
    later = Protocol("later", "all but the first nine", (Portion("test", 9, None),))
    with pytest.raises(AstSegError, match="protocol 'later'"):
        import_benchmark("clevr", path, tmp_path / "s", protocol=later)
    assert list(tmp_path.iterdir()) == [path]


# -- CLEVRTEX


@pytest.fixture
def tex() -> Files:
    return {name: data for index in range(20) for name, data in formats.tex_files(index).items()}


def prepared(index: int) -> Bytes:
    labels = formats.tex_labels(index)[24:216, 64:256]
    places = ((np.arange(128) + 0.5) * 1.5).astype(int)
    return np.asarray(labels[np.ix_(places, places)])


def check_tex(store: Store) -> None:
    assert sizes(store) == {"test": 2, "validation": 2, "train": 16}
    masks = np.concatenate([masks_of(store[name]) for name in ("test", "validation", "train")])
    images = np.concatenate([store[name].images for name in ("test", "validation", "train")])
    for index in range(20):
        np.testing.assert_array_equal(masks[index], prepared(index))
        assert (images[index][..., 1] == index).all()


def test_clevrtex_from_a_folder_and_from_archives(tex: Files, tmp_path: Path) -> None:
    folder = formats.unpack(tmp_path / "folder", tex)
    store = import_benchmark("clevrtex", folder, tmp_path / "a")
    check_tex(store)
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
    progress: list[ImportProgress] = []
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


def test_two_files_of_one_number_are_told(tex: Files, tmp_path: Path) -> None:
    image, mask = "other/CLEVRTEX_full_000007.png", "other/CLEVRTEX_full_000007_flat.png"
    (tmp_path / "clevrtex_full.tar").write_bytes(formats.tar(tex | {image: tex[next(iter(tex))], mask: b""}))
    store = import_benchmark("clevrtex", tmp_path, tmp_path / "s")
    check_tex(store)
    assert store.manifest.details["repeated"] == [image, mask]
    told = f"Each of 2 files has the number of another, which came first and was taken: {image}, {mask}."
    assert told in check_store(store.path).problems


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.GNUTYPE_SPARSE])
def test_links_and_sparse_files_in_archives_are_told(tex: Files, tmp_path: Path, kind: bytes) -> None:
    name = "clevrtex_full/0/CLEVRTEX_full_000007.png"
    mine = tmp_path / "clevrtex_full.tar"
    with tarfile.open(mine, "w") as archive:
        for path, data in tex.items():
            member = tarfile.TarInfo(path)
            if path == name:
                member.type, member.linkname = kind, "somewhere.png"
            else:
                member.size = len(data)
            archive.addfile(member, None if path == name else io.BytesIO(data))
    with pytest.raises(AstSegError, match=rf"1 of 20 .* archives are not read: {name}\. Unpack them"):
        import_benchmark("clevrtex", mine, tmp_path / "s")
    added = formats.unpack(tmp_path / "added", {name: tex[name]})
    check_tex(import_benchmark("clevrtex", [mine, added], tmp_path / "s"))
    store = import_benchmark("clevrtex", [mine, added], tmp_path / "new")
    assert store.manifest.details["links"] == [name]
    assert f"A file is a link or sparse in its archive, and was not read: {name}." in check_store(store.path).problems


def test_other_variants_and_converted_clevr(tmp_path: Path) -> None:
    files: Files = {}
    for index in range(3):
        files |= formats.tex_files(index, "outd")
        for name, data in formats.tex_files(index).items():
            files[f"clevr/{name.rpartition('_full_')[2]}".replace("clevr/", "clevr/CLEVR_")] = data
    folder = formats.unpack(tmp_path / "folder", files)
    store = import_benchmark("clevrtex-ood", folder, tmp_path / "a")
    assert sizes(store) == {"test": 3}
    converted = import_benchmark("clevr-png", folder, tmp_path / "b", exchange_red_and_blue=True)
    np.testing.assert_array_equal(converted["test"].images, store["test"].images[..., ::-1])
    with pytest.raises(AstSegError, match="clevrtex-camo"):
        import_benchmark("clevrtex-camo", folder, tmp_path / "c")
    assert names_in(tmp_path) == {"a", "b", "folder"}


@pytest.mark.parametrize("place", ["the folder", "another"])
def test_a_missing_image_is_named_and_can_be_added(tex: Files, tmp_path: Path, place: str) -> None:
    folder = formats.unpack(tmp_path / "folder", tex)
    mask = folder / "clevrtex_full/0/CLEVRTEX_full_000007_flat.png"
    content = mask.read_bytes()
    mask.unlink()
    with pytest.raises(AstSegError, match="1 of 20"):
        import_benchmark("clevrtex", folder, tmp_path / "s")
    folders = [folder]
    if place == "another":
        folders.append(formats.unpack(tmp_path / "extra", {mask.name: content}))
    else:
        mask.write_bytes(content)
    check_tex(import_benchmark("clevrtex", folders, tmp_path / "s"))
    assert names_in(tmp_path) == {"s", *(one.name for one in folders)}


def test_folders_of_one_name(tex: Files, tmp_path: Path) -> None:
    names = sorted(tex)
    halves = [{name: tex[name] for name in names[half::2]} for half in (0, 1)]
    folders = [formats.unpack(tmp_path / str(half) / "folder", files) for half, files in enumerate(halves)]
    check_tex(import_benchmark("clevrtex", folders, tmp_path / "s"))


def test_unreadable_images_are_skipped_and_named(tex: Files, tmp_path: Path) -> None:
    names = [name for name in tex if name.endswith(("000004.png", "000009_flat.png"))]
    tex[names[0]] = tex[names[0]][:500]
    tex[names[1]] = formats.png(np.zeros((240, 320, 3), np.uint8), 2)
    store = import_benchmark("clevrtex", formats.unpack(tmp_path / "f", tex), tmp_path / "s")
    assert len(store["train"]) == 16 - 2
    assert {name for name, _ in store.manifest.details["unreadable"]} == set(names)
    assert "palette" in str(store.manifest.details["unreadable"])
    np.testing.assert_array_equal(masks_of(store["train"])[0], prepared(5))


def test_the_command_says_what_the_import_found(tex: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
def test_a_stopped_import_of_images_resumes(
    tex: Files, tmp_path: Path, stage: str, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = formats.unpack(tmp_path / "folder", tex)
    import_benchmark("clevrtex", folder, tmp_path / "whole")
    with pytest.raises(StopError):
        import_benchmark("clevrtex", folder, tmp_path / "s", report=stop_at(stage, done))
    assert not (tmp_path / "s").exists()
    for index in range(5 if stage == "reading" else 20):  # what was read already is not read again
        for path in folder.rglob(f"*{index:06d}*.png"):
            path.write_bytes(b"damaged")
    import_benchmark("clevrtex", folder, tmp_path / "s")
    same(tmp_path / "s", tmp_path / "whole")
    assert names_in(tmp_path) == {"folder", "s", "whole"}


def test_a_destination_in_use_is_refused_before_anything_is_read(tex: Files, tmp_path: Path) -> None:
    folder = formats.unpack(tmp_path / "folder", tex)
    (tmp_path / "s").write_text("a file")
    with pytest.raises(AstSegError, match="exists already"):
        import_benchmark("clevrtex", folder, tmp_path / "s", report=stop_at("reading", 0))


# -- ShapeStacks


@pytest.fixture
def stacks() -> Files:
    files = {
        "splits/default/train.txt": b"b\na\n",
        "splits/default/eval.txt": b"c\n",
        "splits/default/test.txt": b"d\n",
    }
    for number, scenario in enumerate("abcd"):
        for camera in range(1, 17):
            files |= formats.stack_files(scenario, camera, number + 1, loose=scenario == "c" and camera < 4)
    return files


def test_shapestacks_from_a_folder_and_from_archives(stacks: Files, tmp_path: Path) -> None:
    store = import_benchmark("shapestacks", formats.unpack(tmp_path / "folder", stacks), tmp_path / "a")
    assert list(sizes(store).items()) == [("train", 32), ("validation", 16), ("test", 16)]
    # Scenario b comes first, as in the list; cameras come by number.
    assert store["train"].images[:, 0, 0, 1].tolist() == [*range(1, 17), *range(1, 17)]
    assert masks_of(store["train"])[:, 32, 32].tolist() == [2] * 16 + [1] * 16
    assert masks_of(store["validation"]).max() == 3
    assert masks_of(store["test"])[0, 32, 32] == 4
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


def test_shapestacks_with_missing_recordings(stacks: Files, tmp_path: Path) -> None:
    absent = [name for name in stacks if name.startswith("iseg/d") and "cam_1-" in name]
    for name in absent:
        del stacks[name]
    store = import_benchmark("shapestacks", formats.unpack(tmp_path / "folder", stacks), tmp_path / "a")
    assert len(store["test"]) == 15
    assert store.manifest.details["missing"] == 1


def test_a_stopped_import_of_stacks_counts_each_unassigned_pixel_once(stacks: Files, tmp_path: Path) -> None:
    folder = formats.unpack(tmp_path / "folder", stacks)
    import_benchmark("shapestacks", folder, tmp_path / "whole")
    with pytest.raises(StopError):
        import_benchmark("shapestacks", folder, tmp_path / "s", report=stop_at("writing validation", 2))
    import_benchmark("shapestacks", folder, tmp_path / "s")
    same(tmp_path / "s", tmp_path / "whole")


def test_shapestacks_without_lists(stacks: Files, tmp_path: Path) -> None:
    folder = formats.unpack(tmp_path / "folder", stacks)
    with pytest.raises(AstSegError, match="splits/blocks_all"):
        import_benchmark("shapestacks", folder, tmp_path / "s", protocol="blocks_all")


# -- a full disk


def test_a_full_disk_while_staging(tex: Files, tmp_path: Path) -> None:
    folder = formats.unpack(tmp_path / "folder", tex)
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 * 3 * 128**2 + 99, hard))  # cuts the eleventh image short
    try:
        with pytest.raises(AstSegError, match="No space left"):
            import_benchmark("clevrtex", folder, tmp_path / "s")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_tex(import_benchmark("clevrtex", folder, tmp_path / "s"))
