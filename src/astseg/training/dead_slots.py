"""Giving slots that find nothing another start. Not in the paper.

A slot may fall behind in the first steps: while it paints badly, a small activation is its best, and what has no weight
in any image has no gradient. The reconstruction does not suffer: another slot learns to hold two objects. What a
revived slot is worth is told by ``docs/lab/experiments.md``: more where objects are many, less where they are few.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from astseg.model.ast_seg import AstSeg
from astseg.model.resizing import resized
from astseg.model.segmentation import evaluation_mode
from astseg.training.batches import Batch, batch_indices
from astseg.training.callbacks import Callback
from astseg.training.phases import ForegroundPhase
from astseg.training.state import TrainState

REVIVAL_INTERVAL = 500  # steps: a revived slot is in use again after about as many
REVIVAL_IMAGES = 256
BATCH = 32  # of these at a time
FOUND_IN = 0.02  # the share of the images below which a slot counts as dead


@torch.no_grad()
def reinitialize_dead_slots(model: AstSeg, optimizer: torch.optim.Optimizer, batch: Batch) -> list[int]:
    """Let slots that own no pixel in nearly all images attend to what the busiest slots attend to, half as sharply.

    Half the logits are as sure of nothing, so that the pull of the objects that are left can tell the two apart. Slots
    differ by their attention alone: whatever an attention map gathers is read alike for all.

    Args:
        model: the model.
        optimizer: its state for a revived slot becomes that of the other, without the momentum.
        batch: many images, with what comes along.

    Returns:
        The slots that were revived, counted from 0.
    """
    found_in = _shares_found(model, batch)
    dead: list[int] = (found_in < FOUND_IN).nonzero().flatten().tolist()
    left = found_in.clone()
    if not left.any():
        return []
    for slot in dead:
        busiest = int(left.argmax())
        left[busiest] /= 2  # shared from now on
        shares = dict.fromkeys(model.feature_maps.output_layer.parameters(), 0.5)
        if model.places is not None:  # its logits are quadratic in the inverse widths
            shares |= {model.places.centres: 1.0, model.places.inverse_widths: 0.5**0.5}
        for rows, share in shares.items():
            rows[slot] = share * rows[busiest]
            state = optimizer.state[rows]
            if state:
                state["exp_avg"][slot] = 0
                state["exp_avg_sq"][slot] = state["exp_avg_sq"][busiest]
    return dead


def _shares_found(model: AstSeg, batch: Batch) -> Float[Tensor, "slots"]:
    """Return the share of the images in which each slot owns a pixel by the paper's rule."""
    found = []
    for start in range(0, len(batch.images), BATCH):
        images = batch.images[start : start + BATCH]
        if batch.residuals is None:
            masks = model.segment(images, use_label_rule=False).masks
        else:
            residuals = batch.residuals[start : start + BATCH]
            with evaluation_mode(model):
                weights = model.render(model.encode(images, residuals=residuals), resized(images, model.grid)).weights
            masks = weights.argmax(1)[:, None] == torch.arange(1, weights.shape[1]).to(weights.device)[:, None, None]
        found.append(masks.flatten(2).any(-1))
    return torch.cat(found).float().mean(0)


@dataclass
class DeadSlotReset(Callback):
    """Revives slots from time to time while objects are trained."""

    until: int
    """The last step of foreground training after which it happens."""
    interval: int = REVIVAL_INTERVAL
    """Steps from one time to the next."""

    def on_step_end(self, state: TrainState) -> None:
        """Revive slots if it is time."""
        done = state.phase.offset + state.step
        if isinstance(state.phase, ForegroundPhase) and done <= self.until and done % self.interval == 0:
            assert state.optimizer is not None
            step = state.step - 1
            assert state.training_set is not None
            chosen = batch_indices(state.seed, state.phase_index, step, REVIVAL_IMAGES, len(state.training_set))
            reinitialize_dead_slots(state.model, state.optimizer, state.training_set[chosen])
