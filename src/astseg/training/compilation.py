"""A phase's loss as one compiled graph.

A step of a large network is thousands of small operations, each of which a GPU has to be told of. Compiled, they are
fused, and a CUDA graph starts all of them at once. This needs losses that ask for no value of a tensor and take all
that changes from step to step as tensors (`Schedule`): then a phase is two graphs at most, without shadows and with.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from astseg._core.devices import to_device
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import Batch
from astseg.training.phases import Losses, Phase, Schedule

LossFunction: TypeAlias = Callable[[AstSeg, Batch, Schedule], Losses]
"""`Phase.losses`, or a compiled form of it."""
BACKEND: str | Callable[..., Any] = "inductor"


def compiled_losses(phase: Phase, device: torch.device) -> LossFunction:
    """Return a phase's losses, compiled when they are first asked for with their second batch.

    The first batch is computed as it is, since libraries may prepare themselves meanwhile. Random numbers are those
    of the loss as it is.
    """
    torch.compiler.reset()  # what was compiled for the phase before would count against torch's limit
    options: dict[str, Any] = {"fallback_random": True, "triton.cudagraphs": device.type == "cuda"}
    compiled = torch.compile(
        phase.losses, fullgraph=True, dynamic=False, backend=BACKEND, options=options if BACKEND == "inductor" else None
    )
    prepared = False

    def losses(model: AstSeg, batch: Batch, schedule: Schedule) -> Losses:
        nonlocal prepared
        if not prepared:
            prepared = True
            return phase.losses(model, batch, schedule)
        return compiled(model, batch, _as_tensors(schedule, batch.images.device))

    return losses


def _as_tensors(schedule: Schedule, device: torch.device) -> Schedule:
    """Return a schedule whose numbers are tensors: as numbers, each new value would be another graph."""
    numbers = {name: value for name, value in schedule._asdict().items() if name != "shadows"}
    tensors = to_device(torch.tensor(list(numbers.values())), device)
    return schedule._replace(**dict(zip(numbers, tensors, strict=True)))
