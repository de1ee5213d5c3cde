"""How much memory a recipe's training takes, told without taking it, and how much there is.

Each phase's step is computed on the device "meta", where tensors have shapes and no content, while it is counted which
of them are alive together. Painting the backgrounds of the whole data set, between the first two phases, is counted
too, and so is what writing a checkpoint takes.
"""

import os
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from astseg.model.ast_seg import AstSeg
from astseg.training.backgrounds import PAINTED_AT_ONCE
from astseg.training.batches import Batch
from astseg.training.config import Recipe
from astseg.training.phases import Phase, phases

PROCESS_BYTES = 0.45e9
"""What Python and the libraries take on a processor before any image is read, and what their first step loads."""
OVERHEAD, MAX_OVERHEAD = 0.3, 0.25e9
"""What the allocator and the libraries' own buffers add to the tensors that are alive together: this share of them, up
to so many bytes, since large tensors lie in pages of their own."""
COPIES_TO_SAVE = 3
"""Of the weights, while the model is written: in another order, as bytes, and as the bytes of the file."""


@dataclass(frozen=True)
class Memory:
    """Of a machine or a GPU, in bytes."""

    total: float
    """What a process may take at the most."""
    free: float
    """What nobody takes now."""


def training_memory(recipe: Recipe, images: int | None = None) -> dict[str, float]:
    """Estimate the most bytes that each part of a training takes at a time, without what the process takes anyway.

    Args:
        recipe: what to train, of any size: nothing is computed.
        images: how many images there are to learn from, where there may be few.

    Returns:
        For each phase by its name; for "painting" of the backgrounds; for "saving".
    """
    with torch.device("meta"):
        model = AstSeg(recipe.architecture, recipe.label_rule)
    parts: dict[str, float] = {}
    for phase in phases(recipe):
        parts[phase.name] = _step(model, phase)
        trained = _trained_bytes(model, phase)
        saving = _bytes(model.state_dict().values()) * (1 + COPIES_TO_SAVE) + 3 * trained
        parts["saving"] = max(parts.get("saving", 0.0), saving)
    if any(phase.needs_backgrounds for phase in phases(recipe)):
        parts["painting"] = _painting(model, min(images or PAINTED_AT_ONCE, PAINTED_AT_ONCE))
    if recipe.background.automatic_complexity and recipe.architecture.background_network == "simple":
        wide = replace(recipe.architecture, background_network="complex")
        settled = replace(recipe.background, automatic_complexity=False)
        larger = training_memory(replace(recipe, architecture=wide, background=settled), images)
        parts = {name: max(value, larger[name]) for name, value in parts.items()}
    return parts


def machine_memory(device: torch.device) -> Memory:
    """Return the memory of a device: of a processor, the machine's, or what a container may take of it."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(total, free)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    known = [Memory(pages, _available(pages)), *_container_limits()]
    return Memory(min(memory.total for memory in known), min(memory.free for memory in known))


def _available(total: float) -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux: nothing tells without further libraries
        return total


CONTAINERS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)
"""The files in which Linux tells a container its limit, what is taken, and how much of that is only a cache."""


def _container_limits() -> Iterator[Memory]:
    for limit, used, stat in CONTAINERS:
        try:
            total, taken = int(Path(limit).read_text()), int(Path(used).read_text())
            counts = dict(line.split() for line in Path(stat).read_text().splitlines())
        except (OSError, ValueError):  # no such files, or no limit: "max"
            continue
        yield Memory(total, total - taken + int(counts.get("inactive_file", 0)))


def _step(model: AstSeg, phase: Phase) -> float:
    phase.start(model)
    images = torch.empty(phase.settings.batch_size, 3, *model.image_size, device="meta")
    last = phase.settings.steps - 1 - phase.offset  # of the whole schedule: shadows are thrown by then
    trained = _trained_bytes(model, phase)
    with LiveBytes(model) as live:
        backgrounds = torch.empty_like(images) if phase.needs_backgrounds else None
        residuals = None
        if model.slow_features is not None and phase.trains_objects:
            directions = model.slow_features.layout.directions
            residuals = torch.empty(len(images), directions, *model.grid, device="meta")
        losses = phase.losses(model, Batch(images, backgrounds, residuals), last)
        forward = live.peak
        losses.total.backward()  # type: ignore[no-untyped-call]
    model.zero_grad()
    # Going forward, the gradients of the step before are still there; going back, new ones come.
    most = max(_taken(forward) + trained, _taken(live.peak))
    return _bytes(model.state_dict().values()) + 2 * trained + most


@torch.no_grad()
def _painting(model: AstSeg, count: int) -> float:
    assert model.background is not None
    with LiveBytes(model) as live:
        model.background(torch.empty(count, 3, *model.image_size, device="meta"))
    return _bytes(model.state_dict().values()) + _taken(live.peak)


def _taken(live: float) -> float:
    return live + min(OVERHEAD * live, MAX_OVERHEAD)


def _trained_bytes(model: AstSeg, phase: Phase) -> int:
    return _bytes(phase.parameters(model))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive together, while it is active; ``peak`` is the most at a time.

    Args:
        model: whose own tensors are left out.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._now = self.peak = 0
        # Whatever is referred to stays as it is, and so does its id.
        self._own = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
        self._seen: dict[int, object] = {id(storage): storage for storage in self._own}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute, and count what came out and what went in."""
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._seen:
            return

        def forget(_: object) -> None:
            self._now -= size
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, forget)
        self._now += size
        self.peak = max(self.peak, self._now)
