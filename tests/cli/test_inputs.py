import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import read_image
from astseg.cli._inputs import SHOWN, open_images, prepare, report_skipped
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter


class TestPrepare:
    def test_prepared_data_is_taken_as_it_is(self, rooms: Path, tmp_path: Path) -> None:
        assert prepare(rooms, tmp_path / "data", None) == rooms
        assert prepare(rooms, tmp_path / "data", (32, 32)) == rooms
        with pytest.raises(AstSegError, match="is prepared at 32x32 already, and --size cannot change that"):
            prepare(rooms, tmp_path / "data", (32, 48))
        assert not (tmp_path / "data").exists()

    def test_images_are_prepared_once(self, images: Path, tmp_path: Path, capsys) -> None:
        assert prepare(images, tmp_path / "data", (32, 32)) == tmp_path / "data"
        before = (tmp_path / "data" / "manifest.json").stat().st_mtime_ns
        capsys.readouterr()
        assert prepare(images, tmp_path / "data", (32, 32)) == tmp_path / "data"
        assert "Going on with the images that were prepared before" in capsys.readouterr().err
        assert (tmp_path / "data" / "manifest.json").stat().st_mtime_ns == before

    @pytest.mark.parametrize("change", ["size", "no size", "longer side", "another file", "a changed file", "source"])
    def test_again_where_anything_is_otherwise(self, change: str, images: Path, tmp_path: Path, capsys) -> None:
        first, data = (None if change == "longer side" else (32, 32)), tmp_path / "run" / "data"
        prepare(images, data, first, 40)
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
        capsys.readouterr()
        prepare(source, data, size, longer_side)
        assert "Preparing the images again" in capsys.readouterr().err
        store = Store(data)
        assert store.image_size == {"size": (48, 32), "no size": (40, 40), "longer side": (48, 48)}.get(
            change, (32, 32)
        )
        assert sum(len(store[split]) for split in store.splits) == (7 if change == "another file" else 6)
        assert store.manifest.source == str(source)

    def test_masks_are_part_of_the_wishes(self, images: Path, tmp_path: Path, rooms: Path, capsys) -> None:
        masks, data = tmp_path / "elsewhere", tmp_path / "run" / "data"
        for file in [file for file in images.rglob("*.*g") if "broken" not in file.name]:
            place = masks / file.relative_to(images).with_suffix(".png")
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full(read_image(file).shape[:2], 9, np.uint8)).save(place)
        assert Store(prepare(images, data, (32, 32)))["train"].masks is None
        for ignore, label in ((None, None), ("9", 255)):
            store = Store(prepare(images, data, (32, 32), masks=masks, ignore=ignore))
            assert "Preparing the images again" in capsys.readouterr().err
            assert store["train"].ignored_label == label
            assert (np.array(store["train"].masks) == (label or 9)).all()
        for options in ({"masks": masks}, {"ignore": "9"}):
            with pytest.raises(AstSegError, match="--masks and --ignore cannot change that"):
                prepare(rooms, data, None, **options)

    def test_how_numbers_are_taken_is_said(self, tmp_path: Path, capsys) -> None:
        np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 2, (4, 3, 40, 40), dtype=np.uint8))
        data = prepare(tmp_path / "a.npy", tmp_path / "data", (32, 32))
        err = capsys.readouterr().err
        assert f"Channels come first in {tmp_path / 'a.npy'}.\nValues of 0 and 1 are black and white in " in err
        assert Store(data)["train"].images.max() == 255

    def test_a_run_inside_the_folder_is_no_change(self, images: Path, capsys) -> None:
        for said in ("", "Going on with the images that were prepared before"):
            capsys.readouterr()
            prepare(images, images / "run" / "data", (32, 32))
            assert said in capsys.readouterr().err

    def test_a_size_is_refused_before_anything_is_prepared(self, images: Path, tmp_path: Path) -> None:
        def refuse(size: tuple[int, int]) -> None:
            raise AstSegError(f"not {size}")

        for size, named in ((None, "128"), ((16, 16), "16")):
            with pytest.raises(AstSegError, match=f"not \\({named}"):
                prepare(images, tmp_path / "run" / "data", size, 128, check_size=refuse)
        assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())

    @pytest.mark.parametrize(("size", "expected"), [(None, (48, 48)), ((32, 32), (32, 32))])
    def test_the_longer_side_where_no_size_is_asked_for(
        self, size: tuple[int, int] | None, expected: tuple[int, int], images: Path, tmp_path: Path
    ) -> None:
        assert Store(prepare(images, tmp_path / "data", size, 48)).image_size == expected

    @pytest.mark.parametrize("begun", [True, False])
    def test_what_the_user_prepared_or_a_run_goes_on_with_stays(
        self, begun: bool, images: Path, tmp_path: Path, astseg, capsys
    ) -> None:
        np.save(tmp_path / "other.npy", np.zeros((2, 32, 32, 3), np.uint8))
        if begun:
            prepare(images, tmp_path / "data", (32, 32))
        else:
            assert astseg("data", "import", images, "--size", 32, "--out", tmp_path / "data") == 0
        before = (tmp_path / "data" / "manifest.json").stat().st_mtime_ns
        assert prepare(images, tmp_path / "data", None, begun=begun) == tmp_path / "data"
        for source, size in ((tmp_path / "other.npy", None), (images, (64, 64))):
            with pytest.raises(AstSegError, match=r"holds the images of .* at 32x32\. Choose another --out"):
                prepare(source, tmp_path / "data", size, begun=begun)
        assert (tmp_path / "data" / "manifest.json").stat().st_mtime_ns == before

    def test_ctrl_c_leaves_nothing(self, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from astseg.data import importing

        monkeypatch.setattr(importing, "fit_image", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            prepare(images, tmp_path / "data", (32, 32))
        assert [path.name for path in tmp_path.iterdir()] == ["images"]


class TestOpenImages:
    def test_held_out_ones_of_prepared_data(self, rooms: Path) -> None:
        images = [sample.image for sample in open_images(rooms)]
        assert np.array_equal(np.stack(images), Store(rooms)["test"].images)

    def test_the_first_split_where_none_are_held_out(self, tmp_path: Path) -> None:
        with StoreWriter(tmp_path / "data", (8, 8), "grey", "none") as writer, writer.split("all") as split:
            split.append(np.full((3, 8, 8, 3), 99, np.uint8))
        assert open_images(tmp_path / "data").estimated_length() == 3

    def test_anything_else(self, images: Path, tmp_path: Path) -> None:
        assert open_images(images).estimated_length() == 7
        with pytest.raises(AstSegError, match="There is no file or folder"):
            open_images(tmp_path / "nowhere")


def test_a_few_skipped_images_are_named_and_the_others_counted(capsys) -> None:
    report_skipped([(f"{index}[red]", "[/] is damaged") for index in range(SHOWN + 3)])
    err = capsys.readouterr().err
    assert err.startswith("Skipped 0[red]: [/] is damaged\n")
    assert err.count("Skipped") == SHOWN
    assert err.endswith("... and 3 more.\n")
