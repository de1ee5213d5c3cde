"""The moments that an optimizer keeps of each parameter, read from a checkpoint."""

from typing import Any

import torch
from torch import Tensor

from astseg.model.weights_check import describe_misfit
from astseg.training.muon import Muon, is_matrix


def restore_moments(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Load the moments of an optimizer of the same phase into a fresh one, in the memory format of each parameter.

    A checkpoint may have another memory format, but fused optimizers go through moments in the order of memory. The
    fresh optimizer keeps its settings, which are the recipe's; each step sets the learning rates.

    Raises:
        ValueError: the moments are those of other parameters, or of another optimizer.
        TypeError, KeyError, IndexError, AttributeError: these are no moments of an optimizer.
    """
    own = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, values in saved["state"].items():
        if misfit := describe_misfit(values, _moments_of(parameters[index], optimizer)):
            raise ValueError(f"of parameter {index}, {misfit}")
    optimizer.load_state_dict({**own, "state": saved["state"]})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.ndim:
                values[name] = torch.empty_like(parameter).copy_(value)


def _moments_of(parameter: Tensor, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the names of a parameter's moments, with tensors of their shapes."""
    if isinstance(optimizer, Muon) and is_matrix(parameter):
        return {"momentum": parameter}
    return {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
