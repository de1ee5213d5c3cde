"""The training loop: the run, the step; a batch's loss is the phase's.

A run can stop after any step. All it needs to go on is in its state: the batches, the learning rates and the weights
of the losses are functions of the step alone. On a CPU with as many threads the result is identical; on a GPU it is up
to rounding, because some gradients are summed there in whatever order they come.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from astseg._core.atomic_io import atomic_folder
from astseg._core.errors import AstSegError, NonFiniteWeightsError
from astseg._core.settings_io import to_builtins
from astseg._core.text import format_value
from astseg.data.store import Bytes
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import Batch, TrainingImages, batch_indices, flipped
from astseg.training.callbacks import Callback, StepMetrics
from astseg.training.complexity import ComplexityCheck
from astseg.training.config import Recipe
from astseg.training.dead_slots import DeadSlotReset
from astseg.training.diagnostics import health
from astseg.training.phases import Losses, Phase
from astseg.training.state import TrainState

CHECKPOINT_FILE = "checkpoint.pt"
MODEL_FOLDER = "model"
PROGRESS_FILE = "progress.json"


class Trainer:
    """One training run.

    Args:
        start: the recipe of a run that begins, or the state of one that goes on.
        images: the training images, uint8, N x H x W x 3, of the model's size.
        folder: where the checkpoint, the backgrounds and the model go.
        device: where to train.
        seed: of a run that begins: decides the first weights, the order of the images and what dropout drops.
        callbacks: told how it goes, after those that the recipe asks for.
        report_every: steps between reports.
        save_every: seconds between checkpoints.

    Raises:
        ValueError: these are no images of the model's size.
        AstSegError: the backbone's weights cannot be read.
    """

    def __init__(
        self,
        start: Recipe | TrainState,
        images: Bytes,
        folder: Path | str,
        device: torch.device | str,
        seed: int = 0,
        callbacks: Sequence[Callback] = (),
        report_every: int = 20,
        save_every: float = 120.0,
    ) -> None:
        recipe = start.recipe if isinstance(start, TrainState) else start
        if not len(images) or images.shape[1:] != (*recipe.architecture.image_size, 3) or images.dtype != np.uint8:
            height, width = recipe.architecture.image_size
            raise ValueError(
                f"a Trainer takes images as uint8 of shape N x {height} x {width} x 3, "
                f"not {images.dtype} of shape {images.shape}"
            )
        device = torch.device(device)
        self.state = start if isinstance(start, TrainState) else TrainState.begin(start, len(images), device, seed)
        self.images = TrainingImages(images, device)
        self.folder = Path(folder)
        self.report_every = report_every
        self.save_every = save_every
        self.callbacks = (*recipe_callbacks(recipe, self.images), *callbacks)

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
        """Return a trainer that goes on where the run in a folder stopped.

        Raises:
            AstSegError: the folder holds no readable checkpoint, or one of another configuration.
        """
        file = Path(folder) / CHECKPOINT_FILE
        state = TrainState.load(file, torch.device(device))
        here, there = images.shape[1:3], state.recipe.architecture.image_size
        difference = ""
        if here != there:
            difference = f"images of {format_value(there)}, but these have {format_value(here)}"
        elif len(images) != state.num_images:
            difference = f"{state.num_images} images, but these are {len(images)}"
        if difference:
            raise AstSegError(
                f"{file} is of a run on {difference}. Go on with the data that the run began with, or start anew."
            )
        return cls(state, images, folder, device, callbacks=callbacks, report_every=report_every, save_every=save_every)

    @property
    def recipe(self) -> Recipe:
        """What is trained; the background network may turn out to be another than was asked for."""
        return self.state.recipe

    @property
    def model(self) -> AstSeg:
        """The model as it is now."""
        return self.state.model

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until ``stop`` says so after a step; returns whether the end was reached.

        The checkpoint and the model are saved in both cases.

        Raises:
            NonFiniteWeightsError: the weights are no numbers any more.
        """
        while not self.state.finished:
            if not self._run_phase(self.state.phase, stop):
                return False
            if not self.state.finished and stop():
                return False
        return True

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            NonFiniteWeightsError: the weights are no numbers any more.
        """
        self._check_weights()
        self.state.save(self.folder / CHECKPOINT_FILE)

    def _run_phase(self, phase: Phase, stop: Callable[[], bool]) -> bool:
        """Run a phase to its end, or until it is to begin again; return False if it was stopped."""
        state = self.state
        optimizer = state.start_phase()
        for callback in self.callbacks:
            callback.on_phase_start(state)
        state.training_set = phase.prepare(
            state.model, self.images, self.folder, state.seed, begun=state.step > 0, progress=self._tell
        )
        earlier = state.seconds.get(phase.name, 0.0)
        started = saved = time.monotonic()
        while state.step < phase.steps:
            indices = batch_indices(
                state.seed, state.phase_index, state.step, phase.settings.batch_size, len(self.images)
            )
            batch = state.training_set[indices]
            if phase.flips:
                batch = flipped(batch, state.seed, state.phase_index, state.step)
            losses = train_step(state.model, optimizer, phase, state.step, batch)
            state.step += 1
            state.seconds[phase.name] = earlier + time.monotonic() - started
            actions = [action for callback in self.callbacks if (action := callback.on_step_end(state))]
            if state.step % self.report_every == 0 or state.step == phase.steps:
                self._report(phase, losses)
            del losses  # its rendering would lie in memory beside that of the next step
            if actions:
                state.restart_phase(actions[0].recipe)
                self.save()
                return True
            if state.step < phase.steps and stop():
                self._save_all()
                return False
            if time.monotonic() - saved > self.save_every:
                self.save()
                saved = time.monotonic()
        state.end_phase()
        self._save_all()
        return True

    def _tell(self, what: str, done: int, total: int) -> None:
        for callback in self.callbacks:
            callback.on_preparation(what, done, total)

    def _check_weights(self) -> None:
        """Stop before weights that are no numbers are saved over those that were.

        Raises:
            NonFiniteWeightsError: a weight is not finite.
        """
        weights = (value for value in self.model.state_dict().values() if value.is_floating_point())
        if not all(bool(torch.isfinite(value).all()) for value in weights):
            raise NonFiniteWeightsError(
                "Training ran away: the weights are no numbers any more. What was saved before is kept, but would come "
                "to the same. Begin anew with another seed, in another folder."
            )

    def _report(self, phase: Phase, losses: Losses) -> None:
        if not torch.isfinite(losses.total.detach()):  # soon, not only when something is saved
            self._check_weights()
        terms = {name: float(term.detach()) for name, term in losses.terms.items()}
        signs = {}
        if losses.rendering is not None:
            background_activation = float(self.model.background_log_activation.detach())
            signs = health(losses.rendering, background_activation)._asdict()
        metrics = StepMetrics(
            phase=phase,
            step=self.state.step,
            learning_rate=phase.learning_rate(self.state.step - 1),
            losses={"total": float(losses.total.detach()), **terms},
            health=signs,
            seconds=self.state.seconds[phase.name],
        )
        for callback in self.callbacks:
            callback.on_metrics(self.state, metrics)

    def _save_all(self) -> None:
        self._check_weights()
        # The model first: a checkpoint that says that all is done would leave nothing to write a model that failed.
        with atomic_folder(self.folder / MODEL_FOLDER, replace=True) as partial:
            self.model.save_pretrained(partial)
            (partial / PROGRESS_FILE).write_text(json.dumps(to_builtins(self.state.progress)) + "\n")
        self.save()


def train_step(
    model: AstSeg,
    optimizer: torch.optim.Optimizer,
    phase: Phase,
    step: int,
    batch: Batch,
) -> Losses:
    """Change the weights by one step: whatever a step may bring beside its loss has its place here.

    Args:
        model: the model, with the phase started.
        optimizer: the phase's.
        phase: what is trained, and on which loss.
        step: counted from 0 at the beginning of the phase.
        batch: what the step learns from.

    Returns:
        The loss before the step.
    """
    losses = phase.losses(model, batch, step)
    for group in optimizer.param_groups:
        group["lr"] = phase.learning_rate(step)
    optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return losses


def recipe_callbacks(recipe: Recipe, images: TrainingImages) -> list[Callback]:
    """Return what has a hand in the training because the recipe asks for it."""
    callbacks: list[Callback] = []
    if recipe.foreground.reinitialize_slots_until:
        callbacks.append(DeadSlotReset(recipe.foreground.reinitialize_slots_until))
    if recipe.background.automatic_complexity:
        callbacks.append(ComplexityCheck(images))
    return callbacks
