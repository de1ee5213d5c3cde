"""One HTML page that shows how healthy a training is: each problem with images and what to try, then what is well."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from astseg import __version__
from astseg.visualization.gallery import Panel, VisualizationSample, enlarge, enlargement_factor, panel_rows
from astseg.visualization.html import render, write_html
from astseg.visualization.training_curve import CurvePoint, training_curve

DIFFERENCE = "Difference"
"""The title of the panel that shows how far the background is from the image."""
OVERVIEW = ("Input", "Truth", "Reconstruction", "Segmentation", "Background")


@dataclass(frozen=True)
class ShownFinding:
    """One aspect of a training, in words, and what of the images shows it."""

    title: str
    healthy: bool
    text: str
    advice: str = ""
    panels: tuple[str, ...] = ()
    """Titles of panels, or the beginnings of several, that show the problem."""
    shows_curve: bool = False
    """Whether the training curve shows the problem."""


@dataclass(frozen=True)
class DiagnosisPage:
    """The content of a page."""

    title: str
    findings: Sequence[ShownFinding]
    samples: Sequence[VisualizationSample] = ()
    """Some images, all with the same panels."""
    curve: Sequence[CurvePoint] = field(default_factory=tuple)


def write_diagnosis(path: Path, page: DiagnosisPage) -> None:
    """Write a self-contained HTML page.

    Raises:
        AstSegError: the file cannot be written.
        ValueError: the samples have different panels.
    """
    write_html(path, render_diagnosis(page))


def render_diagnosis(page: DiagnosisPage) -> str:
    """Return the page's HTML.

    Raises:
        ValueError: the samples have different panels.
    """
    rows = panel_rows(page.samples)
    with_difference = [
        row + ([difference_panel(sample)] if sample.background is not None else [])
        for row, sample in zip(rows, page.samples, strict=True)
    ]
    problems = sum(not finding.healthy for finding in page.findings)
    found = {0: "No problem was found.", 1: "One problem was found."}.get(problems, f"{problems} problems were found.")
    return render(
        "diagnosis.html.j2",
        title=page.title,
        about=f"{found} This is judged by a few of the training images, and by the course of the loss.",
        version=__version__,
        findings=[
            {**vars(finding), "rows": _chosen(with_difference, finding.panels) if finding.panels else []}
            for finding in page.findings
        ],
        rows=_chosen(rows, OVERVIEW),
        curve=training_curve(page.curve),
    )


def difference_panel(sample: VisualizationSample) -> Panel:
    """Return the distance of the background from the image, white where it is half of the color range or more."""
    assert sample.background is not None
    distance = np.abs(sample.image.astype(np.int16) - sample.background).max(-1, keepdims=True)
    shown = np.minimum(2 * distance, 255).astype(np.uint8).repeat(3, -1)
    return Panel(DIFFERENCE, enlarge(shown, enlargement_factor(sample.labels.shape)))


def _chosen(rows: list[list[Panel]], titles: tuple[str, ...]) -> list[list[Panel]]:
    """Return the panels of each row whose title begins with one of the titles."""
    return [[panel for panel in row if panel.title.startswith(titles)] for row in rows]
