"""Plan the rows of the paper's tables as training runs.

Every row is a preset (``training.presets``), and every run has the folder of an ordinary run. Miniatures are derived
from the presets by a rule, so that no second list of settings has to be kept up to date.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from astseg._core.errors import AstSegError, OtherRunError
from astseg.data.catalog import TRAINING_SETS, DatasetSpec, find_dataset
from astseg.data.store import Store
from astseg.evaluation.scores_file import SCORES_FILE
from astseg.model.architecture import Architecture
from astseg.model.features.build import FeatureNetwork
from astseg.training.config import ForegroundTraining, Recipe
from astseg.training.presets import PRESETS, Preset
from astseg.training.recipe_request import buildable
from astseg.training.run import check_scored
from astseg.training.run_folder import RunSettings, is_run, read_run
from astseg.training.sizes import at_size
from astseg.training.small_recipes import cpu_recipe

MINIATURE_STEPS = 300
MINIATURE_BATCH = 16
MINIATURE_RATE_FACTOR = 10.0
"""Factor on the learning rate, since a miniature has only a four-hundredth of the steps."""

SMALLER_NETWORKS: Mapping[str, FeatureNetwork] = MappingProxyType(
    {
        "segformer-b1": "segformer-b0",
        "segformer-b2": "segformer-b0",
        "segformer-b3": "segformer-b0",
        "segformer-b4": "segformer-b0",
        "segformer-b5": "segformer-b0",
        "unet": "compact-unet",
    }
)
"""The smallest network of each family. The U-net of Table 8 takes seconds per step on a CPU."""


class State(Enum):
    """The state of a planned run."""

    NEW = "new"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"


@dataclass(frozen=True)
class PlannedRun:
    """One row of a table with one seed."""

    preset: Preset
    folder: Path
    settings: RunSettings

    def state(self) -> State:
        """Return the run's state.

        Raises:
            OtherRunError: the folder holds a run with other settings.
        """
        if not is_run(self.folder):
            return State.NEW
        if read_run(self.folder) != self.settings:
            raise OtherRunError(
                f"{self.folder} holds a run of this name with another recipe or other data. "
                f"Choose another folder, or remove it."
            )
        return State.FINISHED if (self.folder / SCORES_FILE).is_file() else State.INTERRUPTED


def rows_of(dataset: str) -> dict[str, Preset]:
    """Return the rows that the paper's tables have for a data set by name, AST-Seg-B3-CT (``full``) first.

    Raises:
        AstSegError: there is no such data set, or the paper trains no models on it.
    """
    spec = find_dataset(dataset)
    if spec.name not in TRAINING_SETS:
        raise AstSegError(f"The paper trains no models on {spec.title}, only on: {', '.join(TRAINING_SETS)}.")
    return {preset.row: preset for preset in PRESETS.values() if preset.benchmark == spec.name and preset.row}


def choose_rows(dataset: str, names: Sequence[str]) -> list[Preset]:
    """Return the presets of the named rows in the order of the names, or of all rows if none is named.

    Raises:
        AstSegError: there is no such data set or row.
    """
    rows = rows_of(dataset)
    if unknown := [name for name in names if name not in rows]:
        raise AstSegError(f"{dataset} has no row '{unknown[0]}'. It has: {', '.join(rows)}.")
    return [rows[name] for name in dict.fromkeys(names)] if names else list(rows.values())


def plan_runs(
    presets: Sequence[Preset], seeds: int, store: Store, out: Path, *, small: bool = False, steps: int | None = None
) -> list[PlannedRun]:
    """Plan each row with each seed, seed by seed, so that an early stop leaves every row with the same number of seeds.

    Args:
        presets: the rows.
        seeds: the number of seeds, which count from 0.
        store: the data; the recipes are adapted to its image size.
        out: the folder for the runs' folders.
        small: plan the rows' miniatures.
        steps: foreground steps of a miniature; by default 300.

    Raises:
        AstSegError: the data has no training images or no test images with masks, its images do not suit the model, or
            a number is out of range.
    """
    if seeds < 1 or (steps is not None and steps < 2):
        raise AstSegError(f"At least one seed and two steps are needed, not {seeds} and {steps}.")
    if steps is not None and not small:
        raise AstSegError("A row of the tables has the paper's number of steps; only a miniature takes others.")
    check_scored(store)
    if "train" not in store:
        raise AstSegError(f"{store.path} has no split 'train' to learn from.")
    recipes = {}
    for preset in presets:
        shrunk = miniature(preset.recipe, store.image_size, steps or MINIATURE_STEPS) if small else preset.recipe
        recipes[preset.name] = buildable(at_size(shrunk, store.image_size))
    data = str(store.path.resolve())
    kind = ", MINIATURE" if small else ""
    return [
        PlannedRun(
            preset,
            out / f"{preset.name}-seed-{seed}",
            RunSettings(f"{preset.description}{kind}, seed {seed}", recipes[preset.name], data, seed, preset.name),
        )
        for seed in range(seeds)
        for preset in presets
    ]


def evaluation_folder(run: Path, dataset: DatasetSpec) -> Path:
    """Return a run's subfolder for a data set to evaluate on only (Table 3), such as RUN/clevrtex-ood."""
    return run / dataset.name


def miniature(recipe: Recipe, image_size: tuple[int, int] = (64, 64), steps: int = MINIATURE_STEPS) -> Recipe:
    """Return a small version of a recipe that can be trained in minutes on a CPU.

    It keeps what distinguishes the rows: the training scenario, the refinement, the number of slots, the family of the
    feature network, isotropic or anisotropic scaling, and the entropy loss. Images, networks, batches and numbers of
    steps are smaller; schedules keep their shares of the steps, and the learning rate is ten times as high. The
    backbone is random in all rows, so the rows with a pretrained and a random backbone become the same. The initial
    scales and background activation are those of the recipes for a CPU, because with the paper's nothing is learned in
    so few steps.

    Args:
        recipe: a published recipe.
        image_size: height and width in pixels.
        steps: foreground steps; the background alone is trained for half as many.
    """
    start = cpu_recipe(image_size, recipe.architecture.num_slots)
    return Recipe(
        architecture=_small_architecture(recipe.architecture, start.architecture),
        background=replace(
            start.background,
            steps=max(1, steps // 2),
            batch_size=MINIATURE_BATCH,
            learning_rate=replace(start.background.learning_rate, warmup_steps=steps // 20),
            exponent_ramp_start=steps // 4,
            exponent_ramp_steps=steps // 5,
        ),
        foreground=_short_foreground(recipe.foreground, steps),
    )


def is_miniature(recipe: Recipe, published: Recipe) -> bool:
    """Tell whether a recipe is smaller than the published one: its images, its feature network, or its steps."""
    ours, theirs = recipe.architecture, published.architecture
    area, published_area = (height * width for height, width in (ours.image_size, theirs.image_size))
    return (
        area < published_area
        or _is_smaller(ours.feature_network, theirs.feature_network)
        or recipe.foreground.steps < published.foreground.steps
        or _background_steps(recipe) < _background_steps(published)
    )


def _is_smaller(network: str, other: str) -> bool:
    """Tell whether a feature network is a smaller one of the same family, or compact where the other is not."""
    compact = ("compact-unet", "wide-compact-unet")
    if network in compact or other in compact:
        return other not in compact or (network in compact and compact.index(network) < compact.index(other))
    return network.startswith("segformer") and other.startswith("segformer") and network < other


def coinciding_rows(runs: Sequence[PlannedRun]) -> list[tuple[str, ...]]:
    """Return groups of rows whose runs are identical, by name.

    Miniatures with a pretrained and with a random backbone are identical.
    """
    names: dict[tuple[Recipe, int], list[str]] = {}
    for run in runs:
        names.setdefault((run.settings.recipe, run.settings.seed), []).append(run.preset.name)
    return list(dict.fromkeys(tuple(alike) for alike in names.values() if len(alike) > 1))


def _small_architecture(shape: Architecture, start: Architecture) -> Architecture:
    """Return `shape` with the sizes and initial values of `start`, keeping what distinguishes the rows."""
    return replace(
        shape,
        image_size=start.image_size,
        glimpse_channels=(),
        feature_network=SMALLER_NETWORKS.get(shape.feature_network, shape.feature_network),
        latents=replace(
            shape.latents,
            min_inverse_scale=start.latents.min_inverse_scale,
            initial_inverse_scale=start.latents.initial_inverse_scale,
        ),
        initial_background_log_activation=start.initial_background_log_activation,
        background_network=start.background_network,
    )


def _short_foreground(training: ForegroundTraining, steps: int) -> ForegroundTraining:
    """Return a training of fewer steps, of which all its schedules keep their shares."""

    def share(count: int) -> int:
        return round(steps * count / training.steps)

    rate = training.learning_rate
    return replace(
        training,
        steps=steps,
        frozen_steps=share(training.frozen_steps),
        batch_size=MINIATURE_BATCH,
        learning_rate=replace(rate, peak=MINIATURE_RATE_FACTOR * rate.peak, warmup_steps=share(rate.warmup_steps)),
        entropy_warmup_steps=share(training.entropy_warmup_steps),
    )


def _background_steps(recipe: Recipe) -> int:
    """Return the steps for which the background is trained alone; baseline training has none."""
    return 0 if recipe.foreground.scenario == "baseline" else recipe.background.steps
