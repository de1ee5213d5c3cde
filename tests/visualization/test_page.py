import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astseg.evaluation.evaluator import Means, ScoreSummary
from astseg.visualization.gallery import VisualizationSample, panels
from astseg.visualization.page import Page, render_page, write_page
from astseg.visualization.training_curve import CurvePoint

VOID = {"meta", "img", "link", "br", "hr"}


class Reader(HTMLParser):
    """Checks that elements are closed in order, and collects text, addresses and table rows."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.faded: list[str] = []
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        self.tags.add(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href") and value]
        if known.get("class") == "faded":
            self.faded.append(known["alt"] or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def read(page: Page) -> Reader:
    reader = Reader()
    reader.feed(render_page(page))
    reader.close()
    assert not reader.open
    return reader


def means(images: int, miou: float, mse: float | None = 12.34) -> Means:
    return Means(images, miou, ari_fg=0.5, ari=0.4, msc_fg=0.3, msc=0.2, scaled_sc=0.1, mse=mse)


@pytest.fixture
def summary() -> ScoreSummary:
    return ScoreSummary(
        overall=means(1500, 0.75),
        by_objects={2: means(700, 0.625), 0: means(300, 1.0), 1: means(500, 0.875)},
        two_or_more_objects=means(700, 0.625),
        background_everywhere=means(1500, 0.333, mse=None),
        images_without_foreground=300,
        images_with_more_objects_than_slots=0,
        num_slots=3,
        protocol="Means over images & nothing else.",
    )


@pytest.fixture
def samples() -> list[VisualizationSample]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
    labels = np.zeros((16, 24), np.uint8)
    labels[4:9, 4:9] = 2
    slots = rng.integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
    return [VisualizationSample(image, labels, labels, image, image, slots)] * 2


class TestRenderPage:
    def test_needs_nothing_but_itself(self, summary: ScoreSummary, samples: list[VisualizationSample]) -> None:
        page = Page("Rooms", summary=summary, samples=samples, curve=[CurvePoint("objects", 1, 0.5, 1.0)])
        reader = read(page)
        assert reader.addresses
        assert all(address.startswith("data:image/png;base64,") for address in reader.addresses)
        assert not reader.tags & {"script", "link", "iframe"}
        assert not re.search(r"https?:|@import|url\(", render_page(page))
        assert not re.search(r"<th[^>]*>\s*</th>", render_page(page))

    def test_images_are_the_panels(self, samples: list[VisualizationSample]) -> None:
        reader = read(Page("Rooms", samples=samples))
        shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(a.split(",")[1])))) for a in reader.addresses]
        expected = [panel.image for sample in samples for panel in panels(sample)]
        assert len(shown) == len(expected) == 14
        for image, panel in zip(shown, expected, strict=True):
            np.testing.assert_array_equal(image, panel)
        assert reader.faded == [f"Slot 1 of image {number}, which owns no pixel" for number in (1, 2)]

    def test_scores(self, summary: ScoreSummary) -> None:
        rows = {row[0]: row[1:] for row in read(Page("Rooms", summary=summary)).rows}
        assert list(rows) == [
            "Subset",
            "All images",
            "No objects",
            "1 object",
            "2 objects",
            "Two or more objects",
            "Background everywhere",
            "astseg",
        ]
        names = ["Images", "mIoU", "ARI-FG", "ARI", "MSC-FG", "MSC", "Scaled SC", "MSE"]
        assert rows["Subset"] == names
        assert rows["All images"] == ["1,500", "0.750", "0.500", "0.400", "0.300", "0.200", "0.100", "12.3"]
        assert rows["1 object"][:2] == ["500", "0.875"]
        assert rows["Background everywhere"][-1] == "\N{EN DASH}"

    def test_the_protocol_stands_beside_the_scores(self, summary: ScoreSummary) -> None:
        words = " ".join(read(Page("Rooms", summary=summary)).text)
        assert "Protocol: Means over images & nothing else." in words
        assert "Images without any object: 300 of 1,500." in words
        assert "Shadows" not in words
        assert "more objects than" not in words

    def test_what_a_reader_should_know_is_said(self, summary: ScoreSummary) -> None:
        shaded = replace(summary.overall, shadow_claimed=0.25, lit_claimed=0.0125)
        crowded = replace(summary, overall=shaded, images_with_more_objects_than_slots=40)
        words = " ".join(read(Page("Rooms", summary=crowded)).text)
        assert "25.0% of the shadow pixels" in words
        assert "other pixels 1.2%" in words
        assert "model's 3 slots: 40 of 1,500" in " ".join(words.split())

    def test_no_image_with_two_objects(self, summary: ScoreSummary) -> None:
        words = " ".join(read(Page("Rooms", summary=replace(summary, two_or_more_objects=None))).text)
        assert "two or more" not in words.lower()

    def test_sections_without_content_are_left_out(self) -> None:
        words = read(Page("Rooms")).text
        assert not {"Scores", "Images", "Training", "Time", "Seeds", "All settings"} & set(words)
        assert "Program" in words

    def test_how_it_was_made(self) -> None:
        settings = {"foreground": {"steps": 90, "rate": 0.001, "sizes": (3, 4)}, "backbone": None, "own": True}
        page = Page(
            "Rooms", seconds={"background": 61, "joint": 60}, seeds={"training": 7}, commit="abc", settings=settings
        )
        reader = read(page)
        rows = dict(row for row in reader.rows)
        assert rows["total"] == "2 min 01 s"
        assert rows["training"] == "7"
        assert rows["commit"] == "abc"
        words = "|".join(reader.text)
        for setting in ("foreground.steps|90", "foreground.rate|0.001", "foreground.sizes|3x4", "backbone|none"):
            assert setting in words
        assert "own|yes" in words

    def test_words_cannot_break_the_page(self) -> None:
        page = Page("<b>&", about="</p><script>", commit='"<i>', settings={"<u>": "<s>"}, seeds={"<q>": 1})
        reader = read(page)
        assert not reader.tags & {"b", "script", "u", "s", "q"}
        assert "<b>&" in reader.text

    def test_samples_with_different_panels(self, samples: list[VisualizationSample]) -> None:
        with pytest.raises(ValueError, match="same panels"):
            render_page(Page("Rooms", samples=[samples[0], replace(samples[0], truth=None)]))


def test_write_page(tmp_path: Path) -> None:
    write_page(tmp_path / "demo" / "index.html", Page("Räume"))
    assert "Räume" in (tmp_path / "demo" / "index.html").read_text(encoding="utf-8")
    assert len(list((tmp_path / "demo").iterdir())) == 1
