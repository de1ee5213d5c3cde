"""The rows of the paper's tables as runs: which, with which seeds, where, and how far they are.

Every row is a preset (``training.presets``), and every run an ordinary run's folder. A miniature is made from the
preset by a rule, so that there is no second list that could disagree with the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import torch

from astseg._core.errors import AstSegError, OtherRunError
from astseg.data.catalog import TRAINING_SETS, DatasetSpec, find_dataset
from astseg.data.store import Store
from astseg.evaluation.scores_file import SCORES_FILE
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.features.build import FeatureNetwork
from astseg.training.config import BackgroundTraining, ForegroundTraining, Recipe
from astseg.training.presets import PRESETS, Preset, cpu_recipe
from astseg.training.run import RunSettings, check_scored, is_run, read_run

MINIATURE_STEPS = 300
MINIATURE_BATCH = 16
MINIATURE_RATE = 10.0
"""How much faster a miniature learns: it has a four-hundredth of the steps."""

SMALLER_NETWORKS: Mapping[FeatureNetwork, FeatureNetwork] = MappingProxyType(
    {
        "segformer-b1": "segformer-b0",
        "segformer-b2": "segformer-b0",
        "segformer-b3": "segformer-b0",
        "segformer-b4": "segformer-b0",
        "segformer-b5": "segformer-b0",
        "unet": "compact-unet",
    }
)
"""The smallest network of the same family. The U-net of Table 8 takes seconds a step on a CPU."""


class State(Enum):
    """How far a planned run is."""

    NEW = "new"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"


@dataclass(frozen=True)
class PlannedRun:
    """One row with one seed."""

    preset: Preset
    folder: Path
    settings: RunSettings

    def state(self) -> State:
        """Return how far it is.

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
    """Return the rows of a data set of the paper's tables by name, AST-Seg-B3-CT (``full``) first.

    Raises:
        AstSegError: there is no such data set, or the paper trains no models on it.
    """
    spec = find_dataset(dataset)
    if spec.name not in TRAINING_SETS:
        raise AstSegError(f"The paper trains no models on {spec.title}, but on: {', '.join(TRAINING_SETS)}.")
    return {preset.row: preset for preset in PRESETS.values() if preset.benchmark == spec.name and preset.row}


def choose_rows(dataset: str, names: Sequence[str]) -> list[Preset]:
    """Return the presets of some rows, in the order of the names; of all rows where none is named.

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
    """Plan rows times seeds, seed by seed, so that an early stop leaves every row with as many seeds.

    Args:
        presets: the rows.
        seeds: how many; they are counted from 0.
        store: the data; the recipes are brought to its size.
        out: the folder that gets a folder for each run.
        small: take the rows' miniatures.
        steps: foreground steps of a miniature; by default 300.

    Raises:
        AstSegError: the data has no test images with masks, or does not suit the model, or a number is impossible.
    """
    if seeds < 1 or (steps is not None and steps < 2):
        raise AstSegError(f"At least one seed and two steps are needed, not {seeds} and {steps}.")
    if steps is not None and not small:
        raise AstSegError("A row of the tables has the paper's number of steps; only a miniature takes others.")
    check_scored(store)
    if "train" not in store:
        raise AstSegError(f"{store.path} has no split 'train', so there would be nothing to learn from.")
    recipes = {}
    for preset in presets:
        shrunk = miniature(preset.recipe, store.image_size, steps or MINIATURE_STEPS) if small else preset.recipe
        recipes[preset.name] = _buildable(at_size(shrunk, store.image_size))
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
    """Return the folder in a run's for the scores on a data set that its model is only evaluated on (Table 3).

    ``astseg evaluate`` writes there if told the folder: RUN/clevrtex-ood.
    """
    return run / dataset.name


def at_size(recipe: Recipe, image_size: tuple[int, int]) -> Recipe:
    """Return a recipe for images of another height and width.

    The glimpses follow as Table 7 has them for that size.
    """
    if recipe.architecture.image_size == image_size:
        return recipe
    return replace(recipe, architecture=replace(recipe.architecture, image_size=image_size, glimpse_channels=()))


def miniature(recipe: Recipe, image_size: tuple[int, int] = (64, 64), steps: int = MINIATURE_STEPS) -> Recipe:
    """Return a recipe that is about the same thing, and can be trained in minutes on a CPU.

    It keeps what tells the rows apart: the training scenario, the refinement, the number of slots, the family of the
    feature network, isotropic or anisotropic scaling, and the entropy loss. Smaller are the images, the networks,
    the batches and the steps; schedules keep their shares of the steps, and the learning rate is ten times as high.
    The backbone is random in all rows, so that a pretrained and a random backbone become the same. The start (scales,
    the background's activation) is that of the recipes for a CPU, because the paper's learns nothing in so few steps.

    Args:
        recipe: a published one.
        image_size: height and width in pixels.
        steps: foreground steps; the background alone gets half as many.
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
        or ours.feature_network != theirs.feature_network
        or recipe.foreground.steps < published.foreground.steps
        or _background_steps(recipe) < _background_steps(published)
    )


def coinciding_rows(runs: Sequence[PlannedRun]) -> list[tuple[str, ...]]:
    """Return the names of rows that have become the same.

    A miniature cannot tell a pretrained backbone from a random one.
    """
    names: dict[tuple[Recipe, int], list[str]] = {}
    for run in runs:
        names.setdefault((run.settings.recipe, run.settings.seed), []).append(run.preset.name)
    return list(dict.fromkeys(tuple(alike) for alike in names.values() if len(alike) > 1))


def _small_architecture(shape: Architecture, start: Architecture) -> Architecture:
    """Return a shape with the sizes and the initial values of the start, and all that a row is about of its own."""
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
    def share(count: int) -> int:
        return round(steps * count / training.steps)

    rate = training.learning_rate
    return replace(
        training,
        steps=steps,
        frozen_steps=share(training.frozen_steps),
        batch_size=MINIATURE_BATCH,
        learning_rate=replace(rate, peak=MINIATURE_RATE * rate.peak, warmup_steps=share(rate.warmup_steps)),
        entropy_warmup_steps=share(training.entropy_warmup_steps),
    )


def _background_steps(recipe: Recipe) -> int:
    """Steps of the background alone; baseline training has none."""
    training: BackgroundTraining = recipe.background
    return 0 if recipe.foreground.scenario == "baseline" else training.steps


def _buildable(recipe: Recipe) -> Recipe:
    """Return the recipe, once its networks have been built without memory; they refuse images that are too small."""
    try:
        with torch.device("meta"):
            AstSeg(recipe.architecture, recipe.label_rule)
    except ValueError as error:
        raise AstSegError(f"These images do not suit the model: {error}.") from error
    return recipe
