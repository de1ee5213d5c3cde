"""Compare the peak memory of two training steps of each phase with its estimate.

    python benchmarks/training_memory.py own --size 512x512
    python benchmarks/training_memory.py clevr --size 64x64 --batch-size 4

The first argument is ``small``, ``own`` (a background for each image), ``static`` (one for all images), ``textures``
or a preset. The
images are noise, by default 160 of them, so that the backgrounds are painted in batches of the largest size.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from astseg.training.config import Recipe
from astseg.training.loop import Trainer
from astseg.training.memory import PROCESS_BYTES, training_memory
from astseg.training.presets import PRESETS
from astseg.training.sizes import at_size
from astseg.training.small_recipes import cpu_recipe, custom_images_recipe, textures_recipe

NUM_SLOTS, NUM_STEPS = 8, 2


def named_recipe(name: str, size: tuple[int, int], batch_size: int | None) -> Recipe:
    """Return the recipe of a name at a size, with random weights."""
    match name:
        case "small":
            recipe = cpu_recipe(size, NUM_SLOTS)
        case "own" | "static":
            recipe = custom_images_recipe(size, NUM_SLOTS, static=name == "static")
        case "textures":
            recipe = textures_recipe(size, NUM_SLOTS)
        case _:
            recipe = replace(at_size(PRESETS[name].recipe, size), backbone=None)
    if batch_size:
        background = replace(recipe.background, batch_size=batch_size)
        recipe = replace(recipe, background=background, foreground=replace(recipe.foreground, batch_size=batch_size))
    return recipe


def train_shortly(recipe: Recipe, count: int, folder: Path) -> None:
    """Train a few steps of each phase on noise."""
    shape = (count, *recipe.architecture.image_size, 3)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    for index in range(count):
        images[index] = np.random.default_rng(index).integers(0, 256, shape[1:], np.uint8)
    foreground = replace(recipe.foreground, steps=2 * NUM_STEPS, frozen_steps=NUM_STEPS, shadow_start=0)
    background = replace(recipe.background, steps=NUM_STEPS, automatic_complexity=False)
    Trainer(replace(recipe, foreground=foreground, background=background), images, folder, "cpu").run()


def peak_memory() -> int:
    """Return the peak memory of this process in bytes, without that of its parent, which getrusage includes."""
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Print the measured and the estimated memory of a recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--images", type=int, default=160)
    options = parser.parse_args()
    torch.set_num_threads(1)
    height, width = map(int, options.size.split("x"))
    recipe = named_recipe(options.recipe, (height, width), options.batch_size)
    estimated = max(training_memory(recipe, options.images).values()) + PROCESS_BYTES
    with TemporaryDirectory() as folder:
        train_shortly(recipe, options.images, Path(folder))
    measured = peak_memory()
    print(f"{options.recipe} {options.size}: measured {measured / 1e9:.2f} GB, estimated {estimated / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
