"""Whether this machine is fit for astseg."""

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from astseg import __version__
from astseg.presets import cpu_recipe
from astseg.provenance import commit, machine
from astseg.training.budget import with_steps
from astseg.training.loop import Trainer

LIBRARIES = ("torch", "transformers", "safetensors", "huggingface_hub", "numpy", "scipy", "pillow", "av", "tensorboard")
ROOM_NEEDED = 2e9
SMALL_SIDE = 32


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    good: bool = True


def examine() -> list[Finding]:
    """Look at the program, the libraries, the devices and the disk, and try a training step."""
    free = shutil.disk_usage(Path.cwd()).free
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [
        Finding("astseg", " ".join(filter(None, (__version__, commit())))),
        Finding("Python", platform.python_version(), sys.version_info >= (3, 11)),
        *(_library(name) for name in LIBRARIES),
        Finding("processor", f"{machine(torch.device('cpu'))}, {os.cpu_count()} cores"),
        Finding("GPU", ", ".join(gpus) or "none; everything works on the processor, more slowly"),
        Finding("disk", f"{free / 1e9:.1f} GB free here", free > ROOM_NEEDED),
        _training_step(),
    ]


def _library(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, "missing: install astseg again", good=False)


def _training_step() -> Finding:
    recipe = with_steps(cpu_recipe((SMALL_SIDE, SMALL_SIDE), 2), 1, 1)
    images = np.zeros((4, SMALL_SIDE, SMALL_SIDE, 3), np.uint8)
    steps = 0

    def one_step() -> bool:
        nonlocal steps
        steps += 1
        return True

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with TemporaryDirectory() as folder:
            Trainer(recipe, images, Path(folder), device).run(one_step)
    except Exception as error:  # whatever is wrong with the machine, the doctor says it
        return Finding("a training step", f"failed on {device}: {error}", good=False)
    return Finding("a training step", f"works on {device}", steps == 1)
