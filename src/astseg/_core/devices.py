"""The device to compute on, by its name, and the way there."""

import torch
from torch import Tensor

from astseg._core.errors import AstSegError


def find_device(device: torch.device | str) -> torch.device:
    """Return a device that is there; ``auto`` is what torch finds: a GPU (cuda, xpu, or mps on a Mac) if there is one.

    Args:
        device: the device, or its name: auto, cpu, cuda, cuda:1, mps or xpu.

    Raises:
        AstSegError: the name is unknown, or there is no such device.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    if device == "auto":
        return found or torch.device("cpu")
    try:
        known = torch.device(device)
        torch.zeros(1, device=known).item()  # of `meta`, nothing can be read
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        there = "there is cpu" if found is None else f"there are {found.type} and cpu"
        raise AstSegError(f"There is no device '{device}' here; {there}. Name one of these, or auto.") from error
    return known


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor in main memory to a device without waiting for what a GPU still computes.

    The copy runs beside the GPU's work only from page-locked memory; from other memory it may wait for all of it.
    """
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
