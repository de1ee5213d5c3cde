import platform
import subprocess
from pathlib import Path

import pytest
import torch

from astseg import __version__
from astseg._core import provenance

CPU = torch.device("cpu")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small repository."""
    (tmp_path / "code.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


class TestCommit:
    def test_of_a_clean_checkout(self, checkout: Path) -> None:
        assert provenance.commit(checkout) == git(checkout, "rev-parse", "--short", "HEAD")

    def test_untracked_files_do_not_count(self, checkout: Path) -> None:
        (checkout / "notes.txt").write_text("mine")
        assert not provenance.commit(checkout).endswith("+")

    def test_of_a_changed_checkout(self, checkout: Path) -> None:
        (checkout / "code.py").write_text("changed")
        assert provenance.commit(checkout) == git(checkout, "rev-parse", "--short", "HEAD") + "+"

    def test_outside_a_checkout(self, tmp_path: Path) -> None:
        assert provenance.commit(tmp_path) == ""

    def test_without_git(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert provenance.commit(checkout) == ""


def test_machine_names_the_processor_and_its_threads() -> None:
    assert provenance.machine(CPU).endswith(f", {torch.get_num_threads()} threads")
    assert len(provenance.machine(CPU)) > len(", 1 threads")


def test_a_processor_without_a_list_of_processors(tmp_path: Path) -> None:
    assert provenance._processor(tmp_path / "absent") in (platform.processor(), platform.machine())


def test_provenance() -> None:
    found = provenance.provenance(CPU)
    assert (found.astseg, found.torch) == (__version__, torch.__version__)
