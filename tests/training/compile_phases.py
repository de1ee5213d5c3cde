"""Compare the compiled losses of each phase of presets with their losses as they are, and print the numbers as JSON.

::

    python tests/training/compile_phases.py '[["demo", "eager", {"architecture.feature_network": "unet"}]]'

A program of its own, because the checks of shapes that tests add to every function cannot be compiled.
"""

import json
import sys
from dataclasses import replace

import torch
from torch._dynamo.testing import CompileCounterWithBackend

from astseg._core.settings_io import override
from astseg.model.ast_seg import AstSeg
from astseg.training import compilation
from astseg.training.batches import Batch
from astseg.training.compilation import compiled_losses
from astseg.training.phases import Phase, phases
from astseg.training.presets import PRESETS

SIDE, STEPS = 32, (0, 1, 2, 1_000_000)


def compare(model: AstSeg, phase: Phase, counter: CompileCounterWithBackend) -> dict[str, object]:
    """Return the losses of a few steps, plain and compiled, with the largest difference of a gradient."""
    before, device = counter.frame_count, torch.device("cpu")
    losses_of = compiled_losses(phase, device)
    images = torch.rand(2, 3, SIDE, SIDE)
    residuals = None
    if model.slow_features is not None and phase.trains_objects:
        residuals = torch.rand(2, model.slow_features.layout.directions, *model.grid)
    batch = Batch(images, 1 - images if phase.needs_backgrounds else None, residuals)
    totals, off = [], 0.0
    for step in STEPS:
        values = []
        for losses in (phase.losses, losses_of):
            torch.manual_seed(step)
            found = losses(model, batch, phase.schedule(step))
            model.zero_grad()
            found.total.backward()  # type: ignore[no-untyped-call]
            gradients = [value.grad.clone() for value in model.parameters() if value.grad is not None]
            values.append((found.total.item(), gradients))
        (plain, expected), (compiled, gradients) = values
        totals.append((plain, compiled))
        off = max(off, *(float((a - b).abs().max()) for a, b in zip(gradients, expected, strict=True)))
    return {"totals": totals, "gradients off by": off, "graphs": counter.frame_count - before}


def compare_phases(name: str, backend: str, changes: dict[str, object]) -> dict[str, object]:
    """Return what is compared by the names of the phases of a preset with changes."""
    torch._dynamo.reset()  # as in a process of its own
    counter = CompileCounterWithBackend(backend)
    compilation.BACKEND = counter
    recipe = override(PRESETS[name].recipe, changes)
    shape = replace(recipe.architecture, image_size=(SIDE, SIDE), glimpse_channels=())
    torch.manual_seed(0)
    model = AstSeg(shape)
    found: dict[str, object] = {}
    for phase in phases(replace(recipe, architecture=shape)):
        phase.start(model)
        found[phase.name] = compare(model, phase, counter)
    return found


def main() -> None:
    """Print what is compared, for each of the cases."""
    sys.stdout.write(json.dumps([compare_phases(*case) for case in json.loads(sys.argv[1])]))


if __name__ == "__main__":
    main()
