"""The states of torch's random generators: what a run draws next."""

from typing import Any

import torch
from torch import Tensor


def random_states() -> dict[str, Any]:
    """Return the state of the CPU's generator as ``cpu``, and those of all GPUs by their type, such as ``cuda``."""
    states: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if gpu := torch.accelerator.current_accelerator(check_available=True):
        module = torch.get_device_module(gpu)
        states[gpu.type] = [module.get_rng_state(index) for index in range(module.device_count())]
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore torch's random generators. GPUs that were not there before keep their states."""
    torch.set_rng_state(states["cpu"])
    if gpu := torch.accelerator.current_accelerator(check_available=True):
        module = torch.get_device_module(gpu)
        for index, state in enumerate(states.get(gpu.type, [])[: module.device_count()]):
            module.set_rng_state(state, index)


def check_random_states(states: dict[str, Any]) -> None:
    """Raise unless these are possible states of random generators.

    Raises:
        ValueError: they are not.
    """
    values = [states["cpu"], *(state for kind in states.keys() - {"cpu"} for state in states[kind])]
    if not all(isinstance(state, Tensor) and state.dtype == torch.uint8 and state.ndim == 1 for state in values):
        raise ValueError("the states of the random generators should be bytes")
