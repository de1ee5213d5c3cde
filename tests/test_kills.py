"""A few kills of the commands; ``benchmarks/kill.py`` does more."""

import sys
from pathlib import Path

import pytest
from benchmarks.kill import kill_often, make_inputs, scenarios


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and kills by a signal")
def test_what_was_killed_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    make_inputs(tmp_path / "inputs")
    for scenario in scenarios(tmp_path / "inputs"):
        tally = kill_often(scenario, tmp_path / scenario.name.replace(" ", "-"), 4 if scenario.resume else 1)
        assert tally.lost == []
        assert tally.killed
