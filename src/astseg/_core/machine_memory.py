"""How much memory a machine or a GPU has, and how much of it is free."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

CgroupFiles: TypeAlias = tuple[str, str, str]
"""The files in which Linux keeps a container's limit, its usage, and how much of the usage is only a cache."""
CGROUP_FILES: tuple[CgroupFiles, ...] = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)
"""Those of version 2 and of version 1."""


@dataclass(frozen=True)
class Memory:
    """The memory of a machine or a GPU, in bytes."""

    total: float
    """The most that a process may take."""
    free: float
    """What no process takes now."""


def machine_memory(device: torch.device, cgroup_files: Sequence[CgroupFiles] = CGROUP_FILES) -> Memory:
    """Return the memory of a GPU, or of the machine as far as its container may use it."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(total, free)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    known = [Memory(pages, _available(pages)), *_container_limits(cgroup_files)]
    return Memory(min(memory.total for memory in known), min(memory.free for memory in known))


def _available(total: float) -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux, where it takes further libraries
        return total


def _container_limits(cgroup_files: Sequence[CgroupFiles]) -> Iterator[Memory]:
    for limit, used, stat in cgroup_files:
        try:
            total, taken = int(Path(limit).read_text()), int(Path(used).read_text())
            counts = dict(line.split() for line in Path(stat).read_text().splitlines())
        except (OSError, ValueError):  # no such files, or no limit: "max"
            continue
        yield Memory(total, total - taken + int(counts.get("inactive_file", 0)))
