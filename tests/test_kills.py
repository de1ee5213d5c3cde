"""A few kills of the commands; ``benchmarks/kill.py`` does more."""

import sys
from pathlib import Path

import pytest
from benchmarks.kill import kill_often, local_server, make_inputs, scenarios


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and kills by a signal")
def test_what_was_killed_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    make_inputs(tmp_path / "inputs")
    with local_server() as server:
        commands = scenarios(tmp_path / "inputs", server)
        tallies = {
            one.name: kill_often(one, tmp_path / one.name.replace(" ", "-"), 4 if one.name == "train" else 1)
            for one in commands
        }
    assert len(tallies) == 8
    for tally in tallies.values():
        assert tally.lost == []
        assert tally.killed
