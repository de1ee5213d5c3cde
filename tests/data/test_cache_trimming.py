import os
import subprocess
import sys
from pathlib import Path

import pytest

from astseg._core.atomic_io import lock_folder
from astseg.data.cache_trimming import trim, used

HOLD = """
import sys
from pathlib import Path
from astseg.data.cache_trimming import used
with used(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Four folders of 100 bytes, the first of which was not used for longest; and what is none of astseg's."""
    for index in range(4):
        folder = tmp_path / f"{index:016x}"
        folder.mkdir()
        (folder / "a.png").write_bytes(bytes(100))
        os.utime(folder, (1000 + index,) * 2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "b.png").write_bytes(bytes(100))
    (tmp_path / f"{9:016x}").write_bytes(bytes(100))
    return tmp_path


def left(cache: Path) -> list[int]:
    assert (cache / "mine" / "b.png").is_file()
    assert (cache / f"{9:016x}").is_file()
    return [index for index in range(4) if (cache / f"{index:016x}" / "a.png").is_file()]


@pytest.mark.parametrize(
    ("max_bytes", "kept"), [(400, [0, 1, 2, 3]), (399, [1, 2, 3]), (200, [2, 3]), (199, [3]), (0, [])]
)
def test_what_was_not_used_for_longest_goes_first(cache: Path, max_bytes: int, kept: list[int]) -> None:
    trim(cache, max_bytes)
    assert left(cache) == kept
    assert len(list(cache.iterdir())) == len(kept) + 2


def test_what_is_used_stays_and_is_the_latest(cache: Path) -> None:
    with used(cache / f"{0:016x}"):
        trim(cache, 100)
        assert left(cache) == [0]
        trim(cache, 0)
        assert left(cache) == [0]
    trim(cache, 100)
    assert left(cache) == [0]
    trim(cache, 0)
    assert left(cache) == []


def test_what_was_used_again_goes_later(cache: Path) -> None:
    with used(cache / f"{0:016x}"):
        pass
    trim(cache, 200)
    assert left(cache) == [0, 3]


def test_what_is_written_stays(cache: Path) -> None:
    folder = cache / f"{1:016x}"
    with lock_folder(folder, folder):
        trim(cache, 0)
        assert left(cache) == [1]


def test_another_process_uses_a_folder_until_it_is_killed(cache: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(cache / f"{0:016x}")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        trim(cache, 0)
        assert left(cache) == [0]
        process.kill()
        process.wait()
    trim(cache, 0)
    assert left(cache) == []


def test_no_cache_is_no_error(tmp_path: Path) -> None:
    trim(tmp_path / "none", 0)
    assert not (tmp_path / "none").exists()
