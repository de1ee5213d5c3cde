"""Work that a second thread does while the first one goes on."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def run_behind(tasks: Iterable[Callable[[], Result]], waiting: int) -> Generator[Result, None, None]:
    """Run tasks in a thread, one after another, while this thread makes the next ones.

    An error in a task is raised here, up to ``waiting`` tasks later. Once the iterator is closed, no task runs.

    Args:
        tasks: what to run, made one by one.
        waiting: the number of tasks that may be unfinished while the next one is made; 0 waits for each at once.

    Yields:
        What the tasks return, in their order.
    """
    with ThreadPoolExecutor(1) as pool:
        unfinished: deque[Future[Result]] = deque()
        for task in tasks:
            unfinished.append(pool.submit(task))
            while len(unfinished) > waiting:
                yield unfinished.popleft().result()
        while unfinished:
            yield unfinished.popleft().result()
