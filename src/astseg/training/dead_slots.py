"""Resetting slots that find nothing. Not in the paper.

A slot may fall behind in the first steps: while it paints badly, a small activation is best for it, and a slot without
weight in any image gets no gradient. The reconstruction does not suffer, because another slot learns to hold two
objects. Resetting helps more where there are many objects (``docs/lab/experiments.md``).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg._core.errors import AstSegError
from astseg._core.processes import copy_from_first
from astseg.model.ast_seg import AstSeg
from astseg.model.label_rule.slot_masks import slot_masks
from astseg.model.resizing import resized
from astseg.model.segmentation import evaluation_mode
from astseg.training.batches import Batch, batch_indices
from astseg.training.callbacks import Callback
from astseg.training.config import Recipe
from astseg.training.health import DEAD_THRESHOLD
from astseg.training.phases import ForegroundPhase
from astseg.training.state import TrainState

RESET_INTERVAL = 500  # steps; a reset slot takes about as many to come into use again
NUM_RESET_IMAGES = 256
BATCH_SIZE = 32
MOMENTA = ("exp_avg", "momentum")
"""The names that Adam and Muon have for a parameter's momentum."""


def check_resettable(model: AstSeg, recipe: Recipe) -> None:
    """Raise unless the model has what is reset, before thousands of steps. A network of the user's own may lack it.

    Raises:
        AstSegError: slots are to be reset, and the feature network has no `output_layer`.
    """
    if recipe.foreground.reinitialize_slots_until and not isinstance(
        getattr(model.feature_maps, "output_layer", None), nn.Module
    ):
        raise AstSegError(
            f"The recipe resets slots that find nothing, in the last layer of the feature network, but "
            f"'{recipe.architecture.feature_network}' has no `output_layer`. Call its last convolution so, or set "
            "foreground.reinitialize_slots_until to 0."
        )


@torch.no_grad()
def reinitialize_dead_slots(model: AstSeg, optimizer: torch.optim.Optimizer, batch: Batch) -> list[int]:
    """Let slots that own pixels in almost no image attend where the busiest slots attend, but half as sharply.

    Slots differ only in their attention: all read what it gathers in the same way. A reset slot gets half the logits of
    the busiest one, which are less certain, so that objects not yet explained can pull the two slots apart.

    Args:
        model: the model.
        optimizer: the optimizer, whose state for a reset slot becomes that of the busiest slot, without the momentum.
        batch: many images, with their residuals for a model of slow features.

    Returns:
        The slots that were reset, counted from 0.
    """
    found_in = copy_from_first(_shares_found(model, batch))  # or rounding could reset other slots in each process
    dead: list[int] = (found_in < DEAD_THRESHOLD).nonzero().flatten().tolist()
    load = found_in.clone()
    if not load.any():
        return []
    for slot in dead:
        busiest = int(load.argmax())
        load[busiest] /= 2  # shared from now on
        shares = dict.fromkeys(model.feature_maps.output_layer.parameters(), 0.5)
        if model.places is not None:  # its logits are quadratic in the inverse widths
            shares |= {model.places.centres: 1.0, model.places.inverse_widths: 0.5**0.5}
        for rows, share in shares.items():
            rows[slot] = share * rows[busiest]
            for name, values in optimizer.state[rows].items():
                if name in MOMENTA:
                    values[slot] = 0
                elif values.shape == rows.shape:
                    values[slot] = values[busiest]
    return dead


def _shares_found(model: AstSeg, batch: Batch) -> Float[Tensor, "slots"]:
    """Return the share of the images in which each slot owns a pixel by the paper's rule."""
    found = []
    for start in range(0, len(batch.images), BATCH_SIZE):
        images = batch.images[start : start + BATCH_SIZE]
        if batch.residuals is None:
            masks = model.segment(images, use_label_rule=False).masks
        else:
            residuals = batch.residuals[start : start + BATCH_SIZE]
            with evaluation_mode(model):
                weights = model.render(model.encode(images, residuals=residuals), resized(images, model.grid)).weights
            masks = slot_masks(weights)
        found.append(masks.flatten(2).any(-1))
    return torch.cat(found).float().mean(0)


@dataclass
class DeadSlotReset(Callback):
    """Resets dead slots at intervals while objects are trained."""

    until: int
    """The last step of foreground training after which slots are reset."""
    interval: int = RESET_INTERVAL
    """The number of steps between two resets."""

    def on_step_end(self, state: TrainState) -> None:
        """Reset dead slots if it is time."""
        done = state.phase.offset + state.step
        if isinstance(state.phase, ForegroundPhase) and done <= self.until and done % self.interval == 0:
            assert state.optimizer is not None
            step = state.step - 1
            assert state.training_set is not None
            chosen = batch_indices(state.seed, state.phase_index, step, NUM_RESET_IMAGES, len(state.training_set))
            reinitialize_dead_slots(state.model, state.optimizer, state.training_set[chosen])
