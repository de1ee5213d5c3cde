"""How runs differ from the published ones: in data, recipe, seeds and machine."""

from collections.abc import Sequence

from astseg._core.settings_io import differing_settings
from astseg._core.text import format_value
from astseg.data.catalog import DATASETS, GENERATOR, SPELLINGS
from astseg.evaluation.scores_file import DataDescription
from astseg.paper.ablation import is_miniature
from astseg.paper.published import PAPER_GPU
from astseg.paper.report.results import Group
from astseg.training.config import Recipe, is_read
from astseg.training.execution import PLAIN

MINIATURE = "MINIATURE"
OTHER_RECIPE = "OTHER RECIPE"
LOOK_ALIKE = "LOOK-ALIKE"
OTHER_DATA = "OTHER DATA"
PAPER_RUNS = 3


def warning_marks(group: Group) -> tuple[str, ...]:
    """Return the marks to print with the group's name, so that nobody takes its scores for a reproduction."""
    found = []
    settings = group.first.settings
    if group.preset is not None and (settings.recipe != group.preset.recipe or settings.model):
        small = group.preset.benchmark and is_miniature(settings.recipe, group.preset.recipe)
        found.append(MINIATURE if small else OTHER_RECIPE)
    data = data_mark(group.first.dataset, group.first.record.data)
    return (*found, data) if data else tuple(found)


def data_mark(dataset: str | None, data: DataDescription) -> str | None:
    """Return the mark of data that is not the published files of the data set; None if it is, or without a data set."""
    if dataset is None:
        return None
    if data.source == GENERATOR:
        return LOOK_ALIKE if data.dataset in DATASETS[dataset].look_alikes else OTHER_DATA
    known = SPELLINGS.get(data.dataset or "")
    return None if known is not None and known.name == dataset else OTHER_DATA


def differences(groups: Sequence[Group]) -> dict[str, tuple[str, ...]]:
    """Return sentences by topic (data, recipe, runs, machine), each with the rows that it applies to."""
    topics: dict[str, dict[str, list[int]]] = {"Data": {}, "Recipe": {}, "Runs": {}, "Machine and commit": {}}
    for number, group in enumerate(groups):
        sentences = {
            "Data": [_data(group)],
            "Recipe": _recipe(group),
            "Runs": [_runs(group.seeds)],
            "Machine and commit": [_machine(group)],
        }
        for topic, lines in sentences.items():
            for line in lines:
                topics[topic].setdefault(line, []).append(number)
    everyone = [row_name(group) for group in groups]
    return {
        topic: tuple(f"{line} [{_whose(numbers, everyone)}]" for line, numbers in lines.items())
        for topic, lines in topics.items()
    }


def row_name(group: Group) -> str:
    """Return the name of the group's recipe, and of the data set if the model was only evaluated on it."""
    settings, dataset = group.first.settings, DATASETS.get(group.first.dataset or "")
    on = f" on {dataset.title}" if dataset and dataset.only_evaluated else ""
    return f"{settings.preset or settings.title}{on}"


def recipe_changes(ours: Recipe, theirs: Recipe, whose: str = "published") -> list[str]:
    """Return each setting that differs and is used, as ``foreground.steps 300, published 125000``."""
    return [
        f"{name} {format_value(mine)}, {whose} {format_value(other)}"
        for name, (mine, other) in differing_settings(ours, theirs).items()
        if is_read(name, ours.foreground.scenario)
    ]


def settings_apart(group: Group, alike: Sequence[Group]) -> list[str]:
    """Return a group's values of the settings in which groups differ, as ``foreground.entropy_weight 0.01``."""
    runs = [one.first.settings for one in (group, *alike)]
    differing = differing_settings(*(run.recipe for run in runs))
    apart = [f"{name} {format_value(mine)}" for name, (mine, *_) in differing.items()]
    if len({run.model for run in runs}) > 1:
        model = group.first.settings.model
        apart.append("from random weights" if model is None else f"begun with {model}")
    return apart


def _whose(numbers: Sequence[int], everyone: Sequence[str]) -> str:
    """Return the names of some rows by their numbers, or ``all rows but`` the others, if these are fewer."""
    others = [number for number in range(len(everyone)) if number not in numbers]
    if not others:
        return "all rows"
    few = len(numbers) <= len(others)
    listed = ", ".join(_distinct_name(number, everyone) for number in (numbers if few else others))
    return listed if few else f"all rows but {listed}"


def _distinct_name(number: int, everyone: Sequence[str]) -> str:
    """Return the name of a row, with its place among the rows of that name if there are several."""
    name = everyone[number]
    same = [other for other, its_name in enumerate(everyone) if its_name == name]
    return f"{name} ({same.index(number) + 1})" if len(same) > 1 else name


def _data(group: Group) -> str:
    """Return a sentence on the images of a group."""
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
    """Return phrases on how a group's recipe and execution differ from its preset's."""
    execution = group.first.settings.execution
    parts = f", batches in {execution.parts} parts" if execution.parts > 1 else ""
    compiled = ", compiled" if execution.compiled else ""
    computed = [] if execution == PLAIN else [f"computed in {execution.precision}{parts}{compiled}"]
    if group.first.settings.model is not None:
        computed.append(f"begun with a trained model, {group.first.settings.model}")
    if group.preset is None:
        return ["a recipe of its own", *computed]
    whose = "published" if group.preset.benchmark else "the preset's"
    changes = recipe_changes(group.first.settings.recipe, group.preset.recipe, whose)
    return [*(changes or ["the preset's, unchanged"]), *computed]


def _runs(seeds: Sequence[int]) -> str:
    """Return a sentence on the number of runs and their seeds."""
    seed = "seeds" if len(seeds) > 1 else "seed"
    listed = ", ".join(map(str, seeds))
    text = f"{len(seeds)} with {seed} {listed}; published: {PAPER_RUNS} with a deviation or star"
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        text += f"; NOTE: seed {', '.join(map(str, twice))} occurs more than once, so the deviation is too small"
    return text


def _machine(group: Group) -> str:
    """Return a sentence on the machines and commits of a group."""
    machines = ", ".join(dict.fromkeys(result.record.provenance.machine for result in group.results))
    commits = ", ".join(dict.fromkeys(result.record.provenance.commit or "unknown" for result in group.results))
    return f"{machines}; published: {PAPER_GPU}; commit {commits}"
