import io
import re

import pytest
from rich.console import Console

from astseg.cli import _progress as bars
from astseg.cli._progress import Bars, progress, several_progresses


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What goes to a file in place of a terminal: the final state of the bars."""
    return _screen(monkeypatch, 80)


def _screen(monkeypatch: pytest.MonkeyPatch, width: int, terminal: bool = False) -> io.StringIO:
    text = io.StringIO()
    monkeypatch.setattr(bars, "messages", Console(file=text, width=width, force_terminal=terminal))
    return text


class TestProgress:
    def test_ends_with_count_rate_and_times(self, screen: io.StringIO) -> None:
        with progress("Reading", "images", 4) as show:
            show(4)
        assert re.fullmatch(r"Reading ━+ 4/4 [\d.]+ images/s 0:00:00 0:00:00\s*", screen.getvalue())

    def test_is_complete_though_less_came_than_was_announced(self, screen: io.StringIO) -> None:
        with progress("Reading", "images") as show:
            show(2, 9)
            show(7, 9)
        assert "7/7" in screen.getvalue()
        assert "9" not in screen.getvalue().split("images/s")[0].split("7/7")[0]

    def test_stays_where_it_was_when_something_went_wrong(self, screen: io.StringIO) -> None:
        def read_three_images() -> None:
            with progress("Reading", "images", 9) as show:
                show(3)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            read_three_images()
        assert "3/9" in screen.getvalue()

    @pytest.mark.parametrize("terminal", [False, True])
    def test_leaves_nothing_where_nothing_was_done(self, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
        screen = _screen(monkeypatch, 80, terminal)
        with pytest.raises(ZeroDivisionError), progress("Reading", "images", 9):
            raise ZeroDivisionError
        # On a terminal the line is wiped out again at the end.
        assert screen.getvalue().rpartition("\x1b[2K")[2].replace("\x1b[?25h", "").strip() == ""

    def test_names_that_look_like_markup(self, screen: io.StringIO) -> None:
        with progress("Reading a[red]b", "images", 1) as show:
            show(1)
        assert "Reading a[red]b" in screen.getvalue()

    def test_a_narrow_terminal_gets_the_count_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        screen = _screen(monkeypatch, 40)
        with progress("Phase 1: background", "steps", 20_000) as show:
            show(20_000)
        assert re.fullmatch(r"Phase 1: background 20000/20000 0:00:00\s*", screen.getvalue())

    @pytest.mark.parametrize("width", [40, 80, 120])
    def test_a_long_description_is_cut_before_any_number(self, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
        screen = _screen(monkeypatch, width)
        with several_progresses("images") as show:
            show(f"reading {', '.join(f'clevrtex_full_part{part}.tar.gz' for part in range(5))}", 49_990, 50_000)
        (line,) = screen.getvalue().splitlines()
        assert re.match(r"reading clev.*… ", line)
        assert "49990/49990" in line  # complete, though less came than was announced
        assert line.rstrip().endswith("0:00:00")


class TestRate:
    @pytest.mark.parametrize(
        ("completed", "begun", "seconds", "text"),
        [
            (30, 0, 10.0, "3.0 steps/s"),
            (30, 20, 5.0, "2.0 steps/s"),
            (2, 0, 9.0, "4.5 s/step"),
            (0, 0, 0.0, "- steps/s"),
        ],
    )
    def test_of_a_finished_task_is_over_all_its_time(
        self, completed: int, begun: int, seconds: float, text: str, screen: io.StringIO
    ) -> None:
        now = 0.0
        shown = Bars("steps")
        task_id = shown.add_task("", total=completed, completed=begun, begun=begun)
        shown.tasks[0]._get_time = lambda: now
        shown.tasks[0].start_time = 0.0
        now = seconds
        shown.update(task_id, completed=completed)
        assert bars.RateColumn("steps").render(shown.tasks[0]).plain == text


def test_several_bars_one_for_each_name(screen: io.StringIO) -> None:
    with several_progresses("images", "Checking {}".format) as show:
        show("train", 1, 2)
        show("test", 3, 3)
        show("train", 2, 2)
    lines = screen.getvalue().splitlines()
    assert [line.split("━")[0].split() for line in lines[:2]] == [["Checking", "train"], ["Checking", "test"]]
    assert "2/2" in lines[0]
    assert "3/3" in lines[1]


def test_bytes_are_told_in_larger_units(screen: io.StringIO) -> None:
    with several_progresses("bytes") as show:
        show("a.zip", 5_000_000, 5_000_000)
    assert "5.0/5.0 MB" in screen.getvalue()


def test_remarks_stand_below(screen: io.StringIO) -> None:
    with Bars("steps") as shown:
        task = shown.add_task("Phase 1", total=2)
        shown.update(task, completed=2)
        shown.note = "loss 0.5 [red]"
    assert screen.getvalue().splitlines()[1].strip() == "loss 0.5 [red]"
