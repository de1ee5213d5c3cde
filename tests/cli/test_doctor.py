import pytest
from tests.cli.conftest import Program

from astseg import doctor


def test_findings_and_exit_code(astseg: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [doctor.Finding("torch", "2.0[x]"), doctor.Finding("a training step", "works on cpu")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    monkeypatch.setattr(doctor, "environment", lambda: "OS: one[y]")
    assert astseg("doctor") == 0
    assert astseg.out.startswith("OS: one[y]\n\n")
    assert "torch            2.0[x]" in astseg.out
    findings.append(doctor.Finding("disk", "0.1 GB free here", good=False))
    assert astseg("doctor") == 1
    assert "no  disk" in astseg.out
