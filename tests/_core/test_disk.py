import shutil
from pathlib import Path

import pytest

from astseg._core.disk import free_bytes


def test_the_room_for_what_is_not_there_yet(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert free_bytes(tmp_path / "new" / "folder") == pytest.approx(free, rel=0.05)
    (tmp_path / "file").touch()
    assert free_bytes(tmp_path / "file") == pytest.approx(free, rel=0.05)


def test_a_drive_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda path: False)
    assert free_bytes(Path("new/folder")) is None
