"""``astseg doctor``: check whether astseg works on this machine."""

import typer

from astseg.cli._console import messages, output, print_table


def doctor() -> None:
    """Show this machine's hardware and packages, and check that a training step works."""
    from rich.markup import escape
    from rich.table import Table

    from astseg.doctor import environment, examine

    with messages.status("Examining..."):
        output.print(*environment().splitlines(), sep="\n", end="\n\n", markup=False)
        findings = examine()
    table = Table("", "what", "found", box=None, show_header=False)
    for finding in findings:
        table.add_row("[green]ok[/]" if finding.good else "[red]no[/]", finding.what, escape(finding.found))
    print_table(table)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)
