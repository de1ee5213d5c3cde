"""What a power cut leaves, at every moment of everything that astseg writes."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.benchmarks import formats
from tests.power_cuts import Image as DiskImage
from tests.power_cuts import restore, watched_disk

from astseg._core.atomic_io import atomic_folder, atomic_write
from astseg.data import store_writer
from astseg.data.benchmarks import staging
from astseg.data.benchmarks.benchmark_import import import_benchmark
from astseg.data.opening import open_source
from astseg.data.store import Bytes, Store
from astseg.data.store_writer import StoreWriter
from astseg.inference.resuming import ResumableSegmenter, resumable
from astseg.inference.segmenting import segment_source
from astseg.model.ast_seg import AstSeg
from astseg.training.config import Recipe
from astseg.training.run import train_run
from astseg.training.run_folder import RunSettings, is_run, read_run, trained_model

CPU = torch.device("cpu")
SIZE = (5, 7)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture
def places(tmp_path: Path) -> Callable[[DiskImage], Path]:
    """Restores what a cut left, each time in a new folder."""
    numbers = count()

    def place(image: DiskImage) -> Path:
        root = tmp_path / f"restored-{next(numbers)}"
        restore(image, root)
        return root

    return place


def test_the_disk_loses_what_was_not_synchronized(disk: Path) -> None:
    with watched_disk(disk) as watched:
        (disk / "new").write_text("whole")
        (disk / "new").rename(disk / "page.html")
    assert {} in watched.cuts
    assert {"page.html": b"\0\0\0\0\0"} in watched.cuts
    assert {"page.html": b"whole"} not in watched.cuts


def test_a_file_is_the_older_or_the_newer(disk: Path) -> None:
    (disk / "scores.json").write_text("older")
    with watched_disk(disk) as watched:
        with atomic_write(disk / "scores.json") as partial:
            partial.write_text("newer")
        with atomic_write(disk / "new" / "folder" / "page.html") as partial:
            partial.write_text("whole")
    assert {cut["scores.json"] for cut in watched.cuts} == {b"older", b"newer"}
    assert {cut.get("new/folder/page.html") for cut in watched.cuts} == {None, b"whole"}
    assert watched.cuts[-1]["new/folder/page.html"] == b"whole", "of both kinds of disks"
    assert watched.cuts[-2].get("scores.json") == b"newer"


def test_of_two_generations_one_is_always_whole(disk: Path) -> None:
    with watched_disk(disk) as watched:
        for content in ("first", "second", "third"):
            with atomic_write(disk / "checkpoint", former=disk / "previous") as partial:
                partial.write_text(content)
    begun = False
    for cut in watched.cuts:
        whole = {cut.get("checkpoint"), cut.get("previous")} & {b"first", b"second", b"third"}
        assert whole or not begun
        begun = begun or bool(whole)
    assert watched.cuts[-1] == {"checkpoint": b"third", "previous": b"second"}


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_is_the_older_or_the_newer(disk: Path, exists: bool) -> None:
    names = ("config.json", "deep/weights")

    def write(content: str) -> None:
        with atomic_folder(disk / "model", replace=True) as made:
            (made / "deep").mkdir()
            for name in names:
                (made / name).write_text(content)

    if exists:
        write("older")
    with watched_disk(disk) as watched:
        write("newer")
    for cut in watched.cuts:
        found = {cut.get(f"model/{name}") for name in names}
        if exists and found == {None}:  # between the two renames, until somebody writes there again
            found = {cut.get(f".model.former/{name}") for name in names}
        assert found in ({b"newer"}, {b"older"} if exists else {None}), cut
    assert found == {b"newer"}


def test_a_store_is_whole_or_goes_on(
    disk: Path, places: Callable[[DiskImage], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_writer, "BYTES_BETWEEN_SYNCS", 300)
    random = np.random.default_rng(0)
    images, masks = random.integers(0, 256, (9, *SIZE, 3), np.uint8), random.integers(0, 4, (9, *SIZE), np.uint8)
    counts = set()

    def write(root: Path) -> Store:
        with StoreWriter(root / "s", SIZE, "a source", "a protocol", resume=True) as writer:
            for name in ("test", "train"):
                with writer.split(name) as split:
                    counts.add(split.count)
                    for index in range(split.count, len(images)):
                        split.append(images[index : index + 1], masks[index : index + 1])
        return Store(root / "s")

    with watched_disk(disk) as watched:
        expected = write(disk).manifest
    assert len(watched.cuts) > 20
    whole = 0
    for cut in watched.cuts:
        root = places(cut)
        there = Store.is_store(root / "s")
        whole += there
        found = Store(root / "s") if there else write(root)
        assert found.manifest == expected
        found.verify()
        np.testing.assert_array_equal(found["train"].images, images)
        np.testing.assert_array_equal(found["train"].masks, masks)
    assert whole
    assert len(counts) > 2, "some went on from the middle"


def test_an_import_of_archives_goes_on(
    disk: Path, places: Callable[[DiskImage], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "BYTES_BETWEEN_NOTES", 100_000)
    files = {name: data for index in range(20) for name, data in formats.tex_files(index).items()}
    unreadable = next(name for name in files if name.endswith("000004.png"))
    files[unreadable] = files[unreadable][:500]
    source = formats.unpack(tmp_path / "source", files)
    with watched_disk(disk) as watched:
        expected = import_benchmark("clevrtex", source, disk / "s", image_size=16).manifest
    chosen = np.random.default_rng(0).permutation(len(watched.cuts))[:10]
    for cut in [watched.cuts[number] for number in chosen]:
        root = places(cut)
        if not Store.is_store(root / "s"):
            import_benchmark("clevrtex", source, root / "s", image_size=16)
        found = Store(root / "s")
        assert found.manifest == expected
        found.verify()


def test_a_training_goes_on_to_the_identical_result(
    disk: Path, places: Callable[[DiskImage], Path], tiny_recipe: Recipe, tiny_store: Store
) -> None:
    settings = RunSettings("a test", tiny_recipe, str(tiny_store.path), seed=3)
    with watched_disk(disk) as watched:
        assert train_run(disk / "run", settings, CPU)
    expected = (disk / "run/model/model.safetensors").read_bytes()
    chosen = np.random.default_rng(0).permutation(len(watched.cuts))[:6]
    for cut in [*(watched.cuts[number] for number in chosen), watched.cuts[-1]]:
        folder = places(cut) / "run"
        begun = read_run(folder) if is_run(folder) else settings
        assert train_run(folder, begun, CPU, resume=is_run(folder))
        assert (folder / "model/model.safetensors").read_bytes() == expected
        assert trained_model(folder).num_slots == 2
    assert watched.cuts[-1]["run/model/model.safetensors"] == expected, "once it is said to be finished"


@pytest.fixture
def source(tiny_images: Bytes, tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number, image in enumerate(tiny_images[:3]):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


def test_results_are_all_there_or_none(disk: Path, model: AstSeg, source: Path) -> None:
    with watched_disk(disk) as watched:
        segment_source(model, open_source(source), disk / "masks")
    results = [{name: data for name, data in cut.items() if name.startswith("masks/")} for cut in watched.cuts]
    assert results[0] == {}
    assert len(results[-1]) > 7
    assert all(result in ({}, results[-1]) for result in results)
    assert len(json.loads(results[-1]["masks/objects.json"])["images"]) == 3


def test_a_segmentation_goes_on_to_the_identical_result(
    disk: Path, places: Callable[[DiskImage], Path], model: AstSeg, source: Path
) -> None:
    found = set()

    def run(root: Path) -> dict[str, bytes]:
        if not (root / "masks").exists():
            with resumable(root / "masks", {"source": "images"}) as kept:
                segment_source(ResumableSegmenter(model, kept), open_source(source), root / "masks", batch_size=1)
            found.add(kept.found)
        return {path.name: path.read_bytes() for path in (root / "masks").rglob("*.*")}

    with watched_disk(disk) as watched:
        expected = run(disk)
    assert len(expected) == 7
    for cut in watched.cuts[:: len(watched.cuts) // 10]:
        assert run(places(cut)) == expected
    assert found > {0, 1, 2}, "some went on from the middle"
