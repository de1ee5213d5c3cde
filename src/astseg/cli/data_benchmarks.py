"""``astseg data benchmarks``: list the benchmarks whose published files can be read."""

from astseg.cli._console import print_table

LIST_PROTOCOLS = "default, or any folder of lists in 'splits'"
"""The protocols of a benchmark whose files define them (ShapeStacks)."""


def benchmarks() -> None:
    """List the benchmarks whose published files can be read, with their protocols."""
    from rich.table import Table

    from astseg.data.benchmarks import BENCHMARKS

    table = Table("name", "what it is", "protocols", box=None, pad_edge=False)
    for benchmark in BENCHMARKS.values():
        protocols = ", ".join(protocol.name for protocol in benchmark.protocols) or LIST_PROTOCOLS
        table.add_row(benchmark.name, benchmark.description, protocols)
    print_table(table)
