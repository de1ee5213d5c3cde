"""Convert a benchmark's published files to a store.

Record files are read once, in order, directly into the splits. Images and masks from folders and archives come in any
order and are staged first. An interrupted import resumes when it is run again with the same settings.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from astseg._core.atomic_io import resolve_link
from astseg._core.errors import AstSegError
from astseg.data.benchmarks import clevrtex, shapestacks
from astseg.data.benchmarks.archives import ArchiveSource, open_sources
from astseg.data.benchmarks.image_import import ImageReader, import_images
from astseg.data.benchmarks.import_settings import ImportSettings, ProgressReport
from astseg.data.benchmarks.protocols import Protocol, shapestacks_protocol
from astseg.data.benchmarks.record_import import HDF5_SUFFIXES, import_records
from astseg.data.benchmarks.registry import Benchmark, PngFormat, RecordFormat, ShapeStacksFormat, get_benchmark
from astseg.data.store import Store

RECORD_SUFFIXES = (".tfrecords", ".tfrecord", *HDF5_SUFFIXES)
ARCHIVE_INFIXES = (".tar", ".tgz")
NON_DATA_SUFFIXES = (".part", ".md5", ".json")
MIN_SIDE, MAX_SIDE = 8, 8192


def import_benchmark(
    name: str,
    paths: Sequence[Path | str] | Path | str,
    destination: Path | str,
    *,
    protocol: str | Protocol | None = None,
    image_size: int | None = None,
    limit: int | None = None,
    exchange_red_and_blue: bool = False,
    report: ProgressReport | None = None,
) -> Store:
    """Convert a benchmark's published files to a new store.

    An interrupted import resumes when it is run again with the same settings.

    Args:
        name: a key of `registry.BENCHMARKS`.
        paths: the downloaded TFRecord or HDF5 files, archives (parts in order), folders of these, or folders of images.
        destination: the store's folder, which must not exist.
        protocol: the division into splits; None takes the benchmark's default. For ShapeStacks, the name of a folder in
            `splits`; None takes `default`.
        image_size: side of a prepared image in pixels; None takes the benchmark's.
        limit: maximum number of images per split; the first ones are taken.
        exchange_red_and_blue: swap the red and blue channels, as in the authors' CLEVR images.
        report: called with the progress as the import runs.

    Raises:
        AstSegError: the name is unknown, the destination is in use, or files are missing, damaged or of another set.
    """
    chosen = get_benchmark(name)
    if limit is not None and limit < 1:
        raise AstSegError(f"The limit must be at least 1 image per split, not {limit}.")
    if image_size is not None and not MIN_SIDE <= image_size <= MAX_SIDE:
        raise AstSegError(f"The image size must be {MIN_SIDE} to {MAX_SIDE} pixels, not {image_size}.")
    files = _expand_folders([paths] if isinstance(paths, Path | str) else paths, chosen)

    def settings(division: Protocol) -> ImportSettings:
        return ImportSettings(
            benchmark=chosen,
            files=tuple(files),
            destination=resolve_link(Path(destination)),
            size=image_size or chosen.image_size,
            protocol=division,
            limit=limit,
            exchange_red_and_blue=exchange_red_and_blue,
        )

    report = report or (lambda _: None)
    try:
        if isinstance(chosen.format, RecordFormat):
            import_records(settings(chosen.protocol(protocol)), chosen.format, report)
        elif isinstance(chosen.format, PngFormat):
            index = partial(clevrtex.file_index, variant=chosen.format.variant)
            reader = ImageReader(index, clevrtex.decode, "name", whole=True)
            import_images(settings(chosen.protocol(protocol)), open_sources(files), reader, report)
        else:
            folder = protocol.name if isinstance(protocol, Protocol) else protocol or "default"
            sources = open_sources(files)
            reader, division = _shapestacks(sources, folder)
            import_images(settings(division), sources, reader, report)
    except OSError as error:
        raise AstSegError(
            f"The import stopped: {error}. If the disk is full, free some space. Run the import again to resume it."
        ) from error
    return Store(destination)


def _shapestacks(sources: Sequence[ArchiveSource], folder: str) -> tuple[ImageReader, Protocol]:
    lists = shapestacks.read_lists(sources, folder)
    index = partial(shapestacks.file_index, scenarios=shapestacks.scenario_numbers(lists))
    counts = {split: shapestacks.CAMERAS * len(scenarios) for split, scenarios in lists.items()}
    reader = ImageReader(index, shapestacks.decode, folder, whole=False, unassigned_label=shapestacks.UNASSIGNED_LABEL)
    return reader, shapestacks_protocol(folder, counts)


def _expand_folders(paths: Iterable[Path | str], chosen: Benchmark) -> list[Path]:
    """Replace each folder of downloaded files with these files."""
    expanded: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise AstSegError(f"{path} does not exist.")
        inside = sorted(file for file in path.iterdir() if _is_benchmark_file(file, chosen)) if path.is_dir() else []
        expanded += inside or [path]
    if not expanded:
        raise AstSegError("No files to import were given.")
    if isinstance(chosen.format, RecordFormat):
        for path in expanded:
            if path.suffix not in RECORD_SUFFIXES:
                raise AstSegError(
                    f"'{chosen.name}' is read from .tfrecords or .hdf5 files. {path} is not one and contains none."
                )
    return expanded


def _is_benchmark_file(file: Path, chosen: Benchmark) -> bool:
    if not file.is_file():
        return False
    if isinstance(chosen.format, RecordFormat):
        return file.suffix in RECORD_SUFFIXES
    archive = any(mark in file.name for mark in ARCHIVE_INFIXES) and file.suffix not in NON_DATA_SUFFIXES
    if isinstance(chosen.format, ShapeStacksFormat):
        return archive and file.name.startswith("shapestacks-")
    return archive and f"clevrtex_{chosen.format.variant}" in file.name
