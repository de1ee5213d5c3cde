"""The provenance of results: version and commit of the program, machine, libraries."""

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from astseg import __version__

CHECKOUT = Path(__file__).resolve().parents[3]
"""The root of the repository, if the program runs from one."""


@dataclass(frozen=True)
class Provenance:
    """The provenance that is saved with a result."""

    astseg: str
    """The program's version."""
    commit: str
    """Empty if unknown; with ``+`` if the checkout has changes."""
    machine: str
    torch: str
    python: str


def commit(root: Path = CHECKOUT) -> str:
    """Return the commit of a checkout, by default the program's own, with ``+`` if it has changes.

    It is empty if the folder is not a checkout, or git is missing.
    """
    if not (root / ".git").exists():
        return ""
    try:
        name = _git(root, "rev-parse", "--short", "HEAD")
        return name + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def machine(device: torch.device) -> str:
    """Return the name of the GPU or, on the CPU, the processor and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {torch.get_num_threads()} threads"


def provenance(device: torch.device) -> Provenance:
    """Return the provenance of a result that is computed on a device."""
    return Provenance(__version__, commit(), machine(device), torch.__version__, platform.python_version())


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _processor(info: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = info.read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
