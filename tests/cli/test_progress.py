import io
import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from rich.progress import Task, TaskID

from astseg.cli._progress import Bars, RateColumn, progress, progress_by_name

Screen = Callable[..., io.StringIO]


class TestProgress:
    def test_ends_with_count_rate_and_times(self, screen: Screen) -> None:
        text = screen()
        with progress("Reading a[red]b", "images", 4) as show:
            show(4, None)
        assert re.fullmatch(r"Reading a\[red\]b ━+ 4/4 [\d.]+ images/s 0:00:00 0:00:00\s*", text.getvalue())

    def test_is_complete_though_the_total_was_larger(self, screen: Screen) -> None:
        text = screen()
        with progress("Reading", "images") as show:
            show(2, 9)
            show(7, 9)
        assert "7/7" in text.getvalue()
        assert "9" not in text.getvalue().split("images/s")[0].split("7/7")[0]

    def test_stops_at_an_error(self, screen: Screen) -> None:
        text = screen()

        def read_three_images() -> None:
            with progress("Reading", "images", 9) as show:
                show(3, None)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            read_three_images()
        assert "3/9" in text.getvalue()

    @pytest.mark.parametrize("terminal", [False, True])
    def test_leaves_nothing_where_nothing_was_done(self, terminal: bool, screen: Screen) -> None:
        text = screen(terminal=terminal)
        with pytest.raises(ZeroDivisionError), progress("Reading", "images", 9):
            raise ZeroDivisionError
        # On a terminal the line is erased at the end.
        assert text.getvalue().rpartition("\x1b[2K")[2].replace("\x1b[?25h", "").strip() == ""

    def test_a_narrow_terminal_shows_the_whole_count(self, screen: Screen) -> None:
        text = screen(40)
        with progress("Phase 1: background", "steps", 20_000) as show:
            show(20_000, None)
        assert re.fullmatch(r"Phase 1: background 20000/20000 0:00:00\s*", text.getvalue())

    @pytest.mark.parametrize("width", [40, 80, 120])
    def test_a_long_description_is_cut_before_any_number(self, width: int, screen: Screen) -> None:
        text = screen(width)
        with progress_by_name("images") as show:
            show(f"reading {', '.join(f'clevrtex_full_part{part}.tar.gz' for part in range(5))}", 49_990, 50_000)
        (line,) = text.getvalue().splitlines()
        assert re.match(r"reading clev.*… ", line)
        assert "49990/49990" in line  # complete, though the total was larger
        assert line.rstrip().endswith("0:00:00")


@pytest.mark.parametrize(
    ("completed", "begun", "seconds", "text"),
    [
        (30, 0, 10.0, "3.0 steps/s"),
        (30, 20, 5.0, "2.0 steps/s"),
        (2, 0, 9.0, "4.5 s/step"),
        (0, 0, None, "- steps/s"),
    ],
)
def test_rate_of_a_finished_task(completed: int, begun: int, seconds: float | None, text: str) -> None:
    fields = {"begun": begun, "units": "steps"}
    task = Task(TaskID(0), "", completed, completed, lambda: 0.0, finished_time=seconds, fields=fields)
    assert RateColumn().render(task).plain == text


def test_a_bar_for_each_name(screen: Screen) -> None:
    text = screen()
    with progress_by_name("images", "Checking {}".format) as show:
        show("train", 1, 2)
        show("test", 3, 3)
        show("train", 2, 2)
    lines = text.getvalue().splitlines()
    assert [line.split("━")[0].split() for line in lines[:2]] == [["Checking", "train"], ["Checking", "test"]]
    assert "2/2" in lines[0]
    assert "3/3" in lines[1]


def test_bytes_are_shown_in_larger_units(screen: Screen) -> None:
    text = screen()
    with progress_by_name("bytes") as show:
        show("a.zip", 5_000_000, 5_000_000)
    assert "5.0/5.0 MB" in text.getvalue()


def test_tasks_of_other_units_beside(screen: Screen) -> None:
    text = screen()
    with progress_by_name("images") as show:
        show("reading a.tar", 3_000_000, 3_000_000, "bytes")
        show("writing train", 500, 500)
    reading, writing = text.getvalue().splitlines()
    assert "3.0/3.0 MB" in reading
    assert "500/500" in writing
    assert "images/s" in writing
    assert "MB" not in writing


def test_an_unknown_total_is_none(screen: Screen) -> None:
    text = screen()
    with suppress(KeyboardInterrupt), progress_by_name("bytes") as show:
        show("a.zip", 5_000_000, None)
        raise KeyboardInterrupt
    assert "5.0/? MB" in text.getvalue()


def test_a_line_of_text_below(screen: Screen) -> None:
    text = screen()
    with Bars() as bars:
        bars.update(bars.add_task("Phase 1", total=2, units="steps"), completed=2)
        bars.note = "loss 0.5 [red]"
    assert text.getvalue().splitlines()[1].strip() == "loss 0.5 [red]"
