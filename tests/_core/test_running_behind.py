import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest

from astseg._core.running_behind import run_behind


@pytest.mark.parametrize("waiting", [0, 1, 3, 50])
def test_results_come_in_order(waiting: int) -> None:
    tasks = (partial(pow, number, 2) for number in range(20))
    assert list(run_behind(tasks, waiting)) == [number**2 for number in range(20)]


@pytest.mark.parametrize("waiting", [0, 2])
def test_no_more_tasks_are_made_than_may_wait(waiting: int) -> None:
    """All tasks are blocked, so that as many are made as may be unfinished, and the one that is then waited for."""
    made: list[int] = []
    go_on = threading.Event()

    def tasks() -> Iterator[Callable[[], object]]:
        for number in range(10):
            made.append(number)
            if len(made) > waiting:
                threading.Timer(0.1, go_on.set).start()
            yield go_on.wait

    with closing(run_behind(tasks(), waiting)) as results:
        next(results)
        assert len(made) == waiting + 1


def test_tasks_run_beside_the_thread_that_makes_them() -> None:
    """Each task ends only once the next one is being made."""
    made = [threading.Event() for _ in range(5)]

    def tasks() -> Iterator[Callable[[], bool]]:
        for number, event in enumerate(made):
            event.set()
            yield partial(made[min(number + 1, 4)].wait, 10)

    assert list(run_behind(tasks(), 1)) == [True] * 5


@pytest.mark.parametrize("waiting", [0, 2])
def test_an_error_is_raised_here_and_ends_all(waiting: int) -> None:
    ran: list[int] = []

    def task(number: int) -> None:
        ran.append(number)
        if number == 3:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(run_behind((partial(task, number) for number in range(100)), waiting))
    assert max(ran) <= 3 + waiting


def test_once_closed_nothing_runs() -> None:
    ran: list[int] = []
    results = run_behind((partial(ran.append, number) for number in range(100)), 3)
    next(results)
    results.close()
    count = len(ran)
    assert not any("ThreadPool" in thread.name for thread in threading.enumerate())
    assert len(ran) == count <= 5
