"""Every name and alias of a data set, in every command that takes one."""

from pathlib import Path

import pytest

from astseg.data.benchmarks import DownloadPlan, get_benchmark
from astseg.data.catalog import SPELLINGS, TRAINING_SETS
from astseg.data.store import Store

everywhere = pytest.mark.parametrize("name", SPELLINGS)


@everywhere
def test_make(name: str, astseg, tmp_path: Path, capsys) -> None:
    code = astseg("data", "make", name, tmp_path / "out", "--train", 1, "--test", 0, "--size", 32)
    if SPELLINGS[name].look_alike:
        assert code == 0
        assert Store(tmp_path / "out").manifest.details["name"] == SPELLINGS[name].look_alike
    else:
        assert code == 2
        assert f"no generated data set '{name}'" in capsys.readouterr().err


@everywhere
def test_import(name: str, astseg, tmp_path: Path, capsys) -> None:
    assert astseg("data", "import", tmp_path / "nothing", "--benchmark", name, "--out", tmp_path / "out") == 2
    assert f"{tmp_path / 'nothing'} does not exist" in capsys.readouterr().err


@everywhere
def test_download(name: str, astseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    asked = []
    plan = "astseg.data.benchmarks.downloading.plan_files"
    monkeypatch.setattr(plan, lambda files, folder: asked.extend(files) or DownloadPlan(folder, ()))
    assert astseg("data", "download", name, tmp_path) == (0 if get_benchmark(name).files else 2)
    assert tuple(asked) == get_benchmark(name).files
    assert asked or f"No address is documented for '{name}'" in capsys.readouterr().err


@everywhere
def test_ablate(name: str, astseg, tmp_path: Path, capsys) -> None:
    assert astseg("ablate", name, "--data", tmp_path / "nothing", "--out", tmp_path / "out") == 2
    trained = SPELLINGS[name].name in TRAINING_SETS
    assert ("no prepared data set" if trained else "trains no models on") in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["data import nothing --benchmark rooms --out out", "data download rooms out", "ablate rooms --data x --out y"],
)
def test_a_look_alikes_name_leads_to_the_data_set(command: str, astseg, capsys) -> None:
    assert astseg(*command.split()) == 2
    assert (
        "'rooms' is the generated look-alike of ObjectsRoom; the data set is 'objectsroom'." in capsys.readouterr().err
    )
