import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("compile_phases.py")
CASES: dict[str, tuple[str, dict[str, object]]] = {
    "compact networks": ("demo", {}),
    "slow features": ("clevrtex-cpu", {}),
    "SegFormer": (
        "clevr",
        {"architecture.feature_network": "segformer-b0", "architecture.background_network": "static"},
    ),
    "U-net, AE-NE": ("clevr-unet", {"architecture.refinement": "none"}),
    "natural video": (
        "natural-video",
        {
            "architecture.feature_network": "compact-unet",
            "architecture.refinement": "none",
            "background.automatic_complexity": False,
            "backbone": None,
        },
    ),
}


def compare(*cases: tuple[str, str, dict[str, object]]) -> list[dict[str, Any]]:
    """Return for each case, by the phases, what `compile_phases.py` compares of a preset, a backend and changes."""
    command = [sys.executable, str(SCRIPT), json.dumps(cases)]
    found: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def test_a_phase_is_one_graph_and_a_second_one_with_shadows() -> None:
    """In one process, since each takes longer to begin than to compare."""
    # The gradient is a graph of its own with "aot_eager"; that of large networks takes long to find.
    backends = {"demo": "aot_eager"}
    cases = [(preset, backends.get(preset, "eager"), changes) for preset, changes in CASES.values()]
    for case, (preset, _, _), found in zip(CASES, cases, compare(*cases), strict=True):
        for name, phase in found.items():
            graphs = 2 if (preset, name) == ("demo", "objects") else 1
            assert phase["graphs"] == graphs, (case, name)
            for plain, compiled in phase["totals"]:
                assert compiled == pytest.approx(plain, rel=1e-5), (case, name)
            assert phase["gradients off by"] < 1e-4, (case, name)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_by_the_compiler_for_the_machine() -> None:
    (found,) = compare(("demo", "inductor", {"foreground.scenario": "background"}))
    assert found["background"]["graphs"] == 1
    for plain, compiled in found["background"]["totals"]:
        assert compiled == pytest.approx(plain, rel=1e-5)
    assert found["background"]["gradients off by"] < 1e-5
