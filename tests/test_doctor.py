import platform
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from astseg import doctor


def by_name() -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine()}


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=50e9))
    findings = by_name()
    assert all(finding.good for finding in findings.values())
    for library in ("torch", "transformers", "safetensors", "av", "typer"):
        assert findings[library].found == version(library)
    assert "h5py" not in findings
    assert findings["disk"].found == "50.0 GB free here"
    assert findings["a training step"].found.startswith("works on ")


def test_the_environment() -> None:
    lines = doctor.environment().splitlines()
    assert f"PyTorch version: {torch.__version__}" in lines
    assert next(line for line in lines if line.startswith("Python version:")).split()[2] == platform.python_version()
    assert lines[lines.index("CPU:") + 1].endswith(" cores")
    assert not lines[lines.index("CPU:") + 2]


def test_what_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1e9))
    (tmp_path / "astseg-0.dist-info").mkdir()
    metadata = "Name: astseg\nVersion: 0\nRequires-Dist: torch>=2\nRequires-Dist: not-there (>=1)\n"
    metadata += "Requires-Dist: numpy<1\nRequires-Dist: of-an-extra; extra == 'more'\n"
    metadata += "Requires-Dist: of-another-system; sys_platform == 'none'\n"
    (tmp_path / "astseg-0.dist-info/METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "Trainer", fail)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    findings = by_name()
    bad = {name: finding.found for name, finding in findings.items() if not finding.good}
    assert bad == {
        "disk": "1.0 GB free here, 2 are needed",
        "not-there": "missing: install astseg again",
        "numpy": f"{version('numpy')}, <1 is needed: install astseg again",
        "a training step": "failed on cpu: out of memory",
    }


def test_a_package_that_is_not_installed() -> None:
    (finding,) = doctor.check_libraries("no-such-package")
    assert not finding.good
    assert "no-such-package is not installed" in finding.found
