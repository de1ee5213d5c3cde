"""One HTML page that shows a run: images, scores with their protocol, the training curve, and how to repeat it.

The page is a single file: its images are ``data:`` URLs, and it needs no script and no network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astseg import __version__
from astseg._core.settings_io import flatten
from astseg._core.text import format_duration
from astseg.evaluation.evaluator import ScoreSummary
from astseg.visualization.colors import label_colors
from astseg.visualization.gallery import VisualizationSample, panel_rows
from astseg.visualization.html import render, write_html
from astseg.visualization.training_curve import CurvePoint, training_curve

ABOUT = (
    "A model that never saw a label took these images apart: each of its slots looks for one object, paints it, "
    "and competes for every pixel with the other slots and with a learned background. "
    "The segmentation shows who won."
)
COLUMNS = {
    "miou": "mIoU",
    "ari_fg": "ARI-FG",
    "ari": "ARI",
    "msc_fg": "MSC-FG",
    "msc": "MSC",
    "scaled_sc": "Scaled SC",
    "mse": "MSE",
}
"""The scores in the table, with their titles."""


@dataclass(frozen=True)
class Page:
    """The content of a page. Sections without content are left out."""

    title: str
    about: str = ABOUT
    """What the page shows, in about two sentences."""
    summary: ScoreSummary | None = None
    curve: Sequence[CurvePoint] = ()
    samples: Sequence[VisualizationSample] = ()
    """The images, all with the same panels."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Training time by phase."""
    seeds: Mapping[str, int] = field(default_factory=dict)
    """By what they determine."""
    commit: str = ""
    """Of the program that made the run."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Plain values, groups of them as nested mappings."""


def write_page(path: Path | str, page: Page) -> None:
    """Write a self-contained HTML page.

    Raises:
        AstSegError: the file cannot be written.
        ValueError: the samples have different panels.
    """
    write_html(path, render_page(page))


def render_page(page: Page) -> str:
    """Return the page's HTML.

    Raises:
        ValueError: the samples have different panels.
    """
    times = {name: format_duration(seconds) for name, seconds in page.seconds.items()}
    if len(times) > 1:
        times["total"] = format_duration(sum(page.seconds.values()))
    return render(
        "page.html.j2",
        title=page.title,
        page=page,
        version=__version__,
        dots=label_colors(7)[1:].tolist(),
        columns=COLUMNS,
        rows=panel_rows(page.samples),
        curve=training_curve(page.curve),
        times=times,
        program={"astseg": __version__, **({"commit": page.commit} if page.commit else {})},
        settings=flatten(page.settings),
    )
