import os
import signal
import sys

import pytest
import torch
from tests.process_groups import run_together

from astseg._core import processes
from astseg._core.errors import AstSegError, LostProcessError
from astseg._core.processes import Place, launched_place, own_device

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="forks")


def test_alone_nothing_is_exchanged() -> None:
    values = torch.tensor([1.0, 2.0])
    with processes.joined(torch.device("cpu")):
        assert (processes.rank(), processes.count(), processes.is_first()) == (0, 1, True)
        assert processes.add_up(values) is processes.copy_from_first(values) is values
        assert values.tolist() == [1, 2]
        assert processes.from_first("here") == processes.by_first(lambda: "here") == "here"
        assert processes.any_of(True)
        assert not processes.any_of(False)
        with processes.first_before_others():
            processes.wait_for_all()


def test_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launched_place() == Place(0, 1, 0)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launched_place() == Place(3, 4, 3)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert launched_place() == Place(3, 4, 1)
    for wrong in ("4", "-1", "one"):
        monkeypatch.setenv("RANK", wrong)
        with pytest.raises(AstSegError, match="as torchrun sets them"):
            launched_place()


def test_processes_that_do_not_know_where_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(AstSegError, match="MASTER_ADDR"), processes.joined(torch.device("cpu")):
        pass


def test_each_process_has_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    any_gpu, place = torch.device("cuda"), Place(3, 4, 1)
    assert own_device(any_gpu, place) == torch.device("cuda", 1)
    assert own_device(any_gpu, Place()) == any_gpu
    assert own_device(torch.device("cuda", 0), place) == torch.device("cuda", 0)
    assert own_device(torch.device("cpu"), place) == torch.device("cpu")
    with pytest.raises(AstSegError, match="2 GPUs"):
        own_device(any_gpu, Place(2, 3, 2))


def _talk() -> tuple[object, ...]:
    rank = processes.rank()
    total = processes.add_up(torch.tensor([rank + 1.0])).item()
    copied = processes.copy_from_first(torch.tensor([rank + 5])).item()
    anyone = processes.any_of(rank == 1), processes.any_of(False)
    return rank, processes.count(), total, copied, *anyone, processes.from_first(rank), processes.by_first(lambda: rank)


@needs_fork
def test_together() -> None:
    assert run_together(_talk, 2) == [(rank, 2, 3.0, 5, True, False, 0, 0) for rank in range(2)]


def _make_and_find(folder: str) -> bool:
    with processes.first_before_others():
        if processes.is_first():
            os.mkdir(folder)  # noqa: PTH102
        return os.path.isdir(folder)  # noqa: PTH112


@needs_fork
def test_the_first_makes_what_others_find(tmp_path: object) -> None:
    assert run_together(_make_and_find, 2, f"{tmp_path}/made") == [True, True]


def _fail_in_first() -> None:
    def fail() -> None:
        raise AstSegError("no such folder")

    processes.by_first(fail)


@needs_fork
def test_an_error_of_the_first_ends_all() -> None:
    first, second = run_together(_fail_in_first, 2)
    assert str(first) == "no such folder"
    assert isinstance(second, LostProcessError)


def _die_in_second() -> None:
    processes.wait_for_all()
    if not processes.is_first():
        os.kill(os.getpid(), signal.SIGKILL)
    processes.wait_for_all()


@needs_fork
def test_a_killed_process_ends_all() -> None:
    first, second = run_together(_die_in_second, 2)
    assert isinstance(first, LostProcessError)
    assert "any number of processes can go on" in str(first)
    assert second is None
