"""What a phase needs before its first step: frozen backgrounds, slow features, and places for slots."""

from collections.abc import Callable
from pathlib import Path

from astseg._core.progress import NamedProgress
from astseg.training.batches import TrainingArray, TrainingImages, TrainingSet
from astseg.training.frozen_backgrounds import frozen_backgrounds
from astseg.training.residuals import cached_residuals, fit_projection
from astseg.training.slot_places import place_slots, without_places
from astseg.training.state import TrainState


def prepare_phase(
    state: TrainState,
    images: TrainingImages,
    folder: Path,
    *,
    is_prepared: bool,
    progress: NamedProgress,
    note: Callable[[str], None],
) -> TrainingSet:
    """Prepare the current phase for its next step, and return what its batches are taken from.

    Args:
        state: the run's state, with the phase started.
        images: the training images.
        folder: the run's folder, where backgrounds and residuals are kept.
        is_prepared: whether the phase was prepared before: files in the folder are used, and the model already has its
            projection and the places of its slots. False to compute all of them.
        progress: told how far the slow features are.
        note: told in a sentence if a file was damaged, or if slots got no places.
    """
    phase, model = state.phase, state.model
    needs_fitting = not is_prepared and not state.pretrained  # a trained model brings its projection and its places
    training_set = TrainingSet(images)
    if phase.needs_backgrounds:
        training_set.backgrounds = frozen_backgrounds(model, images, folder, paint=not is_prepared, note=note)
    if phase.trains_objects and model.slow_features is not None:
        if needs_fitting and phase.offset == 0:
            fit_projection(model.slow_features, images, state.seed, progress)
        training_set.residuals = TrainingArray(cached_residuals(model, images, folder, progress), images.device)
    if phase.needs_backgrounds and model.places is not None and needs_fitting:
        placed = place_slots(model, training_set, state.seed)
        if not placed:
            note(without_places("train the background for fewer steps (background.steps)"))
    return training_set
