import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from astseg.visualization.training_curve import MAX_POINTS, CurvePoint, nice_step, smooth, thin, training_curve


def lines(drawing: str, kind: str) -> list[list[tuple[float, float]]]:
    """The points of the heavy lines of one kind."""
    paths = re.findall(rf'<path class="{kind} mean" d="M([^"]*)"', drawing)
    return [[(float(x), float(y)) for x, y in map(str.split, path.split("L"))] for path in paths]


@pytest.fixture
def points() -> list[CurvePoint]:
    background = [CurvePoint("background", step, 2.0 / step) for step in range(20, 220, 20)]
    objects = [CurvePoint("objects", step, 1.0 / step, step / 100) for step in range(20, 320, 20)]
    return background + objects


class TestTrainingCurve:
    def test_is_well_formed_and_names_the_phases(self, points: list[CurvePoint]) -> None:
        drawing = ElementTree.fromstring(training_curve(points))
        words = [element.text for element in drawing.iter("text")]
        assert {"Loss", "Active slots per image", "background", "objects", "step"} <= set(words)

    def test_phases_follow_each_other(self, points: list[CurvePoint]) -> None:
        background, objects = lines(training_curve(points), "loss")
        assert [len(background), len(objects)] == [10, 15]
        assert background[-1][0] < objects[0][0]
        # A falling loss goes down the image, where y grows; rising slots go up.
        assert background[0][1] < background[-1][1]
        (slots,) = lines(training_curve(points), "slots")
        assert slots[0][1] > slots[-1][1]
        assert slots[0][0] == objects[0][0]

    def test_a_phase_that_restarts_continues_to_the_right(self) -> None:
        points = [CurvePoint("background", step, 1.0) for step in (10, 20, 10, 20, 30)]
        first, second = lines(training_curve(points), "loss")
        assert first[-1][0] < second[0][0] < second[-1][0]

    def test_no_slots_no_second_panel(self, points: list[CurvePoint]) -> None:
        assert "Active slots" not in training_curve(points[:10])

    def test_nothing_to_draw(self) -> None:
        assert training_curve([]) == ""
        assert training_curve([CurvePoint("objects", 1, math.nan)]) == ""

    def test_non_finite_losses_are_left_out(self, points: list[CurvePoint]) -> None:
        broken = [*points, CurvePoint("objects", 1000, math.inf, 2.0)]
        assert training_curve(broken) == training_curve(points)

    def test_names_cannot_break_the_page(self) -> None:
        drawing = training_curve([CurvePoint("<script>", 1, 1.0)])
        assert "<script>" not in drawing

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
    @example([1.0, 5e-324])  # a tenth of it is 0, of which there is no logarithm
    def test_every_loss_is_inside_the_image(self, losses: list[float]) -> None:
        drawing = training_curve([CurvePoint("objects", 10 * i, loss) for i, loss in enumerate(losses, 1)])
        height = float(drawing.split('viewBox="0 0 720 ')[1].split('"')[0])
        for line in lines(drawing, "loss"):
            assert all(0 <= x <= 720 and 0 <= y <= height for x, y in line)

    def test_long_runs_stay_small(self) -> None:
        long = [CurvePoint("objects", step, 1 / step, 1.0) for step in range(1, 2_000)]
        assert len(lines(training_curve(long), "loss")[0]) <= MAX_POINTS


@given(st.floats(1e-9, 1e9))
def test_nice_steps_are_the_next_of_their_kind(step: float) -> None:
    nice = nice_step(step)
    assert step * (1 - 1e-6) <= nice <= step * 2.5 * (1 + 1e-6)
    assert f"{nice:e}"[0] in "125"


def test_smoothing_keeps_constants_and_averages_neighbors() -> None:
    assert smooth([(step, 3.0) for step in range(50)]) == [(step, 3.0) for step in range(50)]
    peak = smooth([(step, 60.0 if step == 30 else 0.0) for step in range(60)])
    assert [step for step, value in peak if value] == [29, 30, 31]
    assert peak[30][1] == 20


def test_thinning_keeps_the_mean() -> None:
    line = [(float(step), float(step % 7)) for step in range(4 * MAX_POINTS)]
    means = thin(line)
    assert len(means) == MAX_POINTS
    assert sum(value for _, value in means) / len(means) == pytest.approx(sum(v for _, v in line) / len(line))
    assert thin([]) == []
