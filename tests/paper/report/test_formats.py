import re
from html.parser import HTMLParser

import pytest

from astseg._core.errors import AstSegError
from astseg.paper.report import Report, Row, Table, write_as


@pytest.fixture
def report() -> Report:
    rows = (Row(("Gen_V2 & <b> [15]", "79.58*", "1 ± 2")), Row(("[ours] 100 %", "", "a|b"), own=True))
    return Report("A title", ("LOUD: 50 % #1",), (Table("T & 1", "A note.", ("model", "x_1", "y"), rows),),
                  {"Data": ("from C:\\x {y} ~ ^ $",)})  # fmt: skip


def test_markdown(report: Report) -> None:
    lines = write_as(report, "markdown").splitlines()
    assert lines[0] == "# A title"
    assert "> **LOUD: 50 % #1**" in lines
    start = lines.index("| model | x_1 | y |")
    assert lines[start + 1 : start + 4] == [
        "|---|---:|---:|",
        r"| Gen_V2 & \<b\> [15] | 79.58\* | 1 ± 2 |",
        r"| **[ours] 100 %** |  | **a\|b** |",
    ]
    assert r"- from C:\\x {y} \~ ^ \$" in lines


def test_latex(report: Report) -> None:
    text = write_as(report, "latex")
    assert r"{}Gen\_V2 \& \textless{}b\textgreater{} [15] & 79.58* & 1 $\pm$ 2 \\" in text
    assert r"{}\textbf{[ours] 100 \%} &  & \textbf{a|b} \\" in text
    assert r"\textbackslash{}x \{y\} \textasciitilde{} \textasciicircum{} \$" in text
    assert r"\begin{tabular}{lrr}" in text
    for name in ("table", "tabular", "itemize"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    assert "%" not in text.partition("\n")[2].replace(r"\%", "")  # or the rest of a line would be a comment


class Cells(HTMLParser):
    """The text of each cell, and whether all tags were closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_html(report: Report) -> None:
    text = write_as(report, "html")
    parser = Cells()
    parser.feed(text)
    assert parser.open == []
    assert parser.cells[:3] == ["model", "x_1", "y"]
    assert parser.cells[3:] == ["Gen_V2 & <b> [15]", "79.58*", "1 ± 2", "[ours] 100 %", "", "a|b"]
    assert text.count('<tr class="own">') == 1
    assert "<h2>T &amp; 1</h2>" in text
    assert '<p class="warning">LOUD: 50 % #1</p>' in text
    assert not re.search(r"https?:|@import|url\(|<script|<link|<th[^>]*>\s*</th>", text)


def test_unknown_format(report: Report) -> None:
    with pytest.raises(AstSegError, match="markdown, latex, html"):
        write_as(report, "pdf")
