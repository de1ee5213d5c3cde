"""Check that astseg works on this machine."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from packaging.requirements import Requirement
from torch.utils.collect_env import get_env_info, pretty_str

from astseg import __version__
from astseg._core.devices import find_device
from astseg._core.provenance import commit, machine
from astseg.training.loop import Trainer
from astseg.training.shortening import with_steps
from astseg.training.small_recipes import cpu_recipe

MIN_FREE_BYTES = 2e9
IMAGE_SIDE = 32


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    found: str
    good: bool = True


def environment() -> str:
    """Return torch's description of the machine and of itself, one `name: value` per line."""
    processor = f"{machine(torch.device('cpu'))}, {os.cpu_count()} cores"  # torch's own lists every flag
    found: str = pretty_str(get_env_info()._replace(cpu_info=processor))  # type: ignore[no-untyped-call]
    return found


def examine() -> list[Finding]:
    """Check the program, its libraries and the disk, and try a training step."""
    free = shutil.disk_usage(Path.cwd()).free
    enough, needed = free > MIN_FREE_BYTES, f", {MIN_FREE_BYTES / 1e9:g} are needed"
    return [
        Finding("astseg", " ".join(filter(None, (__version__, commit())))),
        *check_libraries(),
        Finding("disk", f"{free / 1e9:.1f} GB free here{'' if enough else needed}", enough),
        _training_step(),
    ]


def check_libraries(package: str = "astseg") -> Iterator[Finding]:
    """Yield the installed version of each library that an installed package requires; those of extras are left out.

    A version is good if the package takes it.
    """
    try:
        requirements = requires(package) or []
    except PackageNotFoundError:
        yield Finding("libraries", f"not checked: {package} is not installed", good=False)
        return
    for one in map(Requirement, requirements):
        if one.marker and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(one.name)
        except PackageNotFoundError:
            yield Finding(one.name, f"missing: install {package} again", good=False)
            continue
        good = one.specifier.contains(found, prereleases=True)
        yield Finding(one.name, found if good else f"{found}, {one.specifier} is needed: install {package} again", good)


def _training_step() -> Finding:
    recipe = with_steps(cpu_recipe((IMAGE_SIDE, IMAGE_SIDE), 2), 1, 1)
    images = np.zeros((4, IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    steps = 0

    def one_step() -> bool:
        nonlocal steps
        steps += 1
        return True

    device = find_device("auto")
    try:
        with TemporaryDirectory() as folder:
            Trainer(recipe, images, Path(folder), device).run(one_step)
    except Exception as error:  # whatever is wrong, the finding says it
        return Finding("a training step", f"failed on {device}: {error}", good=False)
    return Finding("a training step", f"works on {device}", steps == 1)
