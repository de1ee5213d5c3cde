"""``astseg data import``: prepare your own images, or a benchmark's published files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import print_note, print_result
from astseg.cli._inputs import Reading, report_plan, report_reading, report_skipped
from astseg.cli._options import AsJson, Every, Ignore, Masks, MaxFrames, Out, Quiet, parse_size
from astseg.cli._progress import progress, progress_by_name
from astseg.cli._sources import find_given

if TYPE_CHECKING:
    from astseg.data.store import Store

TEST_SHARE = 0.1


def import_(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Folders, images, videos or array files, and all else that 'astseg segment' takes but live video; for "
            "a benchmark, its files or folders."
        ),
    ],
    out: Out,
    benchmark: Annotated[
        str | None, typer.Option(help="Read the published files of this benchmark; see 'astseg data benchmarks'.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="How to split the benchmark; by default its first.")] = None,
    size: Annotated[str | None, typer.Option(help="Height x width, such as 96x128; by default one that suits.")] = None,
    test_share: Annotated[float, typer.Option(help="The share of your own images to hold out.")] = TEST_SHARE,
    every: Every = 1,
    max_frames: MaxFrames = None,
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
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Prepare your own images, or the published files of a benchmark.

    ```
    astseg data import holiday/ --out my-data
    astseg data import film.mp4 --every 5 --size 96x128 --out my-film
    astseg data import monday.mp4 tuesday.mp4 --max-frames 2000 --out my-road
    astseg data import clevrtex_full_part*.tar.gz --benchmark clevrtex --out clevrtex
    ```
    """
    sides = parse_size(size)
    if benchmark is None:
        if protocol is not None or limit is not None or exchange_red_and_blue:
            raise AstSegError("--protocol, --limit and --exchange-red-and-blue need a --benchmark.")
        store = _import_own(source, out, sides, test_share, seed, Reading(every, max_frames, masks, ignore))
    else:
        given = (max_frames, masks, ignore)
        if every != 1 or test_share != TEST_SHARE or seed != 0 or any(value is not None for value in given):
            raise AstSegError(
                "--every, --max-frames, --test-share, --seed, --masks and --ignore are for your own images; a "
                "benchmark takes a --protocol."
            )
        if sides is not None and sides[0] != sides[1]:
            raise AstSegError(f"A benchmark's images are square: give one side, not {size}.")
        side = None if sides is None else sides[0]
        store = _import_benchmark(benchmark, source, out, protocol, side, limit, exchange_red_and_blue)
    counts, details = {name: len(store[name]) for name in store.splits}, store.manifest.details
    facts = {
        "data": out,
        "images": counts,
        "size": store.image_size,
        "skipped": [*details.get("skipped", []), *details.get("unreadable", [])],
        "more_skipped": details.get("more_skipped", 0) + details.get("more_unreadable", 0),
    }
    print_result([f"Data: {out}"], facts, as_json=as_json)


def _import_own(
    words: list[str],
    out: Path,
    size: tuple[int, int] | None,
    test_share: float,
    seed: int,
    reading: Reading,
) -> "Store":
    """Prepare the user's own images under a progress bar, and print what was not taken."""
    from astseg.data.importing import import_source

    with find_given(words) as places, progress("Reading", "images") as show:
        store = import_source(
            places,
            out,
            size,
            test_share,
            seed,
            reading.every,
            show,
            masks=reading.masks,
            ignored=reading.ignored,
            max_frames=reading.max_frames,
            on_plan=report_plan,
        )
    report_reading(store)
    return store


def _import_benchmark(
    name: str,
    words: list[str],
    out: Path,
    protocol: str | None,
    side: int | None,
    limit: int | None,
    exchange_red_and_blue: bool,
) -> "Store":
    """Prepare a benchmark's published files under a progress bar, check them, and print what is wrong with them."""
    from astseg.data.benchmarks import check_store, import_benchmark

    with progress_by_name("images") as show:
        store = import_benchmark(
            name,
            list(map(Path, words)),
            out,
            protocol=protocol,
            image_size=side,
            limit=limit,
            exchange_red_and_blue=exchange_red_and_blue,
            report=lambda state: show(state.stage, state.done, state.total, state.unit),
        )
        found = check_store(store.path, verify=False, report=lambda split, *done: show(f"checking {split}", *done))
    report_skipped(list(found.unreadable), store.manifest.details.get("more_unreadable", 0))
    for problem in found.problems:
        print_note("Note", problem)
    return store
