"""The paper's tables with the runs in them."""

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
from astseg.paper.report.differences import CHANGED, LOOK_ALIKE, MINIATURE, OTHER_DATA, differences, labels, row_name
from astseg.paper.report.results import Estimate, Group, Result
from astseg.training.presets import FULL_ROW

NONE = "-"
SCORE_TITLES: Mapping[ScoreName, str] = {
    "miou": "mIoU (%)",
    "ari_fg": "ARI-FG (%)",
    "msc_fg": "MSC-FG (%)",
    "mse": "MSE",
}
MAIN_ROWS = (FULL_ROW, "baseline")
"""What stands in Tables 1 to 3; Table 4 has the full model and all others."""
WARNINGS: Mapping[str, str] = {
    MINIATURE: "smaller images, smaller networks or fewer steps than published",
    CHANGED: "settings that are not the published ones",
    LOOK_ALIKE: "generated images that resemble the benchmark's, not its own",
    OTHER_DATA: "data that is not the one of the table",
}


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    cells: tuple[str, ...]
    own: bool = False
    """Whether it is of this program's runs."""


@dataclass(frozen=True)
class Table:
    """A table as plain text in cells."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Report:
    """All that there is to say of some runs."""

    title: str
    warnings: tuple[str, ...]
    tables: tuple[Table, ...]
    remarks: Mapping[str, tuple[str, ...]]
    """What differs from the published protocol: sentences, by what they are about."""


def build_report(groups: Sequence[Group], unfinished: Sequence[str] = ()) -> Report:
    """Put runs beside the published figures.

    Args:
        groups: what `astseg.paper.report.results.group_results` found.
        unfinished: names of runs without scores, to be named as left out.
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


def name_of(group: Group) -> str:
    """Return what a group is called: the preset's row, and loudly what keeps it from being the published one."""
    loud = labels(group)
    return f"astseg {row_name(group)} [{', '.join(loud)}]" if loud else f"astseg {row_name(group)}"


def _scores_table(dataset: DatasetSpec, groups: Sequence[Group]) -> Table:
    published = published_systems(dataset.name)
    names = tuple(name for name in SCORE_TITLES if any(name in row.scores for row in published))
    rows = [Row((row.system, *(_printed(row, name) for name in names), _published_runs(row))) for row in published]
    for group in groups:
        if group.preset is not None and (group.preset.row in MAIN_ROWS or dataset.only_evaluated):
            scores = (_score(group, name) + _size_note(group, name, dataset) for name in names)
            rows.append(Row((name_of(group), *scores, str(len(group.results))), own=True))
    stores = {
        (result.record.summary.overall.images, str(result.record.data)): result
        for group in groups
        for result in group.results
    }
    for result in stores.values():
        scores = (_share(getattr(result.record.summary.background_everywhere, name), name) for name in names)
        rows.append(Row((f"background everywhere, on {_described(result)}", *scores, NONE), own=True))
    side = dataset.image_size
    elsewhere = "".join(f" {row.system}: {row.source}." for row in published if not row.source.startswith("Table"))
    note = (
        f"Published, with this program's runs below. Higher is better, but for the MSE, which is summed over the "
        f"pixels (published: {side} x {side}) and does not compare at another size. ± is the deviation over runs, "
        f"ours the sample deviation (n - 1).{elsewhere}"
    )
    columns = ("model", *(SCORE_TITLES[name] for name in names), "runs")
    return Table(f"{dataset.title}: {published[0].source}", note, columns, tuple(rows))


def _ablation_table(dataset: DatasetSpec, groups: Sequence[Group]) -> Table:
    names: tuple[ScoreName, ...] = ("miou", "ari_fg")
    rows = []
    for row in published_ablations(dataset.name):
        published = (row.system, *(_printed(row, name) for name in names))
        ours = [group for group in groups if group.preset is not None and group.preset.row == row.row]
        for group in ours:
            cells = (*(_score(group, name) for name in names), str(len(group.results)), ", ".join(labels(group)))
            rows.append(Row((*published, *cells), own=True))
        if not ours:
            rows.append(Row((*published, NONE, NONE, NONE, "")))
    note = (
        "Published: over one run, where a star stands the mean of three. "
        f"Ours: the rows are the presets {dataset.name}-..., and say beside themselves what they are."
    )
    titles = [SCORE_TITLES[name] for name in names]
    columns = ("row", *(f"published {t}" for t in titles), *(f"ours {t}" for t in titles), "our runs", "ours is")
    return Table(f"{dataset.title}: Table 4", note, columns, tuple(rows))


def _other_runs(groups: Sequence[Group]) -> Table:
    rows = [
        Row((name_of(group), *(_score(group, name) for name in SCORE_TITLES), str(len(group.results))), own=True)
        for group in groups
    ]
    columns = ("run", *SCORE_TITLES.values(), "runs")
    return Table(
        "Runs that are in no table of the paper", "Nothing published compares with them.", columns, tuple(rows)
    )


def _times_table(rows: Sequence[Row]) -> Table:
    columns = ("what", "images", "phase 1: steps", "time", "phases 2 and 3: steps", "time", "machine")
    note = "Published for curriculum training. Times of other steps, sizes and machines do not compare."
    return Table("Training times: Table 5", note, columns, tuple(rows))


def _times_rows(groups: Sequence[Group]) -> list[Row]:
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
    recipe = group.first.settings.recipe
    background, foreground = group.seconds("background"), group.seconds("objects", "joint")
    height, width = recipe.architecture.image_size
    cells = (
        f"{height} x {width}",
        str(recipe.background.steps) if background else NONE,
        format_duration(background.mean) if background else NONE,
        str(recipe.foreground.steps) if foreground else NONE,
        format_duration(foreground.mean) if foreground else NONE,
        ", ".join(dict.fromkeys(result.record.provenance.machine for result in group.results)),
    )
    return Row((name_of(group), *cells), own=True)


def _warnings(groups: Sequence[Group]) -> list[str]:
    found = [labels(group) for group in groups]
    counts = {label: sum(label in marks for marks in found) for label in WARNINGS}
    lines = [
        f"{label}: {count} of {len(groups)} rows have {WARNINGS[label]}. They do not reproduce the published figures."
        for label, count in counts.items()
        if count
    ]
    alone = sum(len(group.results) == 1 for group in groups)
    return [*lines, f"{alone} of {len(groups)} rows are of a single run, without a deviation."] if alone else lines


def _printed(row: PublishedRow, name: ScoreName) -> str:
    return row.scores[name].printed if name in row.scores else NONE


def _published_runs(row: PublishedRow) -> str:
    runs = next(iter(row.scores.values())).runs
    return NONE if runs is None else str(runs)


def _score(group: Group, name: ScoreName) -> str:
    estimate = group.estimate(name)
    return NONE if estimate is None else _written(estimate, name)


def _written(estimate: Estimate, name: ScoreName) -> str:
    factor, digits = (1, 1) if name == "mse" else (100, 2)
    mean = f"{factor * estimate.mean:.{digits}f}"
    return mean if estimate.deviation is None else f"{mean} ± {factor * estimate.deviation:.{digits}f}"


def _size_note(group: Group, name: ScoreName, dataset: DatasetSpec) -> str:
    """Return the images' size beside a squared error that does not compare with the published ones."""
    height, width = group.first.record.data.image_size
    published = (dataset.image_size, dataset.image_size)
    return f" at {height} x {width}" if name == "mse" and (height, width) != published else ""


def _share(value: float | None, name: ScoreName) -> str:
    return NONE if value is None else _written(Estimate(value, None), name)


def _described(result: Result) -> str:
    data = result.record.data
    return f"{result.record.summary.overall.images} images of {data.dataset or data.source}"
