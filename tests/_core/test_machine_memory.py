from pathlib import Path

import pytest
import torch

from astseg._core.machine_memory import Memory, machine_memory


def test_this_one() -> None:
    found = machine_memory(torch.device("cpu"))
    assert 1e8 < found.free <= found.total < 1e14


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("3000000\n", Memory(3e6, 1.5e6)), ("max\n", None), (f"{1 << 62}\n", None)],
)
def test_a_container_may_have_less(limit: str, expected: Memory | None, tmp_path: Path) -> None:
    contents = {"limit": limit, "used": "2000000\n", "stat": "anon 1\ninactive_file 500000\n"}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    limit_file, used, stat = (str(tmp_path / name) for name in contents)
    found = machine_memory(torch.device("cpu"), (("nowhere", "", ""), (limit_file, used, stat)))
    expected = expected or machine_memory(torch.device("cpu"), ())
    assert found.total == expected.total
    assert found.free == pytest.approx(expected.free, rel=0.2)
