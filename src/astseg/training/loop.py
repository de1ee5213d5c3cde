"""The training loop: the run, the phase, the step.

A run can stop after any step. All it needs to go on is in its checkpoint: the batches, the learning rates and the
weights of the losses are functions of the step alone. On a CPU with as many threads the result is identical; on a GPU
it is up to rounding, because some gradients are summed there in whatever order they come.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from astseg._core.image_conversion import to_uint8_images
from astseg.config import Recipe, Scenario
from astseg.data.store import Bytes
from astseg.errors import AstSegError, NonFiniteWeightsError
from astseg.files import atomic_folder, atomic_write
from astseg.model.ast_seg import AstSeg
from astseg.model.backbones import load_backbone
from astseg.plain import to_builtins
from astseg.training.batches import Pictures, batch_indices
from astseg.training.checkpoints import (
    Checkpoint,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from astseg.training.complexity import COMPLEXITY_STEPS, backgrounds_are_complex, complex_background_steps
from astseg.training.curriculum import (
    Losses,
    Phase,
    PhaseName,
    background_losses,
    foreground_losses,
    learning_rate,
    phases,
    start_phase,
)
from astseg.training.health import health
from astseg.training.places import initialize_slot_prior
from astseg.training.revival import REVIVAL_INTERVAL, REVIVAL_PICTURES, reinitialize_dead_slots

CHECKPOINT_FILE = "checkpoint.pt"
BACKGROUNDS_FILE = "backgrounds.npy"
MODEL_FOLDER = "model"
PROGRESS_FILE = "progress.json"

PAINTED_AT_ONCE = 128
"""Images whose backgrounds are painted together."""


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


@dataclass(frozen=True)
class Report:
    """What a run says of itself now and then."""

    phase: Phase
    step: int
    """Steps of the phase that are done."""
    learning_rate: float
    losses: dict[str, float]
    health: dict[str, float]
    """Empty while the background is trained alone."""
    seconds: float
    """Time spent in the phase so far."""


class Callback:
    """Whoever wants to know how a run goes. Each method does nothing until it is overridden."""

    def phase_started(self, trainer: "Trainer", phase: Phase, done: int) -> None:
        """A phase begins, or goes on after so many steps."""

    def step_done(self, trainer: "Trainer", phase: Phase, done: int) -> None:
        """A step is done: called every time, so it must be quick."""

    def reported(self, trainer: "Trainer", report: Report) -> None:
        """The losses and the health of a step."""


class Trainer:
    """One training run.

    Args:
        recipe: the model and how to train it.
        images: the training pictures, uint8, N x H x W x 3, of the model's size.
        folder: where the checkpoint, the backgrounds and the model go.
        device: where to train.
        seed: decides the first weights, the order of the pictures and what dropout drops.
        callbacks: told how it goes.
        report_every: steps between reports.
        save_every: seconds between checkpoints.

    Raises:
        ValueError: these are no pictures of the model's size.
        AstSegError: the backbone's weights cannot be read.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: Bytes,
        folder: Path | str,
        device: torch.device | str,
        seed: int = 0,
        callbacks: Sequence[Callback] = (),
        report_every: int = 20,
        save_every: float = 120.0,
    ) -> None:
        if not len(images) or images.shape[1:] != (*recipe.architecture.image_size, 3) or images.dtype != np.uint8:
            height, width = recipe.architecture.image_size
            raise ValueError(
                f"a Trainer takes pictures as uint8 of shape N x {height} x {width} x 3, "
                f"not {images.dtype} of shape {images.shape}"
            )
        self.recipe = recipe
        self.folder = Path(folder)
        self.device = torch.device(device)
        self.seed = seed
        self.report_every = report_every
        self.save_every = save_every
        self.seconds: dict[str, float] = {}
        self.images = Pictures(images, self.device)
        self._callbacks = callbacks
        self._phase = 0
        self._step = 0
        self._resumed_optimizer: dict[str, object] | None = None
        torch.manual_seed(seed)
        self.model = self._build()

    @classmethod
    def resume(
        cls,
        images: Bytes,
        folder: Path | str,
        device: torch.device | str,
        callbacks: Sequence[Callback] = (),
        report_every: int = 20,
        save_every: float = 120.0,
    ) -> "Trainer":
        """A trainer that goes on where the run in a folder stopped.

        Raises:
            AstSegError: the folder holds no readable checkpoint, or one of another configuration.
        """
        file = Path(folder) / CHECKPOINT_FILE
        checkpoint = load_checkpoint(file)
        recipe = replace(checkpoint.recipe, backbone=None)  # the checkpoint's weights follow
        if images.shape[1:3] != recipe.architecture.image_size:
            raise AstSegError(
                f"{file} is of a run on pictures of {_sides(recipe.architecture.image_size)}, but these have "
                f"{_sides(images.shape[1:3])}. Go on with the data that the run began with, or start anew."
            )
        if len(images) != checkpoint.pictures:
            raise AstSegError(
                f"{file} is of a run on {checkpoint.pictures} pictures, but these are {len(images)}. "
                "Go on with the data that the run began with, or start anew."
            )
        trainer = cls(recipe, images, folder, device, checkpoint.seed, callbacks, report_every, save_every)
        trainer.recipe = checkpoint.recipe
        try:
            trainer.model.load_state_dict(checkpoint.model)
        except RuntimeError as error:
            raise AstSegError(f"{file} holds the weights of another configuration. Start the run anew.") from error
        trainer.seconds = checkpoint.seconds
        trainer._phase, trainer._step = checkpoint.phase, checkpoint.step
        trainer._resumed_optimizer = checkpoint.optimizer
        restore_random_state(checkpoint.random)
        return trainer

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until ``stop`` says so after a step; returns whether the end was reached.

        The checkpoint and the model are saved in both cases.

        Raises:
            NonFiniteWeightsError: the weights are no numbers any more.
        """
        while self._phase < len(phases(self.recipe)):
            if not self._run_phase(phases(self.recipe)[self._phase], stop):
                return False
            if self._phase < len(phases(self.recipe)) and stop():
                return False
        return True

    def phase_number(self, phase: Phase) -> int:
        """Where a phase stands in the scenario, counted from 0."""
        return [other.name for other in phases(self.recipe)].index(phase.name)

    def steps_before(self, phase: Phase) -> int:
        """The steps of all phases before this one."""
        return sum(earlier.steps for earlier in phases(self.recipe)[: self.phase_number(phase)])

    def save(self, optimizer: torch.optim.Optimizer | None) -> None:
        """Write a checkpoint.

        Raises:
            NonFiniteWeightsError: the weights are no numbers any more.
        """
        self._check_weights()
        checkpoint = Checkpoint(
            self.recipe,
            self.seed,
            len(self.images),
            self._phase,
            self._step,
            dict(self.seconds),
            self.model.state_dict(),
            optimizer.state_dict() if optimizer else {},
            random_state(),
        )
        save_checkpoint(checkpoint, self.folder / CHECKPOINT_FILE)

    def _build(self) -> AstSeg:
        model = AstSeg(self.recipe.architecture)
        if self.recipe.backbone:
            load_backbone(model, self.recipe.backbone)
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _run_phase(self, phase: Phase, stop: Callable[[], bool]) -> bool:
        optimizer = start_phase(self.model, phase, self.recipe)
        if self._resumed_optimizer:
            optimizer.load_state_dict(self._resumed_optimizer)
        self._resumed_optimizer = None
        for callback in self._callbacks:
            callback.phase_started(self, phase, self._step)
        backgrounds = Pictures(self._frozen_backgrounds(), self.device) if phase.name == "objects" else None
        if backgrounds is not None and self.model.places is not None and self._step == 0:
            initialize_slot_prior(self.model, self.images, backgrounds, self.seed)
        earlier = self.seconds.get(phase.name, 0.0)
        started = saved = time.monotonic()
        while self._step < phase.steps:
            losses = self._train_step(phase, optimizer, backgrounds)
            self._step += 1
            self.seconds[phase.name] = earlier + time.monotonic() - started
            for callback in self._callbacks:
                callback.step_done(self, phase, self._step)
            if self._step % self.report_every == 0 or self._step == phase.steps:
                self._report(phase, losses)
            del losses  # its rendering would lie in memory beside that of the next step
            if self._restart_with_complex_background(phase):
                self.save(None)
                return True
            if self._step < phase.steps and stop():
                self._save_all(optimizer)
                return False
            if time.monotonic() - saved > self.save_every:
                self.save(optimizer)
                saved = time.monotonic()
        self._phase, self._step = self._phase + 1, 0
        self._save_all(None)
        return True

    def _train_step(self, phase: Phase, optimizer: torch.optim.Optimizer, backgrounds: Pictures | None) -> Losses:
        settings = self.recipe.background if phase.name == "background" else self.recipe.foreground
        indices = batch_indices(self.seed, self._phase, self._step, settings.batch_size, len(self.images))
        images = self.images[indices]
        if phase.name == "background":
            losses = background_losses(self.model, images, self._step, self.recipe)
        else:
            known = None if backgrounds is None else backgrounds[indices]
            losses = foreground_losses(self.model, images, known, phase.offset + self._step, self.recipe)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(phase, self._step, self.recipe)
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if phase.name != "background":
            self._revive_slots(phase.offset + self._step + 1, optimizer)
        return losses

    def _revive_slots(self, done: int, optimizer: torch.optim.Optimizer) -> None:
        if done % REVIVAL_INTERVAL == 0 and done <= self.recipe.foreground.revive_slots_until:
            chosen = batch_indices(self.seed, self._phase, self._step, REVIVAL_PICTURES, len(self.images))
            reinitialize_dead_slots(self.model, optimizer, self.images[chosen])

    def _check_weights(self) -> None:
        """Stop before weights that are no numbers are saved over those that were.

        Raises:
            NonFiniteWeightsError: a weight is not finite.
        """
        weights = (value for value in self.model.state_dict().values() if value.is_floating_point())
        if not all(bool(torch.isfinite(value).all()) for value in weights):
            raise NonFiniteWeightsError(
                "Training ran away: the weights are no numbers any more. What was saved before is kept, but would come "
                "to the same. Begin anew with another --seed and another --out."
            )

    def _report(self, phase: Phase, losses: Losses) -> None:
        if not torch.isfinite(losses.total.detach()):  # soon, not only when something is saved
            self._check_weights()
        terms = {name: float(term.detach()) for name, term in losses.terms.items()}
        signs = {}
        if losses.rendering is not None:
            background_activation = float(self.model.background_log_activation.detach())
            signs = health(losses.rendering, background_activation)._asdict()
        report = Report(
            phase=phase,
            step=self._step,
            learning_rate=learning_rate(phase, self._step - 1, self.recipe),
            losses={"total": float(losses.total.detach()), **terms},
            health=signs,
            seconds=self.seconds[phase.name],
        )
        for callback in self._callbacks:
            callback.reported(self, report)

    def _save_all(self, optimizer: torch.optim.Optimizer | None) -> None:
        self._check_weights()
        # The model first: a checkpoint that says that all is done would leave nothing to write a model that failed.
        with atomic_folder(self.folder / MODEL_FOLDER, replace=True) as partial:
            self.model.save_pretrained(partial)
            (partial / PROGRESS_FILE).write_text(json.dumps(to_builtins(self._progress())) + "\n")
        self.save(optimizer)

    def _progress(self) -> TrainingProgress:
        finished = self._phase == len(phases(self.recipe))
        phase = phases(self.recipe)[-1 if finished else self._phase]
        step = phase.steps if finished else self._step
        return TrainingProgress(phase.name, step, phase.steps, finished, self.recipe.foreground.scenario)

    def _restart_with_complex_background(self, phase: Phase) -> bool:
        """Begin phase 1 again with the complex channels if the backgrounds turn out to need them (AE-NE)."""
        settings = self.recipe.background
        if not settings.automatic_complexity or phase.name != "background":
            return False
        if self._step != min(COMPLEXITY_STEPS, phase.steps) or self.recipe.architecture.background_network != "simple":
            return False
        if not backgrounds_are_complex(self.model, self.images, settings.batch_size):
            return False
        self.recipe = replace(
            self.recipe,
            architecture=replace(self.recipe.architecture, background_network="complex", background_layout=None),
            background=replace(settings, steps=complex_background_steps(settings, len(self.images))),
        )
        self.model = self._build()
        self._step = 0
        return True

    def _frozen_backgrounds(self) -> Bytes:
        """The backgrounds of all training pictures as bytes, painted once and kept beside the checkpoint."""
        path = self.folder / BACKGROUNDS_FILE
        if not (self._step and path.is_file()):
            with atomic_write(path) as partial:
                paint_backgrounds(self.model, self.images, partial)
        backgrounds: Bytes = np.load(path, mmap_mode="r")
        return backgrounds


@torch.no_grad()
def paint_backgrounds(model: AstSeg, images: Pictures, path: Path, batch_size: int = PAINTED_AT_ONCE) -> None:
    """Write the backgrounds of all pictures as uint8, N x H x W x 3, with the background network as it is."""
    assert model.background is not None
    model.background.eval()
    shape = (len(images), *model.image_size, 3)
    # Written, not mapped: where the disk is full, a map kills the process without a word.
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, len(images), batch_size):
            indices = np.arange(start, min(start + batch_size, len(images)))
            file.write(np.ascontiguousarray(to_uint8_images(model.background(images[indices]).image)).data)


def _sides(image_size: Sequence[int]) -> str:
    return "x".join(map(str, image_size))
