import ctypes
import subprocess
import sys

import pytest

from astseg._core.allocation import keep_freed_memory

FAULTS = """
import resource
import numpy as np
from astseg._core.allocation import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def filled():
    before = faults()
    np.ones(2**24)  # 128 MiB, freed at once
    return faults() - before

first = [filled(), filled()][1]
keep_freed_memory()
filled()
print(first, filled())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="does nothing elsewhere")
def test_memory_is_fetched_once() -> None:
    printed = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    before, after = map(int, printed.split())
    assert before > 50, "or there would be nothing to keep"
    assert after < before / 10


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)
    keep_freed_memory()
