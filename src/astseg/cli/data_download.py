"""``astseg data download``: download a benchmark's published files."""

from typing import Annotated

import typer
from rich.filesize import decimal

from astseg._core.errors import AstSegError
from astseg.cli._console import format_count, output, print_note
from astseg.cli._options import Destination
from astseg.cli._progress import progress_by_name


def download(
    name: Annotated[str, typer.Argument(help="A benchmark; see 'astseg data benchmarks'.")],
    out: Destination,
    mirror: Annotated[str | None, typer.Option(help="Another server with the same files by the same names.")] = None,
) -> None:
    """Download a benchmark's files from their documented addresses.

    An interrupted download continues, unless the server does not say how large the file is.

    Says of each file what was checked: checksums are published only for ShapeStacks.

    ```
    astseg data download clevr downloads/clevr
    astseg data import downloads/clevr --benchmark clevr --out clevr
    ```
    """
    from astseg.data.benchmarks import download as fetch
    from astseg.data.benchmarks import plan_download

    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise AstSegError(f"A mirror is an address that begins with http:// or https://, not '{mirror}'.")
    plan = plan_download(name, out, mirror=mirror)
    files, size, remaining = format_count(len(plan.files), "file"), decimal(plan.size), decimal(plan.remaining)
    output.print(f"{files}, {size}, {remaining} still to download.")
    if unsized := [file.remote.name for file in plan.files if file.size is None]:
        text = (
            f"The server does not say how large {', '.join(unsized)} is. Counted is what is published, if anything; "
            "if that download is interrupted, it begins anew."
        )
        print_note("Note", text)
    with progress_by_name("bytes") as show:
        fetched = fetch(plan, show)
    for file, planned in zip(fetched, plan.files, strict=True):
        output.print(str(file), markup=False)
        print_note("Checked", f"{planned.verification}.")
