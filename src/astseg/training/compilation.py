"""A phase's loss as one compiled graph.

A step of a large network consists of thousands of small operations, and each takes time to start on a GPU. Compiled,
they are fused, and a CUDA graph starts all of them at once. This needs losses that read no value of a tensor, and that
get all numbers that change from step to step as tensors (`Schedule`). A phase then has two graphs at most: without
shadows and with them.
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
    """Return a phase's losses, which are compiled when they are called for the second time.

    The first batch is computed without compiling, because libraries may initialize themselves in it. Random numbers are
    those of the loss that is not compiled.
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
