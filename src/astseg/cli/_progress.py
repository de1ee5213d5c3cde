"""Progress as the terminal shows it."""

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
from astseg.cli._console import messages

ROOMY = 116
"""Columns from which on bars have their full length."""
BESIDE, BESIDE_NARROW = 60, 21
"""Columns beside a description, which is cut before any of them."""
SHORTEST = 16
NARROW = 72
"""Columns; a narrower terminal gets bars without their less important parts."""


class RateColumn(ProgressColumn):
    """How many a second; once the task is over, over its whole time."""

    def __init__(self, units: str) -> None:
        super().__init__()
        self._units = units

    def render(self, task: Task) -> Text:
        """Return the rate in whichever way round it is more than one."""
        begun = task.fields.get("begun", 0)
        speed = (task.completed - begun) / task.finished_time if task.finished_time else task.speed
        if not speed:
            text = f"- {self._units}/s"
        elif speed < 1:
            text = f"{1 / speed:.1f} s/{self._units.removesuffix('s')}"
        else:
            text = f"{speed:.1f} {self._units}/s"
        return Text(text, style="progress.data.speed")


class Bars(Progress):
    """Bars with the count, the rate, the time it took and the time left, and a line of remarks below them.

    Args:
        units: what is counted, in the plural; "bytes" are shown as MB.
    """

    def __init__(self, units: str) -> None:
        self.note = ""
        """The line below the bars."""
        amounts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), RateColumn(units))
        if units == "bytes":
            amounts = (DownloadColumn(), TransferSpeedColumn())
        bar = BarColumn(bar_width=24 if messages.width >= ROOMY else 8)
        columns = (bar, *amounts, TimeElapsedColumn(), TimeRemainingColumn())
        beside = BESIDE
        if messages.width < NARROW:
            columns, beside = (amounts[0], TimeRemainingColumn()), BESIDE_NARROW
        room = Column(no_wrap=True, overflow="ellipsis", max_width=max(SHORTEST, messages.width - beside))
        # A file's name may look like markup.
        description = TextColumn("{task.description}", markup=False, table_column=room)
        super().__init__(description, *columns, console=messages)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bars and the line below."""
        yield from super().get_renderables()
        if self.note:
            yield Text(self.note, style="dim", no_wrap=False)

    def stop(self) -> None:
        """Leave the bars as they are; a bar whose work never began goes."""
        for task in self.tasks:
            if not task.completed:
                self.update(task.id, visible=False)
        if any(task.visible for task in self.tasks):
            super().stop()
        else:
            self.live.transient = True
            self.live.stop()  # not the progress's own stop, which would leave an empty line


@contextmanager
def progress(description: str, units: str, total: int | None = None) -> Iterator[ProgressCallback]:
    """Show a bar while a block works, and hand out what moves it."""
    with Bars(units) as bars:
        task = bars.add_task(description, total=total)

        def show(done: int, of: int | None = None) -> None:
            bars.update(task, completed=done, total=of if of is not None else total)

        yield show
        # What was announced can be more than what could be read.
        bars.update(task, total=bars.tasks[0].completed)


@contextmanager
def several_progresses(units: str, describe: Callable[[str], str] = str) -> Iterator[Callable[..., None]]:
    """Show a bar for each piece of work that a block tells of, and hand out what moves the bar of a name."""
    with Bars(units) as bars:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int | None = None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(describe(name), completed=done, begun=done)
            bars.update(tasks[name], completed=done, total=total)

        yield show
        for task in bars.tasks:  # as above
            bars.update(task.id, total=task.completed)
