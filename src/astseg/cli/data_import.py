"""``astseg data import``: prepare your own images, or a benchmark's published files."""

from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import output, print_note
from astseg.cli._inputs import report_reading, report_skipped
from astseg.cli._options import Every, Ignore, Masks, Out, parse_size, parse_values
from astseg.cli._progress import progress, progress_by_name

TEST_SHARE = 0.1


def import_(
    source: Annotated[
        list[Path], typer.Argument(help="A folder, a video or an array file; for a benchmark, its files or folders.")
    ],
    out: Out,
    benchmark: Annotated[
        str | None, typer.Option(help="Read the published files of this benchmark; see 'astseg data benchmarks'.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="How to split the benchmark; by default its first.")] = None,
    size: Annotated[str | None, typer.Option(help="Height x width, such as 96x128; by default one that suits.")] = None,
    test_share: Annotated[float, typer.Option(help="The share of your own images to hold out.")] = TEST_SHARE,
    every: Every = 1,
    masks: Masks = None,
    ignore: Ignore = None,
    limit: Annotated[int | None, typer.Option(help="How many images to take from a benchmark's splits.")] = None,
    exchange_red_and_blue: Annotated[
        bool,
        typer.Option(
            "--exchange-red-and-blue", help="Swap red and blue of a benchmark's images, as in the authors' CLEVR."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="The seed for which of your own images are held out.", min=0)] = 0,
) -> None:
    """Prepare your own images, or the published files of a benchmark.

    ```
    astseg data import holiday/ --out my-data
    astseg data import film.mp4 --every 5 --size 96x128 --out my-film
    astseg data import clevrtex_full_part*.tar.gz --benchmark clevrtex --out clevrtex
    ```
    """
    sides = parse_size(size)
    if benchmark is None:
        from astseg.data.importing import import_source

        if len(source) != 1:
            raise AstSegError("There are several sources. Put your images into one folder, or name a --benchmark.")
        if protocol is not None or limit is not None or exchange_red_and_blue:
            raise AstSegError("--protocol, --limit and --exchange-red-and-blue need a --benchmark.")
        with progress("Reading", "images") as show:
            store = import_source(
                source[0], out, sides, test_share, seed, every, show, masks=masks, ignored=parse_values(ignore)
            )
        report_reading(store)
    else:
        if every != 1 or test_share != TEST_SHARE or seed != 0 or masks is not None or ignore is not None:
            raise AstSegError(
                "--every, --test-share, --seed, --masks and --ignore are for your own images; a benchmark takes a "
                "--protocol."
            )
        if sides is not None and sides[0] != sides[1]:
            raise AstSegError(f"A benchmark's images are square: give one side, not {size}.")
        from astseg.data.benchmarks import check_store, import_benchmark

        with progress_by_name("images") as show:
            store = import_benchmark(
                benchmark,
                source,
                out,
                protocol=protocol,
                image_size=sides[0] if sides else None,
                limit=limit,
                exchange_red_and_blue=exchange_red_and_blue,
                report=lambda state: show(state.stage, state.done, state.total),
            )
            found = check_store(store.path, verify=False, report=lambda split, *done: show(f"checking {split}", *done))
        report_skipped(list(found.unreadable))
        for problem in found.problems:
            print_note("Note", problem)
    output.print(f"Data: {out}", markup=False)
