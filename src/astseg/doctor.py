"""Whether this machine is fit for astseg."""

import os
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.utils.collect_env import get_env_info, pretty_str

from astseg import __version__
from astseg._core.provenance import commit, machine
from astseg.training.loop import Trainer
from astseg.training.presets import cpu_recipe
from astseg.training.time_budget import with_steps

LIBRARIES = ("torch", "transformers", "safetensors", "huggingface_hub", "numpy", "scipy", "pillow", "av", "tensorboard")
ROOM_NEEDED = 2e9
SMALL_SIDE = 32


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    good: bool = True


def environment() -> str:
    """Return what torch finds out of the machine and of itself, one `name: value` a line."""
    processor = f"{machine(torch.device('cpu'))}, {os.cpu_count()} cores"  # instead of each of its flags and flaws
    found: str = pretty_str(get_env_info()._replace(cpu_info=processor))  # type: ignore[no-untyped-call]
    return found


def examine() -> list[Finding]:
    """Look at the program, its libraries and the disk, and try a training step."""
    free = shutil.disk_usage(Path.cwd()).free
    return [
        Finding("astseg", " ".join(filter(None, (__version__, commit())))),
        *(_library(name) for name in LIBRARIES),
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
