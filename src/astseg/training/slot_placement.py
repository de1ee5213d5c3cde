"""Places for slots in baseline training, which has no frozen background to find them by before the first step."""

from dataclasses import dataclass

from astseg._core.processes import copy_from_first
from astseg.model.segmentation import evaluation_mode
from astseg.training.callbacks import Callback
from astseg.training.slot_init import initialize_slot_prior
from astseg.training.state import TrainState


@dataclass
class SlotPlacement(Callback):
    """Gives slots their places once the background has learned its part."""

    after: int
    """The number of steps."""

    def on_step_end(self, state: TrainState) -> None:
        """Place the slots by what the background, as it is now, leaves unexplained."""
        if state.phase.trains_objects and state.phase.offset + state.step == self.after:
            assert state.training_set is not None
            with evaluation_mode(state.model):
                initialize_slot_prior(state.model, state.training_set, state.seed)
            assert state.model.places is not None
            for values in state.model.places.parameters():  # rounding could place slots otherwise in each process
                copy_from_first(values.data)
