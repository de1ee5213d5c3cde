"""Measure how long training steps wait for images that lie on the disk, and not in the system's memory.

    python benchmarks/cold_images.py                     # 2 GB of images and as many backgrounds, read at random
    python benchmarks/cold_images.py --warm              # the same from memory
    python benchmarks/cold_images.py --without           # without reading ahead
    python benchmarks/cold_images.py --presets clevr-cpu

In each step the system is asked to forget the files, so that every image is read from the disk, a step ahead as in
training. Waiting is measured by the clock, asking to read ahead included, beside the processor's time of the rest of a
step: other programs lengthen the wait alone.
"""

import argparse
import mmap
import os
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from astseg.data.store import Bytes
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import TrainingImages, TrainingSet, batch_indices
from astseg.training.config import Recipe
from astseg.training.phases import ObjectsPhase
from astseg.training.presets import get_preset
from astseg.training.step import train_step

WARM_UP_STEPS = 3
BLOCK = 4096
CPU = torch.device("cpu")


def write_images(path: Path, count: int, side: int) -> Bytes:
    """Write noise, the same for each block of images, and open it as a store opens its own."""
    block = np.random.default_rng(0).integers(0, 256, (BLOCK, side, side, 3), np.uint8)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, BLOCK):
            file.write(block[: count - start].data)
        file.flush()
        os.fsync(file.fileno())  # the system does not forget what is not on the disk
    images: Bytes = np.load(path, mmap_mode="r")
    return images


def forget(path: Path, images: Bytes) -> None:
    """Let a file be read from the disk the next time."""
    assert isinstance(images.base, mmap.mmap)
    images.base.madvise(mmap.MADV_DONTNEED)
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(recipe: Recipe, arrays: dict[Path, Bytes], steps: int, *, warm: bool, without: bool) -> tuple[float, float]:
    """Return the median seconds that steps of phase 2 wait for images, and the processor's for the rest."""
    images, backgrounds = (TrainingImages(array, CPU) for array in arrays.values())
    training_set = TrainingSet(images, backgrounds)
    model = AstSeg(recipe.architecture)
    phase = ObjectsPhase(recipe.foreground, steps)
    optimizer = phase.start(model)
    waits, computing = [], []
    indices = partial(batch_indices, 0, 1, batch_size=recipe.foreground.batch_size, count=len(images))
    for step in range(steps + WARM_UP_STEPS):
        begun = time.perf_counter()
        batch = training_set[indices(step)]
        waits.append(time.perf_counter() - begun)
        if not warm:
            for path, array in arrays.items():
                forget(path, array)
        begun = time.perf_counter()
        if not without:
            training_set.read_ahead(indices(step + 1))
        waits[-1] += time.perf_counter() - begun
        begun = time.process_time()
        train_step(model, optimizer, phase, step, batch)
        computing.append(time.process_time() - begun)
    return median(waits[WARM_UP_STEPS:]), median(computing[WARM_UP_STEPS:])


def main() -> None:
    """Print a row for each preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["demo", "clevr-cpu"])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of images; the backgrounds have as many")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm", action="store_true", help="leave the files in the system's memory")
    parser.add_argument("--without", action="store_true", help="without reading ahead")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; by default that of temporary files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipes = {name: get_preset(name).recipe for name in options.presets}
    (side,) = {recipe.architecture.image_size[0] for recipe in recipes.values()}
    with TemporaryDirectory(dir=options.folder) as folder:
        paths = [Path(folder, name) for name in ("images.npy", "backgrounds.npy")]
        count = int(options.gigabytes * 1e9 / (3 * side * side))
        arrays = {path: write_images(path, count, side) for path in paths}
        for name, recipe in recipes.items():
            waiting, computing = measure(recipe, arrays, options.steps, warm=options.warm, without=options.without)
            percent = 100 * waiting / (waiting + computing)
            times = f"waits {1000 * waiting:.1f} ms, computes {1000 * computing:.1f} ms"
            print(f"{name:10} {times}: {percent:.1f} %", flush=True)


if __name__ == "__main__":
    main()
