"""Measure how long a training step takes, with the demo's settings and with others.

Prints milliseconds per step and the ratio to the first row: python benchmarks/training_step.py

The command line sets GOMP_SPINCOUNT=5000. To measure its effect while another program is running, compare
python benchmarks/training_step.py --beside 1 with and without it.
"""

import argparse
import multiprocessing
import time
from dataclasses import replace

import torch

from astseg.model.ast_seg import AstSeg
from astseg.training.batches import Batch
from astseg.training.config import Recipe
from astseg.training.phases import ObjectsPhase
from astseg.training.presets import PRESETS
from astseg.training.step import train_step


def seconds_per_step(recipe: Recipe, device: torch.device, steps: int) -> float:
    """Return the median time of a step of phase 2 on random images."""
    height, width = recipe.architecture.image_size
    model = AstSeg(recipe.architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    phase = ObjectsPhase(recipe.foreground, steps)
    optimizer = phase.start(model)
    shape = (recipe.foreground.batch_size, height, width, 3)
    images, backgrounds = (torch.rand(shape, device=device).permute(0, 3, 1, 2) for _ in range(2))
    times = []
    for step in range(steps + 3):
        started = time.perf_counter()
        train_step(model, optimizer, phase, step, Batch(images, backgrounds))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return sorted(times[3:])[steps // 2]


def busy() -> None:
    """Keep a core busy until the process is killed."""
    while True:
        pass


def main() -> None:
    """Print a row for the demo and for each variant of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--beside", type=int, default=0, help="number of processes that keep a core busy meanwhile")
    options = parser.parse_args()
    for _ in range(options.beside):
        multiprocessing.Process(target=busy, daemon=True).start()
    torch.set_num_threads(options.threads)
    demo = PRESETS["demo"].recipe
    shape = demo.architecture
    variants = {
        "demo": demo,
        "with the transformer": replace(demo, architecture=replace(shape, refinement="residual")),
        "glimpses of 16x16": replace(demo, architecture=replace(shape, glimpse_channels=(64, 32, 16))),
        "U-net of Table 8": replace(demo, architecture=replace(shape, feature_network="unet")),
        "SegFormer-B0": replace(demo, architecture=replace(shape, feature_network="segformer-b0")),
        "SegFormer-B3": replace(demo, architecture=replace(shape, feature_network="segformer-b3")),
    }
    first = None
    print(f"batch {demo.foreground.batch_size}, {shape.image_size}, {options.device}, {options.threads} threads")
    for name, recipe in variants.items():
        seconds = seconds_per_step(recipe, torch.device(options.device), options.steps)
        first = first or seconds
        print(f"{name:22} {1000 * seconds:8.1f} ms {seconds / first:6.2f} x")


if __name__ == "__main__":
    main()
