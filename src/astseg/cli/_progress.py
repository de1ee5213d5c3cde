"""Progress bars."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from astseg._core.progress import Progress as ProgressCallback
from astseg._core.text import printable
from astseg.cli._console import messages

MIN_LONG_BAR_WIDTH = 116
"""In columns; bars are shorter in a narrower terminal."""
RESERVED_WIDTH, NARROW_RESERVED_WIDTH = 60, 21
"""In columns, for the numbers beside a description, which is cut first."""
MIN_DESCRIPTION_WIDTH = 16
MIN_FULL_WIDTH = 72
"""In columns; a narrower terminal shows only counts and the remaining time."""


class AmountColumn(ProgressColumn):
    """Show how much of a task is done; bytes as kB, MB or GB."""

    def __init__(self) -> None:
        super().__init__()
        self._counts, self._bytes = MofNCompleteColumn(), DownloadColumn()

    def render(self, task: Task) -> Text:
        """Return what is done, and of how many."""
        return (self._bytes if task.fields["units"] == "bytes" else self._counts).render(task)


class RateColumn(ProgressColumn):
    """Show how many units are done per second; of a finished task, over its whole time."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = TransferSpeedColumn()

    def render(self, task: Task) -> Text:
        """Return units per second, or seconds per unit if that is less than one."""
        units = task.fields["units"]
        if units == "bytes":
            return self._bytes.render(task)
        begun = task.fields.get("begun", 0)
        speed = (task.completed - begun) / task.finished_time if task.finished_time else task.speed
        if not speed:
            text = f"- {units}/s"
        elif speed < 1:
            text = f"{1 / speed:.1f} s/{units.removesuffix('s')}"
        else:
            text = f"{speed:.1f} {units}/s"
        return Text(text, style="progress.data.speed")


class Bars(Progress):
    """Bars with the count, the rate, the elapsed and the remaining time, and a line of text below them.

    Tasks have a field ``units``: what is counted, in the plural.
    """

    def __init__(self) -> None:
        self.note = ""
        """The line below the bars."""
        self.describe: Callable[[], str] = lambda: ""
        """Returns a further line, which changes by itself."""
        bar = BarColumn(bar_width=24 if messages.width >= MIN_LONG_BAR_WIDTH else 8)
        columns: tuple[ProgressColumn, ...] = (
            bar,
            AmountColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        beside = RESERVED_WIDTH
        if messages.width < MIN_FULL_WIDTH:
            columns, beside = (AmountColumn(), TimeRemainingColumn()), NARROW_RESERVED_WIDTH
        room = Column(no_wrap=True, overflow="ellipsis", max_width=max(MIN_DESCRIPTION_WIDTH, messages.width - beside))
        # Names of files may look like markup.
        description = TextColumn("{task.description}", markup=False, table_column=room)
        super().__init__(description, *columns, console=messages)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bars and the line below."""
        yield from super().get_renderables()
        for line in (self.note, self.describe()):
            if line:
                yield Text(line, style="dim", no_wrap=False)

    def stop(self) -> None:
        """Leave the bars on the screen, except those whose work has not begun."""
        for task in self.tasks:
            if not task.completed:
                self.update(task.id, visible=False)
        if any(task.visible for task in self.tasks):
            super().stop()
        else:
            self.live.transient = True
            self.live.stop()  # `super().stop()` would leave an empty line


@contextmanager
def progress(
    description: str, units: str, total: int | None = None, describe: Callable[[], str] = lambda: ""
) -> Iterator[ProgressCallback]:
    """Show a bar during a block, with what ``describe`` returns below it, and yield the callback that moves it."""
    with Bars() as bars:
        bars.describe = describe
        task = bars.add_task(description, total=total, units=units)

        def show(done: int, of: int | None = None) -> None:
            bars.update(task, completed=done, total=of if of is not None else total)

        yield show
        # Some items may have been unreadable.
        bars.update(task, total=bars.tasks[0].completed)


@contextmanager
def counting_progress(description: str, units: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar during a block, and yield a function that moves it on by so many units."""
    done = 0
    with progress(description, units, total) as show:

        def add(count: int) -> None:
            nonlocal done
            done += count
            show(done, None)

        yield add


@contextmanager
def progress_by_name(units: str, describe: Callable[[str], str] = str) -> Iterator[Callable[..., None]]:
    """Show a bar for each named task of a block, and yield a function of name, count and total that moves its bar.

    A further argument says what is counted, if not ``units``.
    """
    with Bars() as bars:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int | None = None, units: str = units) -> None:
            if name not in tasks:
                text = printable(describe(name))
                tasks[name] = bars.add_task(text, completed=done, total=total, begun=done, units=units)
            bars.update(tasks[name], completed=done, total=total)

        yield show
        for task in bars.tasks:  # as in `progress`
            bars.update(task.id, total=task.completed)
