"""Build the paper's tables with the runs as additional rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from astseg import __version__
from astseg._core.text import format_duration
from astseg.data.catalog import DATASETS, DatasetSpec
from astseg.paper.published import (
    PAPER_GPU,
    TIMES,
    PublishedRow,
    ScoreName,
    published_ablations,
    published_systems,
)
from astseg.paper.report.differences import (
    LOOK_ALIKE,
    MINIATURE,
    OTHER_DATA,
    OTHER_RECIPE,
    differences,
    row_name,
    settings_apart,
    warning_marks,
)
from astseg.paper.report.results import Estimate, Group
from astseg.training.presets import FULL_ROW

EMPTY_CELL = "-"
SCORE_TITLES: Mapping[ScoreName, str] = {
    "miou": "mIoU (%)",
    "ari_fg": "ARI-FG (%)",
    "msc_fg": "MSC-FG (%)",
    "mse": "MSE",
}
MAIN_ROWS = (FULL_ROW, "baseline")
"""The rows of Tables 1 to 3; Table 4 has the full model and all other rows."""
WARNINGS: Mapping[str, str] = {
    MINIATURE: "smaller images, smaller networks or fewer steps than published",
    OTHER_RECIPE: "settings that are not the published ones",
    LOOK_ALIKE: "generated images that resemble the benchmark's own",
    OTHER_DATA: "data other than that of the table",
}


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    cells: tuple[str, ...]
    own: bool = False
    """Whether it is a result of this program."""


@dataclass(frozen=True)
class Table:
    """A table with cells of plain text."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Report:
    """Tables of and remarks on some runs."""

    title: str
    warnings: tuple[str, ...]
    tables: tuple[Table, ...]
    remarks: Mapping[str, tuple[str, ...]]
    """Differences from the published protocol: sentences by topic."""


def build_report(groups: Sequence[Group], unfinished: Sequence[str] = ()) -> Report:
    """Put runs beside the published figures.

    Args:
        groups: the return value of `astseg.paper.report.results.group_results`.
        unfinished: names of runs without scores, which are listed as left out.
    """
    tables: list[Table] = []
    for dataset in DATASETS.values():
        of_dataset = [group for group in groups if group.first.dataset == dataset.name]
        if of_dataset:
            tables.append(_scores_table(dataset, of_dataset))
            if published_ablations(dataset.name):
                tables.append(_ablation_table(dataset, of_dataset))
    others = [group for group in groups if group.first.dataset is None]
    if others:
        tables.append(_other_runs(others))
    if times := _times_rows(groups):
        tables.append(_times_table(times))
    warnings = _warnings(groups)
    if unfinished:
        warnings.append(f"Left out, because they have no scores yet: {', '.join(unfinished)}.")
    title = f"astseg {__version__} beside the published figures"
    return Report(title, tuple(warnings), tuple(tables), differences(groups))


def _group_name(group: Group) -> str:
    """Return the name of a group's preset, with marks for what keeps it from being the published run."""
    marks = warning_marks(group)
    return f"astseg {row_name(group).removeprefix('astseg ')}" + (f" [{', '.join(marks)}]" if marks else "")


def _scores_table(dataset: DatasetSpec, groups: Sequence[Group]) -> Table:
    """Return the table of a data set (Tables 1 to 3), with the runs below the published systems."""
    published = published_systems(dataset.name)
    names = tuple(name for name in SCORE_TITLES if any(name in row.scores for row in published))
    rows = [
        Row((row.system, *(_published_score(row, name) for name in names), _published_runs(row))) for row in published
    ]
    for group in groups:
        if group.preset is not None and (group.preset.row in MAIN_ROWS or dataset.only_evaluated):
            scores = (_score(group, name) + _size_note(group, name, dataset) for name in names)
            rows.append(Row((_group_name(group), *scores, str(len(group.results))), own=True))
    side = dataset.image_size
    elsewhere = "".join(f" {row.system}: {row.source}." for row in published if not row.source.startswith("Table"))
    note = (
        f"Published, with this program's runs below. Higher is better, except for the MSE, which is summed over the "
        f"pixels (published: {side} x {side}) and cannot be compared at another size. ± is the deviation over runs, "
        f"ours the sample deviation (n - 1).{elsewhere}"
    )
    columns = ("model", *(SCORE_TITLES[name] for name in names), "runs")
    title = f"{dataset.title}: {published[0].source}"
    return Table(title, note, columns, (*rows, *_background_everywhere(groups, names)))


def _background_everywhere(groups: Sequence[Group], names: Sequence[ScoreName]) -> list[Row]:
    """Return the scores of predicting background for every pixel, a row for each set of images that was scored."""
    by_images = {
        (result.record.summary.overall.images, str(result.record.data)): result.record
        for group in groups
        for result in group.results
    }
    rows = []
    for record in by_images.values():
        values = ((name, getattr(record.summary.background_everywhere, name)) for name in names)
        scores = (_format_estimate(None if value is None else Estimate(value, None), name) for name, value in values)
        images = f"{record.summary.overall.images} images of {record.data.dataset or record.data.source}"
        rows.append(Row((f"background everywhere, on {images}", *scores, EMPTY_CELL), own=True))
    return rows


def _ablation_table(dataset: DatasetSpec, groups: Sequence[Group]) -> Table:
    """Return the part of Table 4 for a data set, with the runs beside the published rows."""
    names: tuple[ScoreName, ...] = ("miou", "ari_fg")
    rows = []
    for row in published_ablations(dataset.name):
        published = (row.system, *(_published_score(row, name) for name in names))
        ours = [group for group in groups if group.preset is not None and group.preset.row == row.row]
        for group in ours:
            cells = (*(_score(group, name) for name in names), str(len(group.results)), ", ".join(warning_marks(group)))
            rows.append(Row((*published, *cells), own=True))
        if not ours:
            rows.append(Row((*published, EMPTY_CELL, EMPTY_CELL, EMPTY_CELL, "")))
    note = (
        "Published: of one run, or with a star the mean of three. "
        f"Ours: the presets {dataset.name}-...; the last column marks what differs."
    )
    titles = [SCORE_TITLES[name] for name in names]
    columns = ("row", *(f"published {t}" for t in titles), *(f"ours {t}" for t in titles), "our runs", "marks")
    return Table(f"{dataset.title}: Table 4", note, columns, tuple(rows))


def _other_runs(groups: Sequence[Group]) -> Table:
    """Return a table of the runs that are in no table of the paper."""
    names = [_group_name(group) for group in groups]
    rows = []
    for group, name in zip(groups, names, strict=True):
        alike = [other for other, its_name in zip(groups, names, strict=True) if its_name == name]
        settings = ", ".join(settings_apart(group, alike))
        scores = (_score(group, score) for score in SCORE_TITLES)
        rows.append(Row((f"{name}, {settings}" if settings else name, *scores, str(len(group.results))), own=True))
    columns = ("run", *SCORE_TITLES.values(), "runs")
    return Table(
        "Runs that are in no table of the paper",
        "There are no published figures to compare them with. ± is the sample deviation (n - 1) over runs that differ "
        "in the seed alone; of runs with one name, the settings in which they differ are named.",
        columns,
        tuple(rows),
    )


def _times_table(rows: Sequence[Row]) -> Table:
    """Return Table 5 with these rows."""
    columns = ("what", "images", "phase 1: steps", "time", "phases 2 and 3: steps", "time", "machine")
    note = "Published for curriculum training. Times for other steps, sizes and machines cannot be compared."
    return Table("Training times: Table 5", note, columns, tuple(rows))


def _times_rows(groups: Sequence[Group]) -> list[Row]:
    """Return the published time of each data set that has runs, with the times of the runs below it."""
    rows = []
    for time in TIMES:
        ours = [group for group in groups if group.first.dataset == time.dataset and group.first.record.seconds]
        if not ours:
            continue
        dataset = DATASETS[time.dataset]
        cells = (
            f"{dataset.image_size} x {dataset.image_size}",
            str(time.background_steps),
            format_duration(time.background_seconds),
            str(time.foreground_steps),
            format_duration(time.foreground_seconds),
            PAPER_GPU,
        )
        rows.append(Row((f"published: {dataset.title}", *cells)))
        rows += [_own_times(group) for group in ours]
    return rows


def _own_times(group: Group) -> Row:
    """Return the training time of a group's runs."""
    recipe = group.first.settings.recipe
    background, foreground = group.seconds("background"), group.seconds("objects", "joint")
    height, width = recipe.architecture.image_size
    cells = (
        f"{height} x {width}",
        str(recipe.background.steps) if background else EMPTY_CELL,
        format_duration(background.mean) if background else EMPTY_CELL,
        str(recipe.foreground.steps) if foreground else EMPTY_CELL,
        format_duration(foreground.mean) if foreground else EMPTY_CELL,
        ", ".join(dict.fromkeys(result.record.provenance.machine for result in group.results)),
    )
    return Row((_group_name(group), *cells), own=True)


def _warnings(groups: Sequence[Group]) -> list[str]:
    """Return sentences that say how many rows are not the published runs, and how many have no deviation."""
    found = [warning_marks(group) for group in groups]
    counts = {label: sum(label in marks for marks in found) for label in WARNINGS}
    lines = [
        f"{label}: {count} of {len(groups)} rows have {WARNINGS[label]}. They do not reproduce the published figures."
        for label, count in counts.items()
        if count
    ]
    alone = sum(len(group.results) == 1 for group in groups)
    return [*lines, f"{alone} of {len(groups)} rows are of a single run, without a deviation."] if alone else lines


def _published_score(row: PublishedRow, name: ScoreName) -> str:
    return row.scores[name].printed if name in row.scores else EMPTY_CELL


def _published_runs(row: PublishedRow) -> str:
    runs = next(iter(row.scores.values())).runs
    return EMPTY_CELL if runs is None else str(runs)


def _score(group: Group, name: ScoreName) -> str:
    return _format_estimate(group.estimate(name), name)


def _format_estimate(estimate: Estimate | None, name: ScoreName) -> str:
    """Return a score as the paper prints it: in percent with two decimals, or the squared error with one."""
    if estimate is None:
        return EMPTY_CELL
    factor, digits = (1, 1) if name == "mse" else (100, 2)
    mean = f"{factor * estimate.mean:.{digits}f}"
    return mean if estimate.deviation is None else f"{mean} ± {factor * estimate.deviation:.{digits}f}"


def _size_note(group: Group, name: ScoreName, dataset: DatasetSpec) -> str:
    """Return the image size to print with a squared error that cannot be compared with the published ones."""
    size = group.first.record.data.image_size
    published = (dataset.image_size, dataset.image_size)
    return f" at {size[0]} x {size[1]}" if name == "mse" and size not in (None, published) else ""
