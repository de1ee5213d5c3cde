"""Measure how a training step and the segmentation of an image grow with what is asked for.

::

    python benchmarks/scaling.py                                                       # size, K and batch
    torchrun --standalone --nproc_per_node 2 benchmarks/scaling.py --processes         # a shared step
    python benchmarks/scaling.py --segment                                             # images a second

Prints medians of the processor's seconds, which a busy machine changes less than those of a clock, with their range,
and the estimated peak memory of training. All of one table are measured in turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from astseg._core import processes
from astseg.data.opening import open_source
from astseg.hub.loading import load_model
from astseg.inference.segmenting import segment_source
from astseg.inference.sharding import segment_in_shards
from astseg.model.ast_seg import AstSeg
from astseg.training.batch_part import own_part
from astseg.training.batches import Batch
from astseg.training.config import Recipe
from astseg.training.memory import training_memory
from astseg.training.phases import JointPhase
from astseg.training.small_recipes import cpu_recipe
from astseg.training.step import train_step

REPEATS = 5
SIDE, SLOTS, BATCH = 64, 8, 16
IMAGES, IMAGE_SIZE = 24, (480, 640)


def recipe_of(side: int, slots: int, batch: int) -> Recipe:
    """Return the small recipe for square images."""
    recipe = cpu_recipe((side, side), slots)
    return replace(
        recipe,
        background=replace(recipe.background, batch_size=batch),
        foreground=replace(recipe.foreground, batch_size=batch),
    )


def step_of(recipe: Recipe) -> Callable[[], None]:
    """Return a step of phase 3 on random images, of which each process sees its part."""
    torch.manual_seed(0)
    model = AstSeg(recipe.architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    phase, part = JointPhase(recipe.foreground, 1), own_part(recipe.foreground.batch_size)
    optimizer = phase.start(model)
    images = torch.rand(recipe.foreground.batch_size, *recipe.architecture.image_size, 3).permute(0, 3, 1, 2)
    batch = Batch(images[part.places])
    return lambda: void(train_step(model, optimizer, phase, 0, batch, part))


def void(_: object) -> None:
    """Forget a result."""


def measured(work: Mapping[str, Callable[[], None]], clock: Callable[[], float]) -> dict[str, list[float]]:
    """Return the seconds of each work, all repeated in turns after a first time that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(REPEATS + 1):
        for name, run in work.items():
            started = clock()
            run()
            if turn:
                seconds[name].append(clock() - started)
    return seconds


def print_rows(seconds: Mapping[str, list[float]], images: int = 1, memory: Mapping[str, float] | None = None) -> None:
    """Print a row for each work: milliseconds an image or step, the ratio to the first row, and memory."""
    first = statistics.median(next(iter(seconds.values())))
    for name, values in seconds.items():
        middle, low, high = (1000 * value / images for value in (statistics.median(values), min(values), max(values)))
        ratio = statistics.median(values) / first
        room = "" if memory is None else f" | {memory[name] / 1e9:.2f}"
        print(f"| {name} | {middle:.0f} ({low:.0f} to {high:.0f}) | {ratio:.2f}{room} |", flush=True)


def measure_growth() -> None:
    """Print a table of size, K and batch."""
    variants = {f"{SIDE}x{SIDE}, K = {SLOTS}, batch {BATCH}": recipe_of(SIDE, SLOTS, BATCH)}
    variants |= {f"{side}x{side}": recipe_of(side, SLOTS, BATCH) for side in (32, 128)}
    variants |= {f"K = {slots}": recipe_of(SIDE, slots, BATCH) for slots in (4, 16, 32)}
    variants |= {f"batch {batch}": recipe_of(SIDE, SLOTS, batch) for batch in (4, 8, 32)}
    memory = {name: max(training_memory(recipe).values()) for name, recipe in variants.items()}
    work = {name: step_of(recipe) for name, recipe in variants.items()}
    print_rows(measured(work, time.process_time), memory=memory)


def measure_processes() -> None:
    """Print what a shared step costs this process."""
    with processes.joined(torch.device("cpu")):
        seconds = measured(
            {f"{processes.count()} processes": step_of(recipe_of(SIDE, SLOTS, BATCH))}, time.process_time
        )
        if processes.is_first():
            print_rows(seconds)


def measure_segmentation() -> None:
    """Print what an image of 640x480 costs, in one folder and in shards."""
    model, random = load_model("clevr"), np.random.default_rng(0)
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "images").mkdir()
        for number in range(IMAGES):
            small = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            image = Image.fromarray(small).resize(IMAGE_SIZE[::-1], Image.Resampling.BICUBIC)
            image.save(folder / "images" / f"{number:04d}.jpg")
        count = iter(range(1000))
        source = open_source(folder / "images")
        work = {
            "one folder, with overlays": lambda: void(segment_source(model, source, folder / f"out-{next(count)}")),
            "shards": lambda: void(segment_in_shards(model, source, folder / f"out-{next(count)}", IMAGES // 2)),
        }
        print_rows(measured(work, time.process_time), IMAGES)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--segment", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.processes:
        measure_processes()
    elif options.segment:
        measure_segmentation()
    else:
        measure_growth()


if __name__ == "__main__":
    main()
