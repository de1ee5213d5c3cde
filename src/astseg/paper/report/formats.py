"""A report as Markdown, LaTeX or HTML."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from astseg._core.errors import AstSegError
from astseg._core.text import escape_markdown, printable
from astseg.paper.report.tables import Report, Table
from astseg.visualization.html import render

DIFFERENCES = "What differs from the published protocol"
_LATEX_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        **{character: rf"\{character}" for character in "&%$#_{}"},
    }
)


def write_as(report: Report, form: str) -> str:
    """Return the report as text.

    Args:
        report: what to write.
        form: ``markdown``, ``latex`` (for inclusion, needs booktabs) or ``html`` (a page).

    Raises:
        AstSegError: there is no such format.
    """
    if form not in _WRITERS:
        raise AstSegError(f"A report can be written as {', '.join(_WRITERS)}, not as '{form}'.")
    return "\n".join(_WRITERS[form](report)) + "\n"


def _markdown(report: Report) -> Iterator[str]:
    yield f"# {report.title}"
    for warning in report.warnings:
        yield from ("", f"> **{escape_markdown(warning)}**")
    for table in report.tables:
        yield from ("", f"## {escape_markdown(table.title)}", "", escape_markdown(table.note), "")
        yield from _markdown_table(table)
    yield from ("", f"## {DIFFERENCES}")
    for heading, lines in report.remarks.items():
        yield from ("", f"**{heading}**", "", *(f"- {escape_markdown(line)}" for line in lines))


def _markdown_table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(map(escape_markdown, table.columns)) + " |"
    yield "|---|" + "---:|" * (len(table.columns) - 1)
    for row in table.rows:
        cells = [f"**{escape_markdown(cell)}**" if row.own and cell else escape_markdown(cell) for cell in row.cells]
        yield "| " + " | ".join(cells) + " |"


def _latex(report: Report) -> Iterator[str]:
    yield f"% {report.title}. For inclusion; needs \\usepackage{{booktabs}}."
    for warning in report.warnings:
        yield rf"\par\noindent\textbf{{{_escape_latex(warning)}}}\par"
    for table in report.tables:
        yield from _latex_table(table)
    yield rf"\paragraph{{{DIFFERENCES}}}"
    for heading, lines in report.remarks.items():
        yield rf"\par\noindent\textbf{{{_escape_latex(heading)}}}"
        yield r"\begin{itemize}"
        yield from (rf"  \item {_escape_latex(line)}" for line in lines)
        yield r"\end{itemize}"


def _latex_table(table: Table) -> Iterator[str]:
    yield from (r"\begin{table}", r"  \centering", rf"  \caption{{{_escape_latex(f'{table.title}. {table.note}')}}}")
    yield rf"  \begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}"
    yield rf"    \toprule {' & '.join(map(_escape_latex, table.columns))} \\ \midrule"
    for row in table.rows:
        cells = [
            rf"\textbf{{{_escape_latex(cell)}}}" if row.own and cell else _escape_latex(cell) for cell in row.cells
        ]
        # The braces keep a bracket at the start from being read as an option of the line break before it.
        yield rf"    {{}}{' & '.join(cells)} \\"
    yield from (r"    \bottomrule", r"  \end{tabular}", r"\end{table}")


def _html(report: Report) -> Iterator[str]:
    page = render("report.html.j2", title=report.title, report=report, differences=DIFFERENCES)
    yield page.removesuffix("\n")


def _escape_latex(text: str) -> str:
    return printable(text).translate(_LATEX_ESCAPES)


_WRITERS: Mapping[str, Callable[[Report], Iterator[str]]] = MappingProxyType(
    {"markdown": _markdown, "latex": _latex, "html": _html}
)
