"""``astseg data check``: examine prepared data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astseg.cli._console import output, print_note, print_table
from astseg.cli._progress import progress_by_name

if TYPE_CHECKING:
    from astseg.data.benchmarks import StoreReport


def check(
    store: Annotated[Path, typer.Argument(help="Prepared data.")],
    objects: Annotated[int | None, typer.Option(help="K of the model to use.")] = None,
) -> None:
    """Examine prepared data: counts, labels beyond K, images without objects, damaged files.

    ```
    astseg data check my-data --objects 5
    ```
    """
    from astseg.data.benchmarks import check_store

    with progress_by_name("images", "Checking {}".format) as show:
        report = check_store(store, num_slots=objects, report=show)
    _print_report(report)
    if report.damaged:
        raise typer.Exit(1)


def _print_report(report: "StoreReport") -> None:
    from rich.markup import escape
    from rich.table import Table

    num_slots = "not given (--objects)" if report.num_slots is None else report.num_slots
    lines = (f"Source:   {report.source}", f"Protocol: {report.protocol}", f"K:        {num_slots}")
    output.print(*lines, sep="\n", markup=False)
    table = Table(
        "split", "images", "most objects", "highest label", "without objects", "more than K", box=None, pad_edge=False
    )
    for split in report.splits:
        numbers = (
            split.count,
            split.most_objects,
            split.highest_label,
            split.empty_foregrounds,
            split.too_many_objects,
        )
        table.add_row(escape(split.name), *("-" if number is None else str(number) for number in numbers))
    print_table(table)
    for name, reason in report.unreadable:
        output.print(f"Unreadable: {name}: {reason}", markup=False)
    for file in report.damaged:
        print_note("Damaged", f"{file} has changed since it was written. Prepare the data again.", output)
    for problem in report.problems:
        print_note("Note", problem, output)
    if not (report.damaged or report.problems):
        output.print("No problems found.")
