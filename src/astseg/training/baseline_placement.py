"""Places for slots in baseline training, which has no frozen background to find them by before the first step."""

from collections.abc import Callable
from dataclasses import dataclass

from astseg._core.processes import copy_from_first
from astseg.model.segmentation import evaluation_mode
from astseg.training.callbacks import Callback
from astseg.training.slot_places import place_slots, without_places
from astseg.training.state import TrainState


@dataclass
class BaselinePlacement(Callback):
    """Gives slots their places after a number of steps, when the background has learned to explain most pixels."""

    after: int
    """The number of steps."""
    note: Callable[[str], None] = lambda text: None
    """Called with a sentence on what to try if slots got no places."""

    def on_step_end(self, state: TrainState) -> None:
        """Place the slots by what the background, as it is now, leaves unexplained."""
        is_time = state.phase.trains_objects and state.phase.offset + state.step == self.after
        if is_time and not state.pretrained:
            assert state.training_set is not None
            with evaluation_mode(state.model):
                placed = place_slots(state.model, state.training_set, state.seed)
            if not placed:
                earlier = "train again with an earlier foreground.baseline.placement_step"
                self.note(without_places(f"{earlier} or a lower foreground.baseline.background_rate"))
            assert state.model.places is not None
            for values in state.model.places.parameters():  # rounding could place slots otherwise in each process
                copy_from_first(values.data)
