"""One HTML page that shows a run: pictures, scores with their protocol, the training curve, and how to repeat it.

The page is a single file: its pictures are ``data:`` addresses, it needs no script and no network.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from astseg import __version__
from astseg.chart import CurvePoint, training_curve
from astseg.colors import label_colors
from astseg.evaluation.evaluator import Means, Summary
from astseg.files import atomic_write
from astseg.gallery import Panel, Picture, Sample, panels

ABOUT = (
    "A model that never saw a label took these pictures apart: each of its slots looks for one object, paints it, "
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
    summary: Summary | None = None
    """The scores."""
    curve: Sequence[CurvePoint] = ()
    """How training went."""
    samples: Sequence[Sample] = ()
    """The pictures, all with the same panels."""
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
    """The page's HTML.

    Raises:
        ValueError: the samples have different panels.
    """
    style = resources.files("astseg").joinpath("page.css").read_text(encoding="utf-8")
    sections = (
        _header(page),
        "" if page.summary is None else _tiles(page.summary),
        _pictures(page.samples),
        "" if page.summary is None else _scores(page.summary),
        _curve(page.curve),
        _facts(page),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + f"\n<footer>Made by astseg {escape(__version__)}.</footer>\n</main>\n</body>\n</html>\n"
    )


def duration(seconds: float) -> str:
    """A time in the units that suit it.

    >>> duration(7.26), duration(129.7), duration(7265)
    ('7.3 s', '2 min 10 s', '2 h 01 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _section(title: str, note: str, content: str) -> str:
    below = f'<p class="note">{escape(note)}</p>\n' if note else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{below}{content}\n</section>"


def _scrolling(content: str, kind: str = "") -> str:
    """A card that scrolls sideways on narrow screens, with the keyboard too."""
    return f'<div class="card scroll {kind}" tabindex="0">{content}</div>'


def _header(page: Page) -> str:
    dots = "".join(
        f'<i style="background:rgb({red},{green},{blue})"></i>' for red, green, blue in label_colors(7)[1:].tolist()
    )
    return (
        f'<header>\n<div class="dots" aria-hidden="true">{dots}</div>\n'
        f'<h1>{escape(page.title)}</h1>\n<p class="lead">{escape(page.about)}</p>\n</header>'
    )


def _tiles(summary: Summary) -> str:
    overall, nothing, several = summary.overall, summary.background_everywhere, summary.two_or_more_objects
    tiles = [
        _tile("mIoU", "How well regions overlap the true ones, background included.", overall.miou, nothing.miou),
        _tile("ARI-FG", "How well the objects' pixels are grouped.", overall.ari_fg, nothing.ari_fg),
        _tile("MSC-FG", "How well the best region covers each object.", overall.msc_fg, nothing.msc_fg),
    ]
    if several is not None:
        text = f"The same over the {several.images:,} images that hold several."
        tiles.insert(2, _tile("ARI-FG, two or more objects", text, several.ari_fg, None))
    return f'<section class="tiles" aria-label="Scores in short">{"".join(tiles)}</section>'


def _tile(name: str, meaning: str, value: float, nothing: float | None) -> str:
    mark, reference = "", ""
    if nothing is not None:
        mark = f'<u style="left:{_percent(nothing)}"></u>'
        reference = f" Background everywhere would score {nothing:.3f} (the mark)."
    return (
        f'<div class="card tile"><b>{escape(name)}</b><strong>{value:.3f}</strong>'
        f'<div class="bar"><i style="width:{_percent(value)}"></i>{mark}</div>'
        f"<small>{escape(meaning)}{reference}</small></div>"
    )


def _percent(share: float) -> str:
    return f"{100 * min(1.0, max(0.0, share)):.1f}%"


def _scores(summary: Summary) -> str:
    rows = [("all", "All images", summary.overall)]
    for number, means in sorted(summary.by_objects.items()):
        rows.append(("", "1 object" if number == 1 else f"{number or 'No'} objects", means))
    if summary.two_or_more_objects is not None:
        rows.append(("", "Two or more objects", summary.two_or_more_objects))
    rows.append(("nothing", "Background everywhere", summary.background_everywhere))
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Images", *COLUMNS.values()))
    body = "".join(
        f'<tr class="{kind}"><th scope="row">{name}</th><td>{means.images:,}</td>{_cells(means)}</tr>\n'
        for kind, name, means in rows
    )
    note = (
        "Means over images, also by the number of true objects in the image. "
        "The last row is what predicting the background for every pixel would score."
    )
    table = f'<thead><tr><th scope="col"></th>{heads}</tr></thead>\n<tbody>\n{body}</tbody>'
    remarks = "".join(f'<p class="note">{escape(remark)}</p>\n' for remark in _remarks(summary))
    card = _scrolling(f'<table class="scores">{table}</table>')
    return _section("Scores", note, f"{card}\n{remarks}")


def _cells(means: Means) -> str:
    values = {name: getattr(means, name) for name in COLUMNS}
    formats = {name: ".1f" if name == "mse" else ".3f" for name in COLUMNS}
    return "".join(f"<td>{'&ndash;' if v is None else format(v, formats[n])}</td>" for n, v in values.items())


def _remarks(summary: Summary) -> Iterator[str]:
    overall = summary.overall
    if overall.shadow_claimed is not None and overall.lit_claimed is not None:
        yield (
            f"Shadows: {overall.shadow_claimed:.1%} of the shadow pixels on the true background ended up in an "
            f"object, of the background's other pixels {overall.lit_claimed:.1%}."
        )
    if summary.images_without_foreground:
        yield f"Images without any object: {summary.images_without_foreground:,} of {overall.images:,}."
    if summary.images_with_more_objects_than_slots:
        yield (
            f"Images with more objects than the model's {summary.slots} slots: "
            f"{summary.images_with_more_objects_than_slots:,} of {overall.images:,}."
        )
    yield f"Protocol: {summary.protocol}"


def _pictures(samples: Sequence[Sample]) -> str:
    rows = [panels(sample) for sample in samples]
    if not rows:
        return ""
    titles = [panel.title for panel in rows[0]]
    if any([panel.title for panel in row] != titles for row in rows):
        raise ValueError("the samples of a page should all have the same panels")
    heads = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "".join(
        f"<tr>{''.join(_picture_cell(panel, number) for panel in row)}</tr>\n"
        for number, row in enumerate(rows, start=1)
    )
    truth = "A true object has the colour of the slot that was matched to it. " if "Truth" in titles else ""
    slots = "Slots that own no pixel are dimmed." if any("Slot " in title for title in titles) else ""
    table = f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>"
    return _section("Pictures", truth + slots, _scrolling(f'<table class="pictures">{table}</table>'))


def _picture_cell(panel: Panel, number: int) -> str:
    height, width = panel.picture.shape[:2]
    kind = ' class="faded"' if panel.faded else ""
    label = escape(f"{panel.title} of picture {number}{', which owns no pixel' if panel.faded else ''}")
    source = _data_address(panel.picture)
    return f'<td><img{kind} src="{source}" width="{width}" height="{height}" alt="{label}"></td>'


def _data_address(picture: Picture) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _curve(points: Sequence[CurvePoint]) -> str:
    drawing = training_curve(points)
    if not drawing:
        return ""
    note = "Each phase has a loss of its own, so its line starts anew. The heavy lines are running means."
    return _section("Training", note, _scrolling(drawing, "chart"))


def _facts(page: Page) -> str:
    times = {name: duration(seconds) for name, seconds in page.seconds.items()}
    if len(times) > 1:
        times["together"] = duration(sum(page.seconds.values()))
    program = {"astseg": __version__, **({"commit": page.commit} if page.commit else {})}
    cards = [
        _fact_card("Time", times),
        _fact_card("Seeds", page.seeds),
        _fact_card("Program", program),
    ]
    settings = "".join(
        f"<div><code>{escape(name)}</code><span>{escape(_plain(value))}</span></div>"
        for name, value in _flattened(page.settings)
    )
    content = f'<div class="facts">{"".join(cards)}</div>'
    if settings:
        listed = f'<div class="settings">{settings}</div>'
        content += f'\n<details class="card"><summary>All settings</summary>{listed}</details>'
    return _section("How it was made", "", content)


def _fact_card(title: str, facts: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(_plain(value))}</td></tr>" for name, value in facts.items())
    return f'<div class="card"><h3>{title}</h3><table>{rows}</table></div>' if rows else ""


def _flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings with dots in their names."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plain(value: Any) -> str:
    """A value as people write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
