"""One HTML page that shows a run: images, scores with their protocol, the training curve, and how to repeat it.

The page is a single file: its images are ``data:`` addresses, it needs no script and no network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astseg import __version__
from astseg._core.atomic_io import atomic_write
from astseg._core.settings_io import flatten
from astseg._core.text import duration
from astseg.evaluation.evaluator import ScoreSummary
from astseg.visualization.colors import label_colors
from astseg.visualization.gallery import VisualizationSample, panels
from astseg.visualization.html import render
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
"""The scores of the table and what they are called."""


@dataclass(frozen=True)
class Page:
    """What a page shows. Sections for which nothing is given are left out."""

    title: str
    about: str = ABOUT
    """What the reader looks at, in about two sentences."""
    summary: ScoreSummary | None = None
    """The scores."""
    curve: Sequence[CurvePoint] = ()
    """How training went."""
    samples: Sequence[VisualizationSample] = ()
    """The images, all with the same panels."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """What took how long, by phase."""
    seeds: Mapping[str, int] = field(default_factory=dict)
    """By what they decide."""
    commit: str = ""
    """The state of the program that made the run."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Plain values, groups of them as nested mappings."""


def write_page(path: Path | str, page: Page) -> None:
    """Write a self-contained HTML page.

    Raises:
        AstSegError: the file cannot be written.
        ValueError: the samples have different panels.
    """
    text = render_page(page)
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def render_page(page: Page) -> str:
    """Return the page's HTML.

    Raises:
        ValueError: the samples have different panels.
    """
    rows = [panels(sample) for sample in page.samples]
    if any([panel.title for panel in row] != [panel.title for panel in rows[0]] for row in rows):
        raise ValueError("the samples of a page should all have the same panels")
    times = {name: duration(seconds) for name, seconds in page.seconds.items()}
    if len(times) > 1:
        times["together"] = duration(sum(page.seconds.values()))
    return render(
        "page.html.j2",
        title=page.title,
        page=page,
        version=__version__,
        dots=label_colors(7)[1:].tolist(),
        columns=COLUMNS,
        rows=rows,
        curve=training_curve(page.curve),
        times=times,
        program={"astseg": __version__, **({"commit": page.commit} if page.commit else {})},
        settings=flatten(page.settings),
    )
