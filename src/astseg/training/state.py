"""The state of training between two steps: all that resuming needs to continue as if it had never stopped."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

import torch

from astseg._core.errors import AstSegError
from astseg._core.settings_io import SEED, check_whole_number, differing_settings
from astseg._core.text import format_value
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.product_convolution import keep_product_layout
from astseg.model.features.backbone_weights import load_backbone
from astseg.model.weights_check import describe_misfit, shapes_of
from astseg.training.batches import TrainingSet
from astseg.training.config import Recipe, Scenario
from astseg.training.data_identity import DataIdentity
from astseg.training.execution import PLAIN, Execution
from astseg.training.moments import restore_moments
from astseg.training.phases import Phase, PhaseName, phases
from astseg.training.random_states import random_states, restore_random_states
from astseg.training.saved_state import SavedState, first_line


@dataclass(frozen=True)
class TrainingProgress:
    """How far a model was trained; at the end of a phase, the next phase is named."""

    phase: PhaseName
    step: int
    """The number of steps of the phase that are done."""
    steps: int
    finished: bool
    """Whether all phases are done."""
    scenario: Scenario | None = None
    """None in files of an older astseg."""

    def __post_init__(self) -> None:
        if not 0 <= self.step <= self.steps:
            raise ValueError(f"impossible progress: {self}")


@dataclass
class TrainState:
    """All that determines how training continues, except the images and torch's random generators.

    `save` writes the states of these generators as well, and `load` restores them. Batches, learning rates and loss
    weights are functions of the step alone.
    """

    recipe: Recipe
    seed: int
    num_images: int
    """The number of training images, to notice if a run is resumed on others."""
    model: AstSeg
    data: DataIdentity | None = None
    """The identity of the training images; None in a checkpoint of an older astseg."""
    execution: Execution = PLAIN
    """How the steps are computed."""
    pretrained: bool = False
    """Whether the run began with a trained model: its slots then keep their places, and its slow features their
    projection."""
    optimizer: torch.optim.Optimizer | None = None
    """The phase's optimizer; None between two phases."""
    phase_index: int = 0
    """The number of phases that are done."""
    step: int = 0
    """The number of steps of the current phase that are done."""
    seconds: dict[str, float] = field(default_factory=dict)
    """The time spent in each phase so far."""
    training_set: TrainingSet | None = field(default=None, repr=False)
    """The images of the phase, with backgrounds and residuals, from which batches are taken; not saved."""

    @classmethod
    def begin(
        cls,
        recipe: Recipe,
        num_images: int,
        device: torch.device,
        seed: int = 0,
        execution: Execution = PLAIN,
        trained: AstSeg | None = None,
    ) -> Self:
        """Return the state before the first step. Seeds torch's random generators.

        Args:
            recipe: the recipe.
            num_images: the number of training images.
            device: where to train.
            seed: decides all that is random.
            execution: how the steps are computed.
            trained: a model whose weights the run begins with, in place of random ones and the backbone's.

        Raises:
            ValueError: the seed is none that the generators take.
            AstSegError: the backbone's weights cannot be read, or the trained model has another architecture.
        """
        check_whole_number("seed", seed, SEED)
        torch.manual_seed(seed)
        if trained is None:
            return cls(recipe, seed, num_images, _initialized(recipe, device), execution=execution)
        check_suits(trained.architecture, recipe)
        model = _built(recipe, device)
        model.load_state_dict(trained.state_dict())
        return cls(recipe, seed, num_images, model, execution=execution, pretrained=True)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Self:
        """Read a state without executing code from the file, and restore torch's random generators.

        Raises:
            DamagedCheckpointError: the file is not as it was written.
            AstSegError: there is no file, or this version cannot read it.
        """
        saved = SavedState.read(path)
        kept = ("recipe", "seed", "num_images", "data", "execution", "pretrained", "phase_index", "step", "seconds")
        try:
            if misfit := describe_misfit(saved.model, shapes_of(AstSeg, saved.recipe.architecture)):
                raise ValueError(misfit)
            state = cls(model=_built(saved.recipe, device), **{name: getattr(saved, name) for name in kept})
            state.model.load_state_dict(saved.model)
            if saved.optimizer is not None:
                restore_moments(state.start_phase(), saved.optimizer)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise AstSegError(f"{path} holds the weights of another configuration. Start a new run.") from error
        try:
            restore_random_states(saved.random)
        except RuntimeError as error:
            raise AstSegError(f"{path} is not a readable checkpoint: {first_line(error)}") from error
        return state

    def save(self, path: Path, former: Path | None = None) -> None:
        """Write the state; an older file stays until the new one is complete.

        Args:
            path: the file to write.
            former: where the older file is kept; by default it is replaced.

        Raises:
            AstSegError: the file cannot be written, or the disk is full.
        """
        own = {field.name: getattr(self, field.name) for field in fields(SavedState) if field.name != "random"}
        own["model"] = self.model.state_dict()
        own["optimizer"] = None if self.optimizer is None else self.optimizer.state_dict()
        SavedState(**own, random=random_states()).write(path, former)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @property
    def finished(self) -> bool:
        """Whether all phases are done."""
        return self.phase_index == len(phases(self.recipe))

    @property
    def phase(self) -> Phase:
        """The current or next phase; the last one if all are done."""
        return phases(self.recipe)[-1 if self.finished else self.phase_index]

    @property
    def steps_done(self) -> int:
        """The number of steps done in all phases together."""
        return sum(phase.steps for phase in phases(self.recipe)[: self.phase_index]) + self.step

    @property
    def progress(self) -> TrainingProgress:
        """How far the model is trained."""
        phase = self.phase
        step = phase.steps if self.finished else self.step
        return TrainingProgress(phase.name, step, phase.steps, self.finished, self.recipe.foreground.scenario)

    def start_phase(self) -> torch.optim.Optimizer:
        """Return the phase's optimizer, after creating it and setting the model's modes if the phase has not begun."""
        if self.optimizer is None:
            self.optimizer = self.phase.start(self.model)
        return self.optimizer

    def end_phase(self) -> None:
        """Go to the start of the next phase."""
        self.phase_index, self.step, self.optimizer = self.phase_index + 1, 0, None

    def restart_phase(self, recipe: Recipe) -> None:
        """Go back to the start of the first phase, with a new model of another recipe.

        If the run began with a trained model, only the background is new.

        Raises:
            ValueError: it is a later phase, and the new model would lack what those before have learned.
            AstSegError: the backbone's weights cannot be read.
        """
        if self.phase_index:
            raise ValueError(
                "only the first phase can start again with a new model, "
                f"not '{self.phase.name}', which needs what the phases before it have learned"
            )
        model = _built(recipe, self.device) if self.pretrained else _initialized(recipe, self.device)
        if self.pretrained:
            weights = self.model.state_dict().items()
            model.load_state_dict({name: value for name, value in weights if not name.startswith("background.")}, False)
        self.recipe, self.model, self.step, self.optimizer = recipe, model, 0, None


def check_suits(trained: Architecture, recipe: Recipe) -> None:
    """Raise unless a training by a recipe can begin with the weights of a trained model.

    Raises:
        AstSegError: the model has another architecture.
    """
    if differing := differing_settings(recipe.architecture, trained):
        size = f", and images of {format_value(trained.image_size)}" if "image_size" in differing else ""
        raise AstSegError(
            f"The trained model does not suit the recipe: {', '.join(differing)} of its architecture differ. "
            f"Take the recipe that it was trained by{size}."
        )


def _built(recipe: Recipe, device: torch.device) -> AstSeg:
    model = AstSeg(recipe.architecture, recipe.label_rule).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    keep_product_layout(model)
    return model  # type: ignore[no-any-return]


def _initialized(recipe: Recipe, device: torch.device) -> AstSeg:
    """Return a new model, with the weights of the backbone that the recipe names, if any."""
    model = _built(recipe, device)
    if recipe.backbone:
        load_backbone(model, recipe.backbone)
    return model
