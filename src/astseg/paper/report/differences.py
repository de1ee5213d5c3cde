"""How runs differ from the published ones: in data, recipe, seeds and machine."""

from collections.abc import Sequence

from astseg._core.settings_io import flatten, to_builtins
from astseg._core.text import format_value
from astseg.data.catalog import DATASETS, GENERATOR
from astseg.evaluation.scores_file import DataDescription
from astseg.paper.ablation import is_miniature
from astseg.paper.published import PAPER_GPU
from astseg.paper.report.results import Group
from astseg.training.config import Recipe

MINIATURE = "MINIATURE"
OTHER_RECIPE = "OTHER RECIPE"
LOOK_ALIKE = "LOOK-ALIKE"
OTHER_DATA = "OTHER DATA"
PAPER_RUNS = 3


def warning_marks(group: Group) -> tuple[str, ...]:
    """Return the marks to print with the group's name, so that nobody takes its scores for a reproduction."""
    found = []
    if group.preset is not None and group.first.settings.recipe != group.preset.recipe:
        small = group.preset.benchmark and is_miniature(group.first.settings.recipe, group.preset.recipe)
        found.append(MINIATURE if small else OTHER_RECIPE)
    data = data_mark(group.first.dataset, group.first.record.data)
    return (*found, data) if data else tuple(found)


def data_mark(dataset: str | None, data: DataDescription) -> str | None:
    """Return the mark of data that is not the published files of the data set; None if it is, or without a data set."""
    if dataset is None:
        return None
    if data.source == GENERATOR:
        return LOOK_ALIKE if data.dataset in DATASETS[dataset].look_alikes else OTHER_DATA
    return None if data.dataset == dataset else OTHER_DATA


def differences(groups: Sequence[Group]) -> dict[str, tuple[str, ...]]:
    """Return sentences by topic (data, recipe, runs, machine), each with the rows that it applies to."""
    topics: dict[str, dict[str, list[str]]] = {"Data": {}, "Recipe": {}, "Runs": {}, "Machine and commit": {}}
    for group in groups:
        sentences = {
            "Data": [_data(group)],
            "Recipe": _recipe(group),
            "Runs": [_runs(group.seeds)],
            "Machine and commit": [_machine(group)],
        }
        for topic, lines in sentences.items():
            for line in lines:
                topics[topic].setdefault(line, []).append(row_name(group))
    everyone = [row_name(group) for group in groups]
    return {
        topic: tuple(f"{line} [{_whose(names, everyone)}]" for line, names in lines.items())
        for topic, lines in topics.items()
    }


def row_name(group: Group) -> str:
    """Return the name of the group's recipe, and of the data set if the model was only evaluated on it."""
    settings, dataset = group.first.settings, DATASETS.get(group.first.dataset or "")
    on = f" on {dataset.title}" if dataset and dataset.only_evaluated else ""
    return f"{settings.preset or settings.title}{on}"


def recipe_changes(ours: Recipe, theirs: Recipe, whose: str = "published") -> list[str]:
    """Return each setting that differs and is used, as ``foreground.steps 300, published 125000``."""
    mine, others = flatten(to_builtins(ours)), flatten(to_builtins(theirs))
    return [
        f"{name} {format_value(mine.get(name))}, {whose} {format_value(others.get(name))}"
        for name in {**mine, **others}  # a group that is None on one side has no values there
        if mine.get(name) != others.get(name)
        and (ours.foreground.scenario != "baseline" or not name.startswith("background."))  # no phase reads them
    ]


def _whose(names: Sequence[str], everyone: Sequence[str]) -> str:
    others = [name for name in everyone if name not in names]
    if not others:
        return "all rows"
    return ", ".join(names) if len(names) <= len(others) else f"all rows but {', '.join(others)}"


def _data(group: Group) -> str:
    data, dataset = group.first.record.data, group.first.dataset
    kind = {
        LOOK_ALIKE: "generated look-alikes, not the published images",
        OTHER_DATA: "NOT the data set of this table",
        None: "the published files" if dataset else "own data",
    }[data_mark(dataset, data)]
    images = ", ".join(f"{count} {split}" for split, count in data.images.items())
    return (
        f"{kind}: {data.source}; {data.protocol}; images: {images}; "
        f"{group.first.record.summary.overall.images} were scored, at {format_value(data.image_size)}"
    )


def _recipe(group: Group) -> list[str]:
    if group.preset is None:
        return ["a recipe of its own"]
    whose = "published" if group.preset.benchmark else "the preset's"
    return recipe_changes(group.first.settings.recipe, group.preset.recipe, whose) or ["the preset's, unchanged"]


def _runs(seeds: Sequence[int]) -> str:
    text = f"{len(seeds)} with seeds {', '.join(map(str, seeds))}; published: {PAPER_RUNS} with a deviation or star"
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        text += f"; NOTE: seed {', '.join(map(str, twice))} occurs more than once, so the deviation is too small"
    return text


def _machine(group: Group) -> str:
    machines = ", ".join(dict.fromkeys(result.record.provenance.machine for result in group.results))
    commits = ", ".join(dict.fromkeys(result.record.provenance.commit or "unknown" for result in group.results))
    return f"{machines}; published: {PAPER_GPU}; commit {commits}"
