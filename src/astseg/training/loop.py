"""The training loop: a run, phase by phase. A step is in `training.step`, and the loss belongs to the phase.

A run can stop after any step and resume from its state: batches, learning rates and loss weights are functions of the
step alone. On a CPU with the same number of threads the result is identical; on a GPU it is equal up to rounding,
because some gradients are summed there in no fixed order.

Several processes that have joined (`astseg._core.processes`) train one run: each sees its part of every batch, and all
hold the same weights. The result is that of one process up to the order of sums (`astseg.training.global_batch`). The
first process writes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from astseg._core import processes
from astseg._core.arguments import as_path, check_kind
from astseg._core.devices import find_device
from astseg._core.errors import AstSegError
from astseg.data.store import Bytes
from astseg.model.ast_seg import AstSeg
from astseg.training.batch_part import BatchPart, mean_over_batch, own_part
from astseg.training.batches import Batch, TrainingImages, TrainingSet, batch_indices, flipped
from astseg.training.callbacks import Callback, RestartPhase, StepMetrics, has_losses
from astseg.training.checkpoints import (
    CHECKPOINT_FILE,
    MODEL_FOLDER,
    check_new_run,
    read_checkpoint,
    write_checkpoint,
    write_model,
)
from astseg.training.compilation import LossFunction, compiled_losses
from astseg.training.config import Recipe
from astseg.training.data_identity import identify
from astseg.training.dead_slots import check_resettable
from astseg.training.diagnostics import measure_diagnostics
from astseg.training.divergence import check_loss, check_weights
from astseg.training.execution import PLAIN, Execution
from astseg.training.memory import check_batches
from astseg.training.more_losses import with_more_losses
from astseg.training.phases import Losses, Phase
from astseg.training.preparation import prepare_phase
from astseg.training.random_states import random_states, restore_random_states
from astseg.training.recipe_callbacks import recipe_callbacks
from astseg.training.shared_run import check_sharing, copy_from_first
from astseg.training.state import TrainState
from astseg.training.step import train_step
from astseg.training.trainer_arguments import check_arguments, check_array, differing_images


class Trainer:
    """One training run.

    A new run needs a folder of its own. `Trainer.resume` continues the run in a folder.

    Args:
        start: the recipe of a new run, or the state of a run that continues in its folder.
        images: the training images, uint8, N x H x W x 3, of the model's size.
        folder: where the checkpoint, the backgrounds and the model are saved; the same for all of several processes.
        device: where to train; ``auto`` for a GPU if there is one.
        seed: for a new run: decides the initial weights, the order of the images and dropout; from 0 to 2^64 - 1.
        callbacks: callbacks that run after those of the recipe; each of several processes runs its own.
        report_every: steps between reports.
        save_every: seconds between checkpoints.
        images_sha256: the SHA-256 of the images' file, if known. Without it, a run on other images may be resumed,
            because only some of many images are compared.
        execution: for a new run: how its steps are computed.
        model: for a new run: a trained model whose weights the run begins with. Its slots keep their places, and its
            slow features their projection.

    Raises:
        ValueError: the images are not uint8 of the model's size, there are none, or a number is out of range.
        RunExistsError: the run is new, and the folder holds one already.
        TypeError: an argument has another type: the recipe, the images, a callback, the execution or the model.
        MemoryShortageError: the images of a batch alone take more memory than there is.
        AstSegError: there is no such device; the backbone's weights cannot be read; there are more processes than
            images in a batch, or several although the loss is compiled; a network of the user's own is not registered,
            or has no layer in which to reset slots; or the trained model has another architecture.
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
        images_sha256: str = "",
        execution: Execution = PLAIN,
        model: AstSeg | None = None,
    ) -> None:
        folder, device = as_path("folder", folder), find_device(device)
        recipe = start.recipe if isinstance(start, TrainState) else start
        check_arguments(recipe, images, callbacks, report_every, save_every)
        check_kind("images_sha256", images_sha256, str)
        check_kind("execution", execution, Execution)
        check_kind("model", model, AstSeg, optional=True)
        check_batches(recipe, device, (start.execution if isinstance(start, TrainState) else execution).parts)
        self.folder = folder
        self._is_new = not isinstance(start, TrainState)
        self._check_folder()
        if isinstance(start, TrainState):
            self.state = start
        else:
            self.state = TrainState.begin(start, len(images), device, seed, execution, model)
        check_resettable(self.state.model, recipe)
        self._random = random_states()
        """Restored when training goes on, so that random numbers drawn by others in the meantime change nothing."""
        check_sharing(recipe, self.state.execution)
        known = "" if self.state.data is None else self.state.data.file_sha256
        self.state.data = identify(images, images_sha256 or known)
        self.images = TrainingImages(images, device)
        self.report_every = report_every
        self.save_every = save_every
        self._given_callbacks = tuple(callbacks)
        self.callbacks = self._callbacks_of(recipe)

    @classmethod
    def resume(
        cls,
        images: Bytes,
        folder: Path | str,
        device: torch.device | str,
        callbacks: Sequence[Callback] = (),
        report_every: int = 20,
        save_every: float = 120.0,
        images_sha256: str = "",
    ) -> "Trainer":
        """Return a trainer that continues the run in a folder, from the newest checkpoint that is whole.

        Raises:
            TypeError: the images are no array, or a callback is none.
            AstSegError: the folder holds no readable checkpoint, or one of another configuration or of other images,
                or there is no such device.
        """
        check_array(images)
        folder, device = as_path("folder", folder), find_device(device)
        with processes.first_before_others():  # which may move a damaged one out of the way
            state, note = read_checkpoint(folder, device)
        if difference := differing_images(state, images, images_sha256):
            raise AstSegError(
                f"{folder / CHECKPOINT_FILE} is of a run on {difference}. "
                "Resume it with its own data, or start a new run."
            )
        trainer = cls(
            state,
            images,
            folder,
            device,
            callbacks=callbacks,
            report_every=report_every,
            save_every=save_every,
            images_sha256=images_sha256,
        )
        if note:
            trainer._note(note)
        return trainer

    @property
    def recipe(self) -> Recipe:
        """The recipe, whose background network may have been replaced during training."""
        return self.state.recipe

    @property
    def model(self) -> AstSeg:
        """The model in its current state."""
        return self.state.model

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until ``stop`` returns True after a step; return whether the end was reached.

        The checkpoint and the model are saved in both cases. If a run is finished already, a missing model is saved
        again. Several processes stop together as soon as one of them is to stop.

        Raises:
            NonFiniteWeightsError: a weight is no longer finite.
            LostProcessError: another process has ended.
            RunExistsError: another run began in the folder since this one was made.
        """
        self._begin()
        restore_random_states(self._random)
        try:
            if self.state.finished and not (self.folder / MODEL_FOLDER).is_dir():
                self._save_model()
            while not self.state.finished:
                if not self._run_phase(self.state.phase, stop):
                    return False
                if not self.state.finished and processes.any_of(stop()):
                    return False
            return True
        finally:
            self._random = random_states()

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            NonFiniteWeightsError: a weight is no longer finite.
            RunExistsError: another run began in the folder since this one was made.
        """
        self._begin()
        check_weights(self.model)
        if processes.is_first():
            write_checkpoint(self.state, self.folder)

    def _begin(self) -> None:
        """Take the folder for this run, whose own files may lie there from now on."""
        self._check_folder()
        self._is_new = False

    def _check_folder(self) -> None:
        if self._is_new and processes.is_first():
            check_new_run(self.folder, " In Python: astseg.Trainer.resume(images, folder, device).run().")

    def _run_phase(self, phase: Phase, stop: Callable[[], bool]) -> bool:
        """Run a phase until it ends or has to restart; return False if it was stopped."""
        state = self.state
        optimizer, losses_of = state.start_phase(), self._losses_of(phase)
        for callback in self.callbacks:
            callback.on_phase_start(state)
        training_set = state.training_set = self._prepare()
        part = own_part(phase.settings.batch_size)
        earlier = state.seconds.get(phase.name, 0.0)
        started = saved = time.monotonic()
        for batch in self._batches(phase, training_set, part):
            losses = train_step(state.model, optimizer, phase, state.step, batch, part, state.execution, losses_of)
            state.step += 1
            state.seconds[phase.name] = earlier + time.monotonic() - started
            restart = self._follow_step(phase, losses, part)
            del losses  # or its rendering would stay in memory during the next step
            if restart is not None:
                self._restart_phase(restart.recipe)
                self.save()
                return True
            if state.step < phase.steps and processes.any_of(stop()):
                self._save_all()
                return False
            if time.monotonic() - saved > self.save_every:
                self.save()
                saved = time.monotonic()
        phase.finish(state.model, self.images)
        state.end_phase()
        self._save_all()
        return True

    def _losses_of(self, phase: Phase) -> LossFunction:
        """Return the phase's losses, compiled if the run is, with what callbacks add.

        Raises:
            AstSegError: callbacks add losses to compiled ones.
        """
        compiled, adding = self.state.execution.compiled, [one for one in self.callbacks if has_losses(one)]
        if compiled and adding:
            raise AstSegError("Losses of your own (Callback.more_losses) cannot be compiled. Do not compile.")
        if compiled:
            return compiled_losses(phase, self.state.device)
        return with_more_losses(phase.losses, adding, self.state) if adding else phase.losses

    def _batches(self, phase: Phase, training_set: TrainingSet, part: BatchPart) -> Iterator[Batch]:
        """Yield this process's part of each remaining batch of the phase, and fetch the next one in the meantime."""
        state = self.state

        def own_indices(step: int) -> np.ndarray:
            whole = batch_indices(state.seed, state.phase_index, step, phase.settings.batch_size, len(training_set))
            return whole[part.places]

        indices = own_indices(state.step)
        for step in range(state.step, phase.steps):
            batch, indices = training_set[indices], own_indices(step + 1)
            training_set.read_ahead(indices)
            if phase.flips:
                batch = flipped(batch, state.seed, state.phase_index, step, part.start)
            yield batch

    def _follow_step(self, phase: Phase, losses: Losses, part: BatchPart) -> RestartPhase | None:
        """Tell callbacks that a step is done, and at intervals its metrics; return the restart that one asks for.

        Raises:
            AstSegError: several ask for a restart.
        """
        state = self.state
        restarts = [restart for callback in self.callbacks if (restart := callback.on_step_end(state))]
        if state.step % self.report_every == 0 or state.step == phase.steps:
            self._report(phase, losses, part)
        if len(restarts) > 1:
            raise AstSegError(f"{len(restarts)} callbacks ask for a restart after one step. Use one of them.")
        return restarts[0] if restarts else None

    def _restart_phase(self, recipe: Recipe) -> None:
        """Start the first phase again by another recipe, which may ask for other callbacks."""
        check_sharing(recipe, self.state.execution)
        self.state.restart_phase(recipe)
        check_resettable(self.state.model, recipe)
        self.callbacks = self._callbacks_of(recipe)

    def _callbacks_of(self, recipe: Recipe) -> tuple[Callback, ...]:
        return (*recipe_callbacks(recipe, self.images, self._note), *self._given_callbacks)

    def _prepare(self) -> TrainingSet:
        """Prepare the phase. The first process computes, and the others take its weights and files."""
        prepare = partial(prepare_phase, self.state, self.images, self.folder, progress=self._tell, note=self._note)
        found = prepare(is_prepared=self.state.step > 0) if processes.is_first() else None
        copy_from_first(self.state)
        return prepare(is_prepared=True) if found is None else found

    def _tell(self, what: str, done: int, total: int) -> None:
        for callback in self.callbacks:
            callback.on_preparation(what, done, total)

    def _note(self, text: str) -> None:
        for callback in self.callbacks:
            callback.on_note(text)

    def _report(self, phase: Phase, losses: Losses, part: BatchPart) -> None:
        values = {"total": losses.total, **losses.terms}
        means = mean_over_batch({name: float(value.detach()) for name, value in values.items()}, part)
        # At once, not only when something is saved.
        check_loss(means["total"], self.model, f"the phase '{phase.name}', step {self.state.step}")
        diagnostics = {}
        if losses.rendering is not None:
            background_activation = float(self.model.background_log_activation.detach())
            diagnostics = mean_over_batch(measure_diagnostics(losses.rendering, background_activation)._asdict(), part)
        metrics = StepMetrics(
            phase=phase,
            step=self.state.step,
            learning_rates=phase.group_rates(self.state.step - 1),
            losses=means,
            diagnostics=diagnostics,
            seconds=self.state.seconds[phase.name],
        )
        for callback in self.callbacks:
            callback.on_metrics(self.state, metrics)

    def _save_all(self) -> None:
        # The model first: if saving it fails, the checkpoint must not say yet that training is finished.
        self._save_model()
        self.save()

    def _save_model(self) -> None:
        check_weights(self.model)
        if processes.is_first():
            write_model(self.state, self.folder)
