"""Read finished runs, and group those that differ only in the seed."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from astseg._core.errors import AstSegError, RunNotFoundError
from astseg._core.file_names import RUN_FILE
from astseg._core.input_files import real_path
from astseg._core.settings_io import to_builtins
from astseg.data.catalog import evaluated_with
from astseg.evaluation.scores_file import SCORES_FILE, ScoreRecord, read_scores
from astseg.paper.ablation import evaluation_folder
from astseg.paper.published import ScoreName
from astseg.training.checkpoints import MODEL_FOLDER
from astseg.training.presets import PRESETS, Preset
from astseg.training.run_folder import RunSettings, is_run, read_run


@dataclass(frozen=True)
class Result:
    """One model's scores on one data set."""

    folder: Path
    """The run's folder."""
    settings: RunSettings
    dataset: str | None
    """The data set in whose tables this is a row; None for a run that is in no table."""
    record: ScoreRecord
    """The scores, the model and the data."""


@dataclass(frozen=True)
class Estimate:
    """A mean over runs."""

    mean: float
    deviation: float | None
    """The sample deviation (n - 1); None for a single run."""


@dataclass(frozen=True)
class Group:
    """Results that differ only in the seed."""

    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        """The result with the lowest seed, for whatever all have in common."""
        return self.results[0]

    @property
    def preset(self) -> Preset | None:
        """The preset of the runs, if any."""
        return PRESETS.get(self.first.settings.preset or "")

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds in ascending order, with repetitions."""
        return tuple(result.settings.seed for result in self.results)

    def estimate(self, name: ScoreName) -> Estimate | None:
        """Return the mean and deviation of a score over the runs; None if a run does not have it."""
        values = [getattr(result.record.summary.overall, name) for result in self.results]
        known = [value for value in values if value is not None]
        return _estimate(known) if len(known) == len(values) else None

    def seconds(self, *phases: str) -> Estimate | None:
        """Return the mean and deviation of the phases' total time; None if a run had none of them."""
        known = [result.record.seconds for result in self.results]
        times = [[seconds[phase] for phase in phases if phase in seconds] for seconds in known]
        return _estimate([sum(time) for time in times]) if all(times) else None


def read_results(paths: Iterable[Path]) -> tuple[list[Result], list[Path]]:
    """Read runs, and their models' scores on other data sets.

    Args:
        paths: folders of runs, and folders that hold such folders.

    Returns:
        The results, and the folders of runs that have no scores yet.

    Raises:
        AstSegError: a folder holds no run, or unreadable files.
    """
    folders = dict.fromkeys(run.resolve() for path in paths for run in _runs_in(path))
    finished = [folder for folder in folders if (folder / SCORES_FILE).is_file()]
    results = [result for folder in finished for result in _results_of(folder)]
    return results, [folder for folder in folders if folder not in finished]


def group_results(results: Sequence[Result]) -> list[Group]:
    """Group results that differ only in the seed, in the order of the presets, others last."""
    groups: dict[object, list[Result]] = {}
    for result in results:
        settings = result.settings
        name = settings.preset or settings.title
        summary = result.record.summary
        # The score of background everywhere depends on the images alone; its last digits may depend on the machine.
        images = summary.overall.images, round(summary.background_everywhere.miou, 6)
        scored = (json.dumps(to_builtins(result.record.data), sort_keys=True), *images)
        learned = settings.recipe, settings.execution, settings.model, settings.images_sha256
        groups.setdefault((result.dataset, name, *learned, *scored), []).append(result)
    presets = list(PRESETS)
    made = [Group(tuple(sorted(group, key=lambda result: result.settings.seed))) for group in groups.values()]
    return sorted(made, key=lambda group: presets.index(group.preset.name) if group.preset else len(presets))


def _runs_in(path: Path) -> list[Path]:
    """Return the folders of runs at a path: itself, or those in it and in its folders.

    Raises:
        RunNotFoundError: there are none.
    """
    if is_run(path):
        return [path]
    near = [file.parent for file in path.glob(f"*/{RUN_FILE}")]
    far = [file.parent for file in path.glob(f"*/*/{RUN_FILE}") if file.parent.parent not in near]
    inside = sorted([*near, *far])
    if not inside:
        raise RunNotFoundError(f"{path} holds no training run, and no folders of runs.")
    return inside


def _results_of(folder: Path) -> list[Result]:
    """Return the results of a finished run: its own, and those on data sets that its model was only evaluated on."""
    settings = read_run(folder)
    preset = PRESETS.get(settings.preset or "")
    dataset = preset.benchmark if preset else None
    results = [Result(folder, settings, dataset, read_scores(folder / SCORES_FILE))]
    evaluated = evaluated_with(preset.benchmark) if preset and preset.benchmark else []
    files = {spec: evaluation_folder(folder, spec) / SCORES_FILE for spec in evaluated}
    results += [_read_other_scores(file, folder, settings, spec.name) for spec, file in files.items() if file.is_file()]
    return results


def _read_other_scores(file: Path, folder: Path, settings: RunSettings, dataset: str) -> Result:
    """Read the scores of a run's model on another data set.

    Raises:
        AstSegError: the scores are of another model or split, or were computed without the label rule.
    """
    record = read_scores(file)
    model = real_path(Path(record.model))
    name = (model.parent if model.name == MODEL_FOLDER else model).name
    found = {"model": name, "split": record.split, "label_rule": record.label_rule}
    expected = {"model": folder.name, "split": "test", "label_rule": True}
    wrong = [f"{key} {found[key]}, not {value}" for key, value in expected.items() if found[key] != value]
    if wrong:
        raise AstSegError(
            f"{file} holds other scores than expected ({', '.join(wrong)}). Remove {file.parent} and evaluate again."
        )
    return Result(folder, settings, dataset, record)


def _estimate(values: Sequence[float]) -> Estimate:
    return Estimate(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
