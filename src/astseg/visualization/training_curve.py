"""The training curve as inline SVG: the loss and the slots in use, step by step, phase after phase.

Colors and fonts come from the page's style sheet by class, so that one drawing serves light and dark pages.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 720
LEFT_MARGIN, RIGHT_MARGIN = 52, 8
PHASE_NAMES_HEIGHT = 22  # above the first panel
LOSS_HEIGHT, SLOTS_HEIGHT = 170, 96
PANEL_GAP = 34
BOTTOM_MARGIN = 40
MAX_POINTS = 300
"""Longer phases are averaged down to this many points; more would not show."""
SMOOTHING_SHARE = 0.05
"""The share of a phase's points that the heavy line averages over."""
LOG_AXIS_RATIO = 8  # losses that differ by more than this factor get a logarithmic axis

Point = tuple[float, float]


@dataclass(frozen=True)
class CurvePoint:
    """What training reported at one step."""

    phase: str
    step: int
    """Steps done in the phase."""
    loss: float
    active_slots: float | None = None
    """Mean number of slots that own a pixel of an image; None while only the background is trained."""


@dataclass(frozen=True)
class _Axis:
    """Maps values to the vertical positions of one panel."""

    low: float
    high: float
    top: float
    height: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        scale: Callable[[float], float] = math.log if self.logarithmic else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.top + self.height * (1 - share)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1.0,) if len(decades) > 4 else (1.0, 2.0, 5.0)
            values = [step * 10.0**decade for decade in decades for step in steps]
        else:
            step = nice_step((self.high - self.low) / 4)
            first = math.ceil(self.low / step - 1e-9)
            values = [step * (first + number) for number in range(12)]
        slack = 1e-9 * abs(self.high)
        return [value for value in values if self.low - slack <= value <= self.high + slack]


def training_curve(points: Sequence[CurvePoint]) -> str:
    """Draw the loss above the slots in use, with the phases one after the other on a common axis of steps.

    Each phase has its own line, because it has its own loss. Points with a non-finite loss are left out.

    Args:
        points: in the order in which training reported them.

    Returns:
        An ``<svg>`` element; empty if there are no points to draw.
    """
    phases = _phases([point for point in points if math.isfinite(point.loss)])
    if not phases:
        return ""
    losses = [[(start + p.step, p.loss) for p in phase] for start, phase in phases]
    slots = [[(start + p.step, p.active_slots) for p in phase if p.active_slots is not None] for start, phase in phases]
    last = losses[-1][-1][0]
    loss_axis = _loss_axis([value for line in losses for _, value in line])
    used = [value for line in slots for _, value in line]
    bottom = loss_axis.top + LOSS_HEIGHT
    parts = [_panel("Loss", loss_axis, losses, last, "loss")]
    if used:
        slots_axis = _Axis(0, max(1.0, max(used)) * 1.05, bottom + PANEL_GAP, SLOTS_HEIGHT)
        parts.append(_panel("Active slots per image", slots_axis, slots, last, "slots"))
        bottom = slots_axis.top + SLOTS_HEIGHT
    bands = _bands(phases, last, bottom)
    height = bottom + BOTTOM_MARGIN
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="Training curve: loss and active slots by step">'
        f"{bands}{''.join(parts)}{_step_axis(last, bottom)}</svg>"
    )


def nice_step(step: float) -> float:
    """Return the smallest number of the form 1, 2 or 5 times a power of ten that is not below `step`.

    >>> nice_step(0.13), nice_step(4.0), nice_step(700)
    (0.2, 5.0, 1000.0)
    """
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= step * (1 - 1e-9))


def smooth(line: Sequence[Point]) -> list[Point]:
    """Return the running mean of a line over `SMOOTHING_SHARE` of its points, fewer at its ends."""
    reach = max(1, round(len(line) * SMOOTHING_SHARE)) // 2
    means = []
    for index, (step, _) in enumerate(line):
        window = [value for _, value in line[max(0, index - reach) : index + reach + 1]]
        means.append((step, sum(window) / len(window)))
    return means


def thin(line: Sequence[Point]) -> list[Point]:
    """Return at most `MAX_POINTS` points, each the mean of the same number of neighbors."""
    size = math.ceil(len(line) / MAX_POINTS)
    chunks = [line[start : start + size] for start in range(0, len(line), max(1, size))]
    return [(sum(s for s, _ in chunk) / len(chunk), sum(v for _, v in chunk) / len(chunk)) for chunk in chunks]


def _phases(points: Sequence[CurvePoint]) -> list[tuple[int, list[CurvePoint]]]:
    """Return the points of each phase with the number of steps before it; a phase that restarts is a new one."""
    phases: list[tuple[int, list[CurvePoint]]] = []
    for point in points:
        start, current = phases[-1] if phases else (0, [])
        if current and point.phase == current[-1].phase and point.step > current[-1].step:
            current.append(point)
        else:
            phases.append((start + current[-1].step if current else 0, [point]))
    return phases


def _loss_axis(values: Sequence[float]) -> _Axis:
    """Return the axis of the first panel: logarithmic if the losses differ by a large factor."""
    low, high = min(values), max(values)
    if low > sys.float_info.min and high / low > LOG_AXIS_RATIO:
        return _Axis(low / 1.1, high * 1.1, PHASE_NAMES_HEIGHT + 20, LOSS_HEIGHT, logarithmic=True)
    low, high = min(low, 0.0), max(high, 0.0)  # without its zero a linear axis makes small changes look large
    return _Axis(low, high + (0.05 * (high - low) or 1.0), PHASE_NAMES_HEIGHT + 20, LOSS_HEIGHT)


def _across(step: float, last: float) -> float:
    """Return the horizontal position of a step, where ``last`` lies at the right end of the axis."""
    return LEFT_MARGIN + (WIDTH - LEFT_MARGIN - RIGHT_MARGIN) * step / last


def _panel(title: str, axis: _Axis, lines: Sequence[Sequence[Point]], last: float, kind: str) -> str:
    """Draw a panel: its title, its ticks, and each line as it is and smoothed.

    Args:
        title: the title.
        axis: the vertical axis.
        lines: a line for each phase, as steps and values.
        last: the step at the right end.
        kind: the class of the lines in the style sheet.
    """
    parts = [f'<text class="name" x="{LEFT_MARGIN}" y="{axis.top - 7:g}">{title}</text>']
    for tick in axis.ticks():
        y = axis(tick)
        parts.append(f'<path class="rule" d="M{LEFT_MARGIN} {y:.1f}H{WIDTH - RIGHT_MARGIN}"/>')
        parts.append(f'<text class="tick end" x="{LEFT_MARGIN - 7}" y="{y + 4:.1f}">{tick:g}</text>')
    for line in lines:
        for weight, drawn in (("raw", thin(line)), ("mean", thin(smooth(line)))):
            path = "L".join(f"{_across(step, last):.1f} {axis(value):.1f}" for step, value in drawn)
            if path:
                parts.append(f'<path class="{kind} {weight}" d="M{path}"/>')
    return "".join(parts)


def _bands(phases: Sequence[tuple[int, list[CurvePoint]]], last: float, bottom: float) -> str:
    """Draw alternating bands behind the phases, with their names."""
    parts = []
    for number, (start, phase) in enumerate(phases):
        left, right = _across(start, last), _across(start + phase[-1].step, last)
        shape = f'x="{left:.1f}" y="0" width="{right - left:.1f}" height="{bottom:g}"'
        parts.append(f'<rect class="band{" odd" if number % 2 else ""}" {shape}/>')
        # The nested view clips a long name where the next phase begins.
        name = f'<text class="phase" x="6" y="15">{escape(phase[0].phase)}</text>'
        clip = f'x="{left:.1f}" y="0" width="{right - left:.1f}" height="{PHASE_NAMES_HEIGHT}" overflow="hidden"'
        parts.append(f"<svg {clip}>{name}</svg>")
    return "".join(parts)


def _step_axis(last: float, bottom: float) -> str:
    """Draw the labels of the horizontal axis below ``bottom``."""
    step = nice_step(last / 6)
    parts = [
        f'<text class="tick middle" x="{_across(step * number, last):.1f}" y="{bottom + 17:g}">'
        f"{step * number:,.0f}</text>"
        for number in range(int(last / step) + 1)
        if step * number <= last * 0.97 or not number
    ]
    parts.append(f'<text class="tick end" x="{WIDTH - RIGHT_MARGIN}" y="{bottom + 34:g}">step</text>')
    return "".join(parts)
