"""A training step: the gradients of a batch, in one piece or in several, and a change of the weights."""

from collections.abc import Callable
from contextlib import nullcontext

import torch

from astseg.model.ast_seg import AstSeg
from astseg.training.batch_part import BatchPart
from astseg.training.batches import Batch
from astseg.training.compilation import LossFunction
from astseg.training.execution import PLAIN, Execution
from astseg.training.global_batch import GlobalBatch, sum_gradients
from astseg.training.phases import Losses, Phase
from astseg.training.precision import matmul_precision, precision_context


def train_step(
    model: AstSeg,
    optimizer: torch.optim.Optimizer,
    phase: Phase,
    step: int,
    batch: Batch,
    part: BatchPart | None = None,
    execution: Execution = PLAIN,
    losses_of: LossFunction | None = None,
) -> Losses:
    """Change the weights by one step. Extensions such as gradient clipping belong here.

    Args:
        model: the model, with the phase started.
        optimizer: the phase's optimizer.
        phase: what is trained, and on which loss.
        step: counted from 0 at the start of the phase.
        batch: the images that the step learns from, or this process's part of them.
        part: which part of the batch it is; by default all of it.
        execution: how the step is computed.
        losses_of: the function that computes the losses; by default the phase's own.

    Returns:
        The losses of this part before the step. If the part was computed in pieces, the rendering is that of the last.
    """
    part = part or BatchPart(0, len(batch.images), len(batch.images))
    for group, rate in zip(optimizer.param_groups, phase.group_rates(step).values(), strict=True):
        group["lr"] = rate
    # A CUDA graph's gradients lie in memory that its next run overwrites, so they are added to tensors that stay.
    optimizer.zero_grad(set_to_none=not execution.compiled)
    compute, schedule = losses_of or phase.losses, phase.schedule(step)
    losses = _add_gradients(lambda images: compute(model, images, schedule), batch, part, execution)
    sum_gradients(parameter for group in optimizer.param_groups for parameter in group["params"])
    optimizer.step()
    return losses


def _add_gradients(compute: Callable[[Batch], Losses], batch: Batch, part: BatchPart, execution: Execution) -> Losses:
    """Add the gradients of a part of a batch, piece by piece; return its losses."""
    pieces, sums = part.divided(execution.parts), None
    random, device = torch.get_rng_state(), batch.images.device
    for index, piece in enumerate(pieces):
        alone = piece.share == 1 or execution.compiled
        if index and not alone:
            torch.set_rng_state(random)  # each piece draws the same random numbers, those of the whole batch
        with matmul_precision(execution.precision):
            with nullcontext() if alone else GlobalBatch(piece), precision_context(execution.precision, device):
                losses = compute(batch.rows(piece.start - part.start, piece.stop - part.start))
            (losses.total * piece.share).backward()  # type: ignore[no-untyped-call]
        sums = losses if len(pieces) == 1 else _with_share(sums, losses, piece.share / part.share)
    assert sums is not None, "a part has at least one piece"
    return sums


def _with_share(sums: Losses | None, losses: Losses, share: float) -> Losses:
    """Return sums of losses with a share of further losses added, and the rendering of the further ones."""
    total = share * losses.total.detach()
    terms = {name: share * value.detach() for name, value in losses.terms.items()}
    if sums is not None:
        total, terms = sums.total + total, {name: sums.terms[name] + value for name, value in terms.items()}
    return Losses(total, terms, losses.rendering)
