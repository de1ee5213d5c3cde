"""How much memory training needs, estimated without using it.

A step of each phase runs on the device "meta", where tensors have shapes but no content, while the bytes of the tensors
that are alive at the same time are counted. Painting the backgrounds of all images, between the first two phases, and
saving a checkpoint are counted too.
"""

import math
import weakref
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from astseg._core import processes
from astseg._core.errors import MemoryShortageError
from astseg._core.machine_memory import machine_memory
from astseg._core.text import format_value
from astseg.model.ast_seg import AstSeg
from astseg.model.slow_features.features import SlowFeatures
from astseg.model.slow_features.projection import PAIRS
from astseg.training.batches import Batch
from astseg.training.config import Recipe
from astseg.training.frozen_backgrounds import PAINTING_BATCH_SIZE
from astseg.training.phases import Phase, phases
from astseg.training.residuals import images_at_once

PROCESS_BYTES = 0.45e9
"""What Python and the libraries take on a CPU before any image is read, including what the first step loads."""
OVERHEAD_SHARE, MAX_OVERHEAD_BYTES = 0.3, 0.25e9
"""What the allocator and the libraries' buffers add to the live tensors: this share of their bytes, up to a maximum,
since large tensors lie in pages of their own."""
NUM_SAVE_COPIES = 3
"""Copies of the weights while the model is saved: in another order, as bytes, and as the bytes of the file."""


def training_memory(recipe: Recipe, images: int | None = None, parts: int = 1) -> dict[str, float]:
    """Estimate the peak bytes of each part of training, beyond what the process takes anyway.

    Args:
        recipe: what to train; it may be of any size, because nothing is computed.
        images: the number of training images; by default many.
        parts: the number of parts in which each batch goes through the networks.

    Returns:
        The bytes by the phase's name, for "painting" the backgrounds, for fitting slow "features", and for "saving".
    """
    with torch.device("meta"):
        model = AstSeg(recipe.architecture, recipe.label_rule)
    needed: dict[str, float] = {}
    for phase in phases(recipe):
        needed[phase.name] = _step_bytes(model, phase, parts)
        trained = _trained_bytes(model, phase)
        saving = _bytes(model.state_dict().values()) * (1 + NUM_SAVE_COPIES) + 3 * trained
        needed["saving"] = max(needed.get("saving", 0.0), saving)
    if any(phase.needs_backgrounds for phase in phases(recipe)):
        needed["painting"] = _painting_bytes(model, min(images or PAINTING_BATCH_SIZE, PAINTING_BATCH_SIZE))
    if model.slow_features is not None and any(phase.trains_objects for phase in phases(recipe)):
        needed["features"] = _fitting_bytes(model.slow_features, model.image_size)
    if recipe.background.automatic_complexity and recipe.architecture.background_network == "simple":
        wide = replace(recipe.architecture, background_network="complex")
        settled = replace(recipe.background, automatic_complexity=False)
        larger = training_memory(replace(recipe, architecture=wide, background=settled), images, parts)
        needed = {name: max(value, larger[name]) for name, value in needed.items()}
    return needed


def check_batches(recipe: Recipe, device: torch.device, parts: int = 1) -> None:
    """Refuse batches whose images alone take more memory than a device has; it takes no time, unlike an estimate.

    Args:
        recipe: what to train.
        device: where to train.
        parts: in how many parts each batch goes through the networks.

    Raises:
        MemoryShortageError: the device has less.
    """
    size = recipe.architecture.image_size
    largest = max(phase.settings.batch_size for phase in phases(recipe))
    needed = math.ceil(largest / (parts * processes.count())) * 3 * math.prod(size) * torch.float32.itemsize
    total = machine_memory(device).total
    if needed > total:
        where = "the GPU" if device.type == "cuda" else "this machine"
        raise MemoryShortageError(
            f"A batch of {largest} images at {format_value(size)} takes about {needed / 1e9:.0f} GB of memory, and "
            f"{where} has {total / 1e9:.0f} GB. Smaller batches take less, and so do batches in parts."
        )


def _step_bytes(model: AstSeg, phase: Phase, parts: int) -> float:
    """Return what a step of a phase takes at its peak: weights, optimizer, gradients and the tensors in between."""
    phase.start(model)
    images = torch.empty(math.ceil(phase.settings.batch_size / parts), 3, *model.image_size, device="meta")
    last = phase.settings.steps - 1 - phase.offset  # of the whole schedule, when objects cast shadows
    trained = _trained_bytes(model, phase)
    with LiveBytes(model) as live:
        backgrounds = torch.empty_like(images) if phase.needs_backgrounds else None
        residuals = None
        if model.slow_features is not None and phase.trains_objects:
            directions = model.slow_features.layout.directions
            residuals = torch.empty(len(images), directions, *model.grid, device="meta")
        losses = phase.losses(model, Batch(images, backgrounds, residuals), phase.schedule(last))
        forward = live.peak
        losses.total.backward()  # type: ignore[no-untyped-call]
    model.zero_grad()
    # In the forward pass, the gradients of the last step are still there. The backward pass allocates new ones; with
    # several parts, those of earlier parts are there as well.
    peak = max(_with_overhead(forward) + trained, _with_overhead(live.peak) + (trained if parts > 1 else 0))
    return _bytes(model.state_dict().values()) + 2 * trained + peak


@torch.no_grad()
def _painting_bytes(model: AstSeg, count: int) -> float:
    """Return what painting a batch of backgrounds takes."""
    assert model.background is not None
    with LiveBytes(model) as live:
        model.background(torch.empty(count, 3, *model.image_size, device="meta"))
    return _bytes(model.state_dict().values()) + _with_overhead(live.peak)


@torch.no_grad()
def _fitting_bytes(features: SlowFeatures, size: tuple[int, int]) -> float:
    """Return what fitting the projection takes: its cells' responses, and those of a batch or the copies of the fit."""
    backbone = features.backbone.to("meta")  # its weights were read
    with LiveBytes(backbone) as live:
        backbone(torch.empty(images_at_once(size), 3, *size, device="meta"), size)
    cells = 4 * PAIRS * backbone.channels * torch.float32.itemsize
    return _bytes(backbone.buffers()) + cells + max(_with_overhead(live.peak), cells)


def _with_overhead(live: float) -> float:
    """Return what live tensors take with what the allocator and the libraries' buffers add."""
    return live + min(OVERHEAD_SHARE * live, MAX_OVERHEAD_BYTES)


def _trained_bytes(model: AstSeg, phase: Phase) -> int:
    """Return the bytes of the weights that a phase trains; their gradients take as many."""
    return _bytes(phase.parameters(model))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class LiveBytes(TorchDispatchMode):
    """While active, counts the bytes of all tensors that are alive; ``peak`` is the most at any time.

    Args:
        model: a model whose own tensors are not counted.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._now = self.peak = 0
        own = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
        self._seen: dict[int, object] = {id(storage): storage for storage in own}  # referred to, so that ids stay

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and count its arguments and results."""
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
