from pathlib import Path

from tests.cli.conftest import Program

from astseg.data.store import Store


def test_sound_data(astseg: Program, rooms: Path) -> None:
    assert astseg("data", "check", rooms) == 0
    assert "K:        not given" in astseg.out
    assert "No problems found." in astseg.out
    assert "Checking train" in astseg.err


def test_more_labels_than_slots(astseg: Program, rooms: Path) -> None:
    assert astseg("data", "check", rooms, "--objects", 1) == 0
    assert "Note train: labels go up to 3" in astseg.out


def test_damaged_data(astseg: Program, tiny_store: Store) -> None:
    file = tiny_store.path / "train.images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert astseg("data", "check", tiny_store.path) == 1
    assert "Damaged train.images.npy has changed since it was written. Prepare the data again." in astseg.out
    assert "No problems found" not in astseg.out


def test_mistakes(astseg: Program, rooms: Path, tmp_path: Path) -> None:
    assert "no prepared data set" in astseg.mistake("data", "check", tmp_path)
    assert "at least 1, not 0" in astseg.mistake("data", "check", rooms, "--objects", 0)
