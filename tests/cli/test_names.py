"""Every name and alias of a data set, in every command that takes one."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.conftest import Program

from astseg.data.benchmarks import DownloadPlan, get_benchmark
from astseg.data.benchmarks.registry import RemoteFile
from astseg.data.catalog import SPELLINGS, TRAINING_SETS
from astseg.data.store import Store

every_name = pytest.mark.parametrize("name", SPELLINGS)


@every_name
def test_make(name: str, astseg: Program, tmp_path: Path) -> None:
    command = ("data", "make", name, tmp_path / "out", "--train", 1, "--test", 0, "--size", 32)
    if SPELLINGS[name].look_alike:
        assert astseg(*command) == 0
        assert Store(tmp_path / "out").manifest.details["name"] == SPELLINGS[name].look_alike
    else:
        assert f"no generated data set '{name}'" in astseg.mistake(*command)


@every_name
def test_import(name: str, astseg: Program, tmp_path: Path) -> None:
    source = tmp_path / "nothing"
    message = astseg.mistake("data", "import", source, "--benchmark", name, "--out", tmp_path / "out")
    assert f"{source} does not exist" in message


@every_name
def test_download(name: str, astseg: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[RemoteFile] = []

    def plan_files(files: Sequence[RemoteFile], folder: Path) -> DownloadPlan:
        requested.extend(files)
        return DownloadPlan(folder, ())

    monkeypatch.setattr("astseg.data.benchmarks.downloading.plan_files", plan_files)
    assert astseg("data", "download", name, tmp_path) == (0 if get_benchmark(name).files else 2)
    assert tuple(requested) == get_benchmark(name).files
    assert requested or f"No address is documented for '{name}'" in astseg.err


@every_name
def test_ablate(name: str, astseg: Program, tmp_path: Path) -> None:
    message = astseg.mistake("ablate", name, "--data", tmp_path / "nothing", "--out", tmp_path / "out")
    trained = SPELLINGS[name].name in TRAINING_SETS
    assert ("no prepared data set" if trained else "trains no models on") in message


@pytest.mark.parametrize(
    "command",
    ["data import nothing --benchmark rooms --out out", "data download rooms out", "ablate rooms --data x --out y"],
)
def test_the_name_of_a_look_alike_leads_to_the_data_set(command: str, astseg: Program) -> None:
    assert "the data set is 'objectsroom'" in astseg.mistake(*command.split())
