import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Program, press_ctrl_c
from tests.data.films import plain_images, write_film

from astseg._core.errors import AstSegError
from astseg.cli._inputs import MAX_REPORTED, Reading, open_images, prepare, report_skipped
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter


class TestPrepare:
    def test_prepared_data_is_taken_as_it_is(self, rooms: Path, tmp_path: Path) -> None:
        assert prepare([rooms], tmp_path / "data", None) == rooms
        assert prepare([rooms], tmp_path / "data", (32, 32)) == rooms
        with pytest.raises(AstSegError, match="32x32 already"):
            prepare([rooms], tmp_path / "data", (32, 48))
        assert not (tmp_path / "data").exists()

    def test_images_are_prepared_once(self, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
        data = images / "run" / "data"  # inside the source, where it does not count as a change
        assert prepare([images], data, (32, 32)) == data
        before = (data / "manifest.json").stat().st_mtime_ns
        assert prepare([images], data, (32, 32)) == data
        assert "prepared earlier" in capsys.readouterr().err
        assert (data / "manifest.json").stat().st_mtime_ns == before

    @pytest.mark.parametrize("change", ["size", "no size", "longer side", "another file", "a changed file", "source"])
    def test_images_are_prepared_again_after_a_change(
        self, change: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first, data = (None if change == "longer side" else (32, 32)), tmp_path / "run" / "data"
        prepare([images], data, first, 40)
        size, longer_side, source = first, 40, images
        match change:
            case "size":
                size = (48, 32)
            case "no size":
                size = None
            case "longer side":
                longer_side = 48
            case "another file":
                shutil.copy(images / "more" / "b.png", images / "z.png")
            case "a changed file":
                os.utime(images / "more" / "b.png", (0, 0))
            case "source":
                source = Path(shutil.copytree(images, tmp_path / "copy"))
        prepare([source], data, size, longer_side)
        assert "Preparing the images again" in capsys.readouterr().err
        store = Store(data)
        sizes = {"size": (48, 32), "no size": (40, 40), "longer side": (48, 48)}
        assert store.image_size == sizes.get(change, (32, 32))
        assert sum(len(store[split]) for split in store.splits) == (7 if change == "another file" else 6)
        assert store.manifest.source == str(source)

    def test_data_behind_a_link_is_not_removed(self, images: Path, tmp_path: Path) -> None:
        prepare([images], tmp_path / "first" / "data", (32, 32))
        (tmp_path / "second").mkdir()
        (tmp_path / "second" / "data").symlink_to(tmp_path / "first" / "data")
        with pytest.raises(AstSegError, match="is a link to data that was prepared differently"):
            prepare([images], tmp_path / "second" / "data", (48, 32))
        assert Store(tmp_path / "first" / "data").image_size == (32, 32)

    def test_a_place_that_leads_to_itself_is_refused(self, images: Path, tmp_path: Path, astseg: Program) -> None:
        (tmp_path / "loop").symlink_to("loop")
        for command in (("train", images), ("data", "import", images), ("background", images)):
            message = astseg.mistake(*command, "--out", tmp_path / "loop")
            assert "leads back to itself" in message or "Too many levels of symbolic links" in message
        assert "no file or folder" in astseg.mistake("segment", "rooms", tmp_path / "loop", "--out", tmp_path / "out")

    def test_images_are_prepared_again_with_other_masks(
        self, images: Path, masks_of_images: Path, tmp_path: Path, rooms: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = tmp_path / "run" / "data"
        assert Store(prepare([images], data, (32, 32)))["train"].masks is None
        for ignore, label, values in ((None, None, {1, 7}), ("7", 255, {1, 255})):
            store = Store(prepare([images], data, (32, 32), reading=Reading(masks=masks_of_images, ignore=ignore)))
            assert "Preparing the images again" in capsys.readouterr().err
            assert store["train"].ignored_label == label
            assert set(np.unique(np.array(store["train"].masks)).tolist()) == values
        with pytest.raises(AstSegError, match="so --masks, --ignore"):
            prepare([rooms], data, None, reading=Reading(masks=masks_of_images))
        with pytest.raises(AstSegError, match="so --masks, --ignore"):
            prepare([rooms], data, None, reading=Reading(ignore="9"))

    @pytest.mark.parametrize("named", [True, False])
    def test_images_are_prepared_again_when_masks_have_changed(
        self, images: Path, masks_of_images: Path, tmp_path: Path, named: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(images, tmp_path / "set/images")
        masks = Path(shutil.copytree(masks_of_images, tmp_path / ("other/place" if named else "set/masks")))
        data = tmp_path / "run" / "data"
        for again in ("Preparing 7 images", "prepared earlier", "Preparing the images again"):
            if again.endswith("again"):
                os.utime(next(file for file in masks.rglob("*.png")), (0, 0))
            store = Store(
                prepare([tmp_path / "set/images"], data, (32, 32), reading=Reading(masks=masks if named else None))
            )
            assert again in capsys.readouterr().err
            assert store["train"].masks is not None

    def test_several_sources_are_prepared_once(
        self, images: Path, rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_film(tmp_path / "film.avi", plain_images(range(0, 200, 10)))
        sources, data = [images, tmp_path / "film.avi"], tmp_path / "run" / "data"
        for most, said in (
            (5, "Preparing 12 images"),
            (5, "Using the images prepared earlier"),
            (4, "Preparing the images again"),
        ):
            prepare(sources, data, (16, 16), reading=Reading(max_frames=most))
            assert said in capsys.readouterr().err
            assert sum(len(Store(data)[split]) for split in ("train", "test")) == 6 + most
        with pytest.raises(AstSegError, match="--every and --max-frames have no effect"):
            prepare([rooms], data, None, reading=Reading(every=2))

    def test_how_values_are_read_is_reported(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 2, (4, 3, 40, 40), dtype=np.uint8))
        data = prepare([tmp_path / "a.npy"], tmp_path / "data", (32, 32))
        err = capsys.readouterr().err
        assert "Channels come first" in err
        assert "black and white" in err
        assert Store(data)["train"].images.max() == 255

    def test_a_size_is_refused_before_anything_is_prepared(self, images: Path, tmp_path: Path) -> None:
        def refuse(size: tuple[int, int]) -> None:
            raise AstSegError(f"not {size}")

        for size, message in ((None, "128"), ((16, 16), "16")):
            with pytest.raises(AstSegError, match=f"not \\({message}"):
                prepare([images], tmp_path / "run" / "data", size, 128, check_size=refuse)
        assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())

    @pytest.mark.parametrize(("size", "expected"), [(None, (48, 48)), ((32, 32), (32, 32))])
    def test_the_longer_side_without_a_size(
        self, size: tuple[int, int] | None, expected: tuple[int, int], images: Path, tmp_path: Path
    ) -> None:
        assert Store(prepare([images], tmp_path / "data", size, 48)).image_size == expected

    @pytest.mark.parametrize("resume", [True, False])
    def test_data_of_a_begun_run_or_of_the_user_is_not_changed(
        self, resume: bool, images: Path, tmp_path: Path, astseg: Program
    ) -> None:
        np.save(tmp_path / "other.npy", np.zeros((2, 32, 32, 3), np.uint8))
        if resume:
            prepare([images], tmp_path / "data", (32, 32))
        else:
            assert astseg("data", "import", images, "--size", 32, "--out", tmp_path / "data") == 0
        before = (tmp_path / "data" / "manifest.json").stat().st_mtime_ns
        assert prepare([images], tmp_path / "data", None, resume=resume) == tmp_path / "data"
        for source, size in ((tmp_path / "other.npy", None), (images, (64, 64))):
            with pytest.raises(AstSegError, match="at 32x32"):
                prepare([source], tmp_path / "data", size, resume=resume)
        assert (tmp_path / "data" / "manifest.json").stat().st_mtime_ns == before

    def test_ctrl_c_leaves_nothing(self, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("astseg.data.importing.fit_image", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            prepare([images], tmp_path / "data", (32, 32))
        assert [path.name for path in tmp_path.iterdir()] == ["images"]


class TestOpenImages:
    def test_the_test_split_of_prepared_data(self, rooms: Path) -> None:
        images = [sample.image for sample in open_images([rooms])]
        assert np.array_equal(np.stack(images), Store(rooms)["test"].images)

    def test_the_first_split_without_a_test_split(self, tmp_path: Path) -> None:
        with StoreWriter(tmp_path / "data", (8, 8), "gray", "none") as writer, writer.split("all") as split:
            split.append(np.full((3, 8, 8, 3), 99, np.uint8))
        assert open_images([tmp_path / "data"]).estimated_length() == 3

    def test_other_sources(self, images: Path, tmp_path: Path) -> None:
        assert open_images([images]).estimated_length() == 7
        with pytest.raises(AstSegError, match="no file or folder"):
            open_images([tmp_path / "nowhere"])


def test_a_few_skipped_images_are_named_and_the_others_counted(capsys: pytest.CaptureFixture[str]) -> None:
    report_skipped([(f"{index}[red]", "[/] is damaged") for index in range(MAX_REPORTED + 3)])
    err = capsys.readouterr().err
    assert err.startswith("Skipped 0[red]: [/] is damaged\n")
    assert err.count("Skipped") == MAX_REPORTED
    assert err.endswith("... and 3 more.\n")
    report_skipped([("a", "It is damaged.")], 4)
    assert capsys.readouterr().err.endswith("... and 4 more.\n")
