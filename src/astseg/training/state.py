"""The state of a training between two steps: what it must remember to go on as if it had never stopped."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from astseg._core.atomic_io import atomic_write
from astseg._core.errors import AstSegError
from astseg._core.settings_io import from_builtins, to_builtins
from astseg.model.ast_seg import AstSeg
from astseg.model.features.backbone_weights import load_backbone
from astseg.training.batches import TrainingSet
from astseg.training.config import Recipe, Scenario
from astseg.training.phases import Phase, PhaseName, phases

STATE_VERSION = 4


@dataclass(frozen=True)
class TrainingProgress:
    """How far a model was trained; a phase that has ended is named by the one that would follow."""

    phase: PhaseName
    step: int
    """Steps of the phase that are done."""
    steps: int
    finished: bool
    """Nothing would follow."""
    scenario: Scenario | None = None
    """None in files of an older astseg."""

    def __post_init__(self) -> None:
        if not 0 <= self.step <= self.steps:
            raise ValueError(f"impossible progress: {self}")


@dataclass
class TrainState:
    """All that decides how a training goes on, but for the images.

    Batches, learning rates and the weights of the losses are functions of the step alone, and torch's random sources
    are saved along.
    """

    recipe: Recipe
    seed: int
    num_images: int
    """How many images are learned from: with others, another training would go on."""
    model: AstSeg
    optimizer: torch.optim.Optimizer | None = None
    """None between two phases."""
    phase_index: int = 0
    """The phases that are done."""
    step: int = 0
    """The steps of the next one that are done."""
    seconds: dict[str, float] = field(default_factory=dict)
    """The time spent in each phase so far."""
    training_set: TrainingSet | None = field(default=None, repr=False)
    """What the batches of the phase are taken from; not saved."""

    @classmethod
    def begin(cls, recipe: Recipe, num_images: int, device: torch.device, seed: int = 0) -> Self:
        """Return the state before the first step. Seeds torch's random sources.

        Raises:
            AstSegError: the backbone's weights cannot be read.
        """
        torch.manual_seed(seed)
        return cls(recipe, seed, num_images, _pretrained(recipe, device))

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Self:
        """Read a state, executing nothing from the file. Puts torch's random sources back to where they were.

        Raises:
            AstSegError: no state is there, or it cannot be read by this version.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["version"] != STATE_VERSION:
                raise AstSegError(
                    f"{path} is a checkpoint of another version of astseg. Go on with the version that wrote it."
                )
            recipe = from_builtins(Recipe, content["recipe"])
            kept = {name: content[name] for name in ("seed", "num_images", "phase_index", "step", "seconds")}
            weights, optimizer, random = (content[name] for name in ("model", "optimizer", "random"))
        except FileNotFoundError as error:
            raise AstSegError(f"There is no checkpoint {path} to resume from. Start the run anew.") from error
        except AstSegError:
            raise
        except Exception as error:  # a damaged file makes torch's reader raise almost anything
            raise AstSegError(f"{path} is no readable checkpoint: {_first_line(error)}") from error
        state = cls(recipe, model=_built(recipe, device), **kept)
        try:
            state.model.load_state_dict(weights)
            if optimizer is not None:
                state.start_phase().load_state_dict(optimizer)
        except (RuntimeError, ValueError) as error:
            raise AstSegError(f"{path} holds the weights of another configuration. Start the run anew.") from error
        _restore_random_state(random)
        return state

    def save(self, path: Path) -> None:
        """Write the state; the one before it stays until the new one is whole.

        Raises:
            AstSegError: the place cannot be written, or the disk is full.
        """
        content = {
            **{name: value for name, value in vars(self).items() if name != "training_set"},
            "recipe": to_builtins(self.recipe),
            "model": self.model.state_dict(),
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "random": _random_state(),
            "version": STATE_VERSION,
        }
        with atomic_write(path) as partial:
            try:
                torch.save(content, partial)
            except RuntimeError as error:  # torch's own writer reports a full disk in this way
                raise OSError(_first_line(error)) from error

    @property
    def device(self) -> torch.device:
        """Where the model is trained."""
        return next(self.model.parameters()).device

    @property
    def finished(self) -> bool:
        """Whether all phases are done."""
        return self.phase_index == len(phases(self.recipe))

    @property
    def phase(self) -> Phase:
        """The phase that is under way or comes next; the last one if all are done."""
        return phases(self.recipe)[-1 if self.finished else self.phase_index]

    @property
    def steps_done(self) -> int:
        """The steps of all phases that are done."""
        return sum(phase.steps for phase in phases(self.recipe)[: self.phase_index]) + self.step

    @property
    def progress(self) -> TrainingProgress:
        """How far the model is."""
        phase = self.phase
        step = phase.steps if self.finished else self.step
        return TrainingProgress(phase.name, step, phase.steps, self.finished, self.recipe.foreground.scenario)

    def start_phase(self) -> torch.optim.Optimizer:
        """Return the optimizer of the phase; make it, and set the model's modes, if the phase has not begun."""
        if self.optimizer is None:
            self.optimizer = self.phase.start(self.model)
        return self.optimizer

    def end_phase(self) -> None:
        """Go to the beginning of the next phase."""
        self.phase_index, self.step, self.optimizer = self.phase_index + 1, 0, None

    def restart_phase(self, recipe: Recipe) -> None:
        """Go back to the beginning of the phase, with a new model of another recipe.

        Raises:
            AstSegError: the backbone's weights cannot be read.
        """
        self.recipe, self.model, self.step, self.optimizer = recipe, _pretrained(recipe, self.device), 0, None


def _built(recipe: Recipe, device: torch.device) -> AstSeg:
    return AstSeg(recipe.architecture, recipe.label_rule).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _pretrained(recipe: Recipe, device: torch.device) -> AstSeg:
    model = _built(recipe, device)
    if recipe.backbone:
        load_backbone(model, recipe.backbone)
    return model


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _random_state() -> dict[str, Any]:
    """Return the states of torch's random sources, of the CPU and of all GPUs."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def _restore_random_state(state: dict[str, Any]) -> None:
    """Put torch's random sources back. GPUs that were not there before keep theirs."""
    torch.set_rng_state(state["cpu"])
    for device, cuda_state in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(cuda_state, device)
