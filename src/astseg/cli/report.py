"""``astseg report``: compare runs with the published results."""

from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import output

FORM_BY_ENDING = {".tex": "latex", ".html": "html", ".htm": "html"}


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of training runs, or folders that contain such folders.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="The format: markdown, latex or html. By default as the file's name says, or markdown.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write; by default the terminal.")] = None,
) -> None:
    """Compare runs with the published results: mean and deviation over seeds, and differences in the protocol.

    ```
    astseg report table/
    astseg report table/ --out table.html
    ```
    """
    from astseg._core.atomic_io import atomic_write, check_free
    from astseg._core.text import ENCODING_ERRORS
    from astseg.paper.report import build_report, group_results, read_results, write_as

    if out is not None:
        check_free(out)
    results, unfinished = read_results(runs)
    if not results:
        raise AstSegError(f"None of these runs has scores yet: {', '.join(folder.name for folder in unfinished)}.")
    text = write_as(build_report(group_results(results), [folder.name for folder in unfinished]), form or _form_of(out))
    if out is None:
        for line in text.splitlines():
            output.out(line, highlight=False)
        return
    with atomic_write(out, follow_link=True) as partial:
        partial.write_text(text, encoding="utf-8", errors=ENCODING_ERRORS)
    output.print(f"Report: {out}", markup=False)


def _form_of(file: Path | None) -> str:
    """Return the format that a file's name tells."""
    return FORM_BY_ENDING.get(file.suffix.lower() if file else "", "markdown")
