from pathlib import Path

import numpy as np
import pytest

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.staging import IMAGE, MASK, Staging
from astseg.data.store import Bytes

SIZE = 6


def numbered_image(index: int) -> tuple[Bytes, Bytes]:
    rng = np.random.default_rng(index)
    return rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), rng.integers(0, 5, (SIZE, SIZE), np.uint8)


def test_images_are_returned_whatever_order_they_arrived_in(tmp_path: Path) -> None:
    with Staging(tmp_path / "s", SIZE, {}) as staging:
        for index in (4, 0, 3):
            staging.put(index, MASK, numbered_image(index)[1])
        for index in (3, 1, 4):
            staging.put(index, IMAGE, numbered_image(index)[0])
        assert staging.total == 5
        assert staging.num_complete == 2
        assert staging.missing == [0, 1, 2]
        read = list(staging.read(range(5)))
    assert len(read) == 2
    for index, (image, labels) in zip((3, 4), read, strict=True):
        np.testing.assert_array_equal(image, numbered_image(index)[0])
        np.testing.assert_array_equal(labels, numbered_image(index)[1])


def test_a_second_run_knows_what_has_arrived(tmp_path: Path) -> None:
    with Staging(tmp_path / "s", SIZE, {"set": "a"}) as staging:
        staging.put(2, IMAGE, numbered_image(2)[0])
        staging.mark_unreadable(1, "name.png", "broken")
        staging.finish("first.tar")
    with Staging(tmp_path / "s", SIZE, {"set": "a"}) as staging:
        assert staging.has(2, IMAGE)
        assert not staging.has(2, MASK)
        assert not staging.has(9, MASK)
        assert staging.has(1, IMAGE)
        assert staging.has(1, MASK)
        assert staging.unreadable == [["name.png", "broken"]]
        assert staging.finished("first.tar")
        assert not staging.finished("second.tar")
        staging.finish("second.tar")
        staging.put(2, MASK, numbered_image(2)[1])
        assert staging.missing == [0]
        assert len(list(staging.read([2]))) == 1
        assert staging.finished("first.tar")
        staging.remove()
    assert not (tmp_path / "s").exists()


def test_links_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "s").mkdir()
    for name in ("images", "masks", "seen", "finished.json"):
        (tmp_path / "s" / name).symlink_to(tmp_path / "mine")
    with Staging(tmp_path / "s", SIZE, {}) as staging:
        staging.put(0, IMAGE, numbered_image(0)[0])
        staging.put(0, MASK, numbered_image(0)[1])
        staging.finish("first.tar")
    assert (tmp_path / "mine").read_text() == "mine"


def test_other_settings_are_refused(tmp_path: Path) -> None:
    with Staging(tmp_path / "s", SIZE, {"set": "a"}):
        pass
    with pytest.raises(AstSegError, match="other settings"):
        Staging(tmp_path / "s", SIZE, {"set": "b"})


def test_what_was_killed_while_it_noted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "s"
    with Staging(folder, SIZE, {"set": "a"}) as staging:
        staging.put(0, IMAGE, numbered_image(0)[0])
        staging.finish("first.tar")

    def killed(self: Path, content: bytes) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt), Staging(folder, SIZE, {"set": "a"}) as staging:
            staging.finish("second.tar")
    with Staging(folder, SIZE, {"set": "a"}) as staging:
        assert staging.finished("first.tar")
        assert not staging.finished("second.tar")
        assert staging.has(0, IMAGE)


def test_notes_that_an_older_version_left_half_written(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with Staging(folder, SIZE, {}) as staging:
        staging.mark_unreadable(1, "1.png", "broken")
        staging.mark_unreadable(2, "2.png", "broken")
        staging.put(0, IMAGE, numbered_image(0)[0])
    (folder / "finished.json").write_text('["first.t')
    (folder / "unreadable").write_text((folder / "unreadable").read_text()[:-4])
    with Staging(folder, SIZE, {}) as staging:
        assert not staging.finished("first.tar")
        assert staging.unreadable == [["1.png", "broken"]]
        staging.finish("first.tar")
        assert staging.finished("first.tar")


def test_an_unreadable_file_is_named_once(tmp_path: Path) -> None:
    with Staging(tmp_path / "s", SIZE, {}) as staging:
        staging.mark_unreadable(1, "1.png", "broken")
        staging.mark_unreadable(1, "1.png", "broken")
        assert staging.unreadable == [["1.png", "broken"]]


@pytest.mark.parametrize(("name", "bytes_each"), [("images", 3 * SIZE * SIZE), ("masks", SIZE * SIZE)])
def test_a_flipped_bit_is_noticed(tmp_path: Path, name: str, bytes_each: int) -> None:
    with Staging(tmp_path / "s", SIZE, {}) as staging:
        for index in range(3):
            for kind, pixels in zip((IMAGE, MASK), numbered_image(index), strict=True):
                staging.put(index, kind, pixels)
    file = tmp_path / "s" / name
    content = bytearray(file.read_bytes())
    content[bytes_each + 5] ^= 1
    file.write_bytes(content)
    with Staging(tmp_path / "s", SIZE, {}) as staging:
        assert len(list(staging.read([0, 2]))) == 2
        with pytest.raises(AstSegError, match=r"image 1 in .* has another checksum. Remove that folder"):
            list(staging.read(range(3)))


def test_a_folder_without_checksums_is_read_as_it_is(tmp_path: Path) -> None:
    with Staging(tmp_path / "s", SIZE, {}) as staging:
        for kind, pixels in zip((IMAGE, MASK), numbered_image(1), strict=True):
            staging.put(1, kind, pixels)
    for file in (tmp_path / "s").glob("*.crc32"):
        file.unlink()
    with Staging(tmp_path / "s", SIZE, {}) as staging:
        ((image, _),) = staging.read(range(2))
    np.testing.assert_array_equal(image, numbered_image(1)[0])
