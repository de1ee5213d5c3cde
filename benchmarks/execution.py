"""Measure a training step of the paper's presets in each way of computing it, and how fast images are segmented.

::

    python benchmarks/execution.py --json found.json                 # on a GPU: at full size, eight minutes
    python benchmarks/execution.py --side 32 --batch 4 --steps 2     # on a processor, to see that it runs

For each phase of each preset: milliseconds a step on the clock, the ratio to float32, the peak of the GPU's memory, and
the mean loss of the same batches. The file is written after each row, so that what was measured is kept if time runs
out; rows that are in it already are not measured again.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.product_convolution import keep_product_layout
from astseg.training.batches import Batch
from astseg.training.compilation import compiled_losses
from astseg.training.config import Recipe
from astseg.training.execution import Execution
from astseg.training.phases import Phase, phases
from astseg.training.presets import PRESETS
from astseg.training.sizes import at_size
from astseg.training.step import train_step

PRESET_NAMES = ("objectsroom", "objectsroom-unet", "clevrtex", "clevrtex-unet")
EXECUTIONS = {
    "fp32": Execution(),
    "tf32": Execution("tf32"),
    "bf16": Execution("bf16"),
    "bf16 in 2 parts": Execution("bf16", parts=2),
    "fp32 compiled": Execution(compiled=True),
    "bf16 compiled": Execution("bf16", compiled=True),
}
WARM_UP = 5


def sized(name: str, side: int | None, batch: int | None) -> Recipe:
    """Return a preset's recipe without pretrained weights, perhaps with smaller images and batches."""
    recipe = replace(PRESETS[name].recipe, backbone=None)
    recipe = at_size(recipe, (side, side)) if side else recipe
    return replace(
        recipe,
        background=replace(recipe.background, batch_size=batch or recipe.background.batch_size),
        foreground=replace(recipe.foreground, batch_size=batch or recipe.foreground.batch_size),
    )


def measure(recipe: Recipe, phase: Phase, execution: Execution, device: torch.device, steps: int) -> dict[str, float]:
    """Return what some steps take, after a few others, and their mean loss."""
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("highest")
    model = AstSeg(recipe.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    keep_product_layout(model)
    optimizer = phase.start(model)
    losses_of = compiled_losses(phase, device) if execution.compiled else None
    random = torch.Generator(device).manual_seed(1)
    shape = (phase.settings.batch_size, *recipe.architecture.image_size, 3)
    losses = []
    for step in range(WARM_UP + steps):
        images, backgrounds = (torch.rand(shape, generator=random, device=device).permute(0, 3, 1, 2) for _ in range(2))
        if step == WARM_UP:
            wait(device)
            start = time.perf_counter()
        batch = Batch(images, backgrounds if phase.needs_backgrounds else None)
        found = train_step(model, optimizer, phase, step, batch, execution=execution, losses_of=losses_of)
        losses.append(found.total.detach().clone())
    wait(device)
    spent = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else float("nan")
    return {"ms": 1000 * spent / steps, "GB": peak, "loss": float(torch.stack(losses[WARM_UP:]).mean())}


def segmented(recipe: Recipe, device: torch.device, steps: int) -> dict[str, float]:
    """Return how many images a second are segmented, by the paper's rule."""
    model = AstSeg(recipe.architecture).to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    images = torch.rand(recipe.foreground.batch_size, 3, *recipe.architecture.image_size, device=device)
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            wait(device)
            start = time.perf_counter()
        model.segment(images)
    wait(device)
    return {"images a second": steps * len(images) / (time.perf_counter() - start)}


def wait(device: torch.device) -> None:
    """Wait until all that a GPU was told to compute is computed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rows(names: Sequence[str], options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Yield the name of each row, and a function that measures it."""
    device = torch.device(options.device)
    for name in names:
        recipe = sized(name, options.side, options.batch)
        for phase in phases(recipe):
            for how, execution in EXECUTIONS.items():
                if execution.precision == "tf32" and device.type != "cuda":
                    continue
                if execution.compiled and options.uncompiled:
                    continue

                def row(recipe: Recipe = recipe, phase: Phase = phase, how: str = how) -> dict[str, float]:
                    return measure(recipe, phase, EXECUTIONS[how], device, options.steps)

                yield f"{name}, {phase.name}, {how}", row
        yield f"{name}, segment", lambda recipe=recipe: segmented(recipe, device, options.steps)


def main() -> None:
    """Print a line for each row, as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--presets", nargs="+", default=list(PRESET_NAMES))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--side", type=int, help="of the images; by default the preset's")
    parser.add_argument("--batch", type=int, help="images in a batch; by default the preset's")
    parser.add_argument("--uncompiled", action="store_true", help="leave out what has to be compiled")
    parser.add_argument("--json", type=Path, help="where what is found is kept")
    options = parser.parse_args()
    cuda = options.device.startswith("cuda")
    found: dict[str, Any] = {
        "machine": torch.cuda.get_device_name() if cuda else platform.processor(),
        "torch": torch.__version__,
        **{name: getattr(options, name) for name in ("steps", "side", "batch")},
    }
    if options.json and options.json.exists():
        before = json.loads(options.json.read_text())
        if differing := [name for name in found if before.get(name) != found[name]]:
            parser.error(f"{options.json} holds rows of another {', '.join(differing)}: choose another file")
        found = {name: row for name, row in before.items() if not (isinstance(row, dict) and "failed" in row)}
    for name, row in rows(options.presets, options):
        if name not in found:
            try:
                found[name] = row()
            except Exception as error:  # the others are worth having
                found[name] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
            if cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            if options.json:
                options.json.write_text(json.dumps(found, indent=1))
        plain = found.get(", ".join([*name.split(", ")[:2], "fp32"]), {})
        line = "".join(
            f"  {key} {value:.5g}" if isinstance(value, float) else f"  {key} {value}"
            for key, value in found[name].items()
        )
        if "ms" in plain and "ms" in found[name]:
            line += f"  x{plain['ms'] / found[name]['ms']:.2f}"
        print(f"{name:45}{line}", flush=True)


if __name__ == "__main__":
    main()
