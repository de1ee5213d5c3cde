import signal
from pathlib import Path

import numpy as np
import pytest

from astseg.cli.preparing import SHOWN, open_pictures, prepare, report_skipped
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter
from astseg.errors import UserError


class TestPrepare:
    def test_prepared_data_is_taken_as_it_is(self, rooms: Path, tmp_path: Path) -> None:
        assert prepare(rooms, tmp_path / "data", None) == rooms
        assert prepare(rooms, tmp_path / "data", (32, 32)) == rooms
        with pytest.raises(UserError, match="is prepared at 32x32 already, and --size cannot change that"):
            prepare(rooms, tmp_path / "data", (32, 48))
        assert not (tmp_path / "data").exists()

    def test_pictures_are_prepared_once(self, pictures: Path, tmp_path: Path, capsys) -> None:
        assert prepare(pictures, tmp_path / "data", (32, 32)) == tmp_path / "data"
        before = (tmp_path / "data" / "manifest.json").stat().st_mtime_ns
        for size in (None, (32, 32)):
            capsys.readouterr()
            assert prepare(pictures, tmp_path / "data", size) == tmp_path / "data"
            assert "Going on with the pictures that were prepared before" in capsys.readouterr().err
        assert (tmp_path / "data" / "manifest.json").stat().st_mtime_ns == before

    @pytest.mark.parametrize(("size", "expected"), [(None, (48, 48)), ((32, 32), (32, 32))])
    def test_the_longer_side_where_no_size_is_asked_for(
        self, size: tuple[int, int] | None, expected: tuple[int, int], pictures: Path, tmp_path: Path
    ) -> None:
        assert Store(prepare(pictures, tmp_path / "data", size, 48)).image_size == expected

    def test_never_others_than_were_asked_for(self, pictures: Path, tmp_path: Path) -> None:
        np.save(tmp_path / "other.npy", np.zeros((2, 32, 32, 3), np.uint8))
        prepare(pictures, tmp_path / "data", (32, 32))
        for source, size in ((tmp_path / "other.npy", None), (pictures, (64, 64))):
            with pytest.raises(UserError, match=r"holds the pictures of .* at 32x32\. Choose another --out"):
                prepare(source, tmp_path / "data", size)

    def test_ctrl_c_leaves_nothing(self, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from astseg.data import importing

        monkeypatch.setattr(importing, "fit_picture", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            prepare(pictures, tmp_path / "data", (32, 32))
        assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


class TestOpenPictures:
    def test_held_out_ones_of_prepared_data(self, rooms: Path) -> None:
        images = [picture.image for picture in open_pictures(rooms)]
        assert np.array_equal(np.stack(images), Store(rooms)["test"].images)

    def test_the_first_split_where_none_are_held_out(self, tmp_path: Path) -> None:
        with StoreWriter(tmp_path / "data", (8, 8), "grey", "none") as writer, writer.split("all") as split:
            split.append(np.full((3, 8, 8, 3), 99, np.uint8))
        assert open_pictures(tmp_path / "data").estimated_length() == 3

    def test_anything_else(self, pictures: Path, tmp_path: Path) -> None:
        assert open_pictures(pictures).estimated_length() == 7
        with pytest.raises(UserError, match="There is no file or folder"):
            open_pictures(tmp_path / "nowhere")


def test_a_few_skipped_pictures_are_named_and_the_others_counted(capsys) -> None:
    report_skipped([(f"{index}[red]", "[/] is damaged") for index in range(SHOWN + 3)])
    err = capsys.readouterr().err
    assert err.startswith("Skipped 0[red]: [/] is damaged\n")
    assert err.count("Skipped") == SHOWN
    assert err.endswith("... and 3 more.\n")
