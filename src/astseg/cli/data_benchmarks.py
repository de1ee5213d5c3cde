"""``astseg data benchmarks``: whose published files can be read."""

from astseg.cli._console import print_table

LISTS = "default, or any folder of lists in 'splits'"
"""The protocols of a benchmark that brings them with its files (ShapeStacks)."""


def benchmarks() -> None:
    """List the benchmarks whose published files can be read, with their protocols."""
    from rich.table import Table

    from astseg.data.benchmarks import BENCHMARKS

    table = Table("name", "what it is", "protocols", box=None, pad_edge=False)
    for benchmark in BENCHMARKS.values():
        table.add_row(benchmark.name, benchmark.description, ", ".join(p.name for p in benchmark.protocols) or LISTS)
    print_table(table)
