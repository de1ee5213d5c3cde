"""``astseg data``: generate, import, download and check data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from astseg._core.errors import AstSegError
from astseg.cli.bars import progress, several_progresses
from astseg.cli.console import Device, Ignore, Masks, counted, note, output, parse_size, parse_values, print_table
from astseg.cli.preparing import make_scenes, report_reading, report_skipped
from astseg.data.catalog import DATASETS

if TYPE_CHECKING:
    from astseg.data.benchmarks import StoreReport

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Generate, import, download and check data.")

TEST_SHARE = 0.1
LOOK_ALIKES = ", ".join(name for name, spec in DATASETS.items() if spec.look_alike)
LISTS = "default, or any folder of lists in 'splits'"
"""The protocols of a benchmark that brings them with its files (ShapeStacks)."""

Destination = Annotated[Path, typer.Argument(help="The folder to make.")]


@app.command()
def make(
    name: Annotated[str, typer.Argument(help=f"Whose look-alikes: {LOOK_ALIKES}.")],
    out: Destination,
    train: Annotated[int, typer.Option(help="How many images to learn from.", min=0)] = 8_000,
    test: Annotated[int, typer.Option(help="How many held-out images.", min=0)] = 500,
    seed: Annotated[int, typer.Option(help="Another seed makes other images.", min=0)] = 0,
    size: Annotated[int | None, typer.Option(help="Height and width in pixels; by default the benchmark's.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one for each core.", min=1)] = None,
    device: Device = "cpu",
) -> None:
    """Generate look-alikes of a benchmark, with exact masks and shadow maps.

    ```
    astseg data make clevr my-clevr --train 10000 --test 500 --size 64
    ```
    """
    counts = {split: count for split, count in (("train", train), ("test", test)) if count}
    if not counts:
        raise AstSegError("No images were asked for: give --train or --test more than 0.")
    make_scenes(name, out, counts, seed, size, workers, device)
    output.print(f"Data: {out}", markup=False)


@app.command("import")
def import_(
    source: Annotated[
        list[Path], typer.Argument(help="A folder, a video, an array file; for a benchmark its files or folders.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")],
    benchmark: Annotated[
        str | None, typer.Option(help="Read the published files of this benchmark; see 'astseg data benchmarks'.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="How the benchmark is divided; by default its first.")] = None,
    size: Annotated[str | None, typer.Option(help="Height x width, such as 96x128; by default one that suits.")] = None,
    test_share: Annotated[float, typer.Option(help="The share of own images to hold out.")] = TEST_SHARE,
    every: Annotated[int, typer.Option(help="Of a video, take each n-th frame.", min=1)] = 1,
    masks: Masks = None,
    ignore: Ignore = None,
    limit: Annotated[int | None, typer.Option(help="Of a benchmark's splits, take the first so many.")] = None,
    exchange_red_and_blue: Annotated[
        bool,
        typer.Option(
            "--exchange-red-and-blue", help="Write a benchmark's red as blue, as the authors' CLEVR images were."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides which own images are held out.", min=0)] = 0,
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
            raise AstSegError("Several sources came: put your images into one folder, or name a --benchmark.")
        if protocol is not None or limit is not None or exchange_red_and_blue:
            raise AstSegError("--protocol, --limit and --exchange-red-and-blue need a --benchmark: name it.")
        with progress("Reading", "images") as show:
            store = import_source(
                source[0], out, sides, test_share, seed, every, show, masks=masks, ignored=parse_values(ignore)
            )
        report_reading(store)
    else:
        if every != 1 or test_share != TEST_SHARE or seed != 0 or masks is not None or ignore is not None:
            raise AstSegError(
                "--every, --test-share, --seed, --masks and --ignore are for your own images: a benchmark has a "
                "--protocol."
            )
        if sides is not None and sides[0] != sides[1]:
            raise AstSegError(f"A benchmark's images are square: give one side, not {size}.")
        _import_benchmark(
            benchmark,
            source,
            out,
            protocol=protocol,
            image_size=sides[0] if sides else None,
            limit=limit,
            exchange_red_and_blue=exchange_red_and_blue,
        )
    output.print(f"Data: {out}", markup=False)


def _import_benchmark(name: str, source: list[Path], out: Path, **options: object) -> None:
    from astseg.data.benchmarks import ImportProgress, check_store, import_benchmark

    with several_progresses("images") as show:

        def report(state: ImportProgress) -> None:
            show(state.stage, state.done, state.total)

        store = import_benchmark(name, source, out, report=report, **options)  # type: ignore[arg-type]
        found = check_store(store.path, verify=False, report=lambda split, *done: show(f"checking {split}", *done))
    report_skipped(list(found.unreadable))
    for problem in found.problems:
        note("Note", problem)


@app.command()
def benchmarks() -> None:
    """List the benchmarks whose published files can be read, with their protocols."""
    from rich.table import Table

    from astseg.data.benchmarks import BENCHMARKS

    table = Table("name", "what it is", "protocols", box=None, pad_edge=False)
    for benchmark in BENCHMARKS.values():
        table.add_row(benchmark.name, benchmark.description, ", ".join(p.name for p in benchmark.protocols) or LISTS)
    print_table(table)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="A benchmark; see 'astseg data benchmarks'.")],
    out: Destination,
    mirror: Annotated[str | None, typer.Option(help="Another server that has the files, by the same names.")] = None,
) -> None:
    """Fetch a benchmark's files from their documented addresses. Stopped and run again, it goes on.

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
    files, size, remaining = counted(len(plan.files), "file"), decimal(plan.size), decimal(plan.remaining)
    output.print(f"{files}, {size}, {remaining} still to fetch.")
    with several_progresses("bytes") as show:
        fetched = fetch(plan, show)
    for file in fetched:
        output.print(str(file), markup=False)


@app.command()
def check(
    store: Annotated[Path, typer.Argument(help="Prepared data.")],
    objects: Annotated[int | None, typer.Option(help="K of the model to be used.")] = None,
) -> None:
    """Look prepared data over: counts, labels against K, empty images, damaged files.

    ```
    astseg data check my-data --objects 5
    ```
    """
    from astseg.data.benchmarks import check_store

    with several_progresses("images", "Checking {}".format) as show:
        report = check_store(store, num_slots=objects, report=show)
    _print_report(report)
    if report.damaged:
        raise typer.Exit(1)


def _print_report(report: "StoreReport") -> None:
    from rich.markup import escape
    from rich.table import Table

    num_slots = "not given; --objects gives it" if report.num_slots is None else report.num_slots
    output.print(f"Source:   {report.source}\nProtocol: {report.protocol}\nK:        {num_slots}", markup=False)
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
    for problem in report.problems:
        note("Note", problem, output)
    if not report.problems:
        output.print("Nothing to complain about.")
