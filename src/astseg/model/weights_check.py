"""Whether tensors that were read are the weights of a model, which need not be built yet."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from astseg._core.tensors import FLOATING_TYPES, is_plain
from astseg._core.text import first_names
from astseg.model.architecture import Architecture


def describe_misfit(found: Mapping[str, Any], expected: Mapping[str, Tensor]) -> str:
    """Tell how tensors differ from the weights of a model, as the end of a sentence; return "" if they fit.

    Weights of any floating-point type fit each other; integers have to be of the model's own type.

    Args:
        found: what was read, by its name.
        expected: what the model has, on any device: "meta" will do.

    >>> model = {"a": torch.zeros(3), "steps": torch.tensor(0)}
    >>> describe_misfit({"a": torch.zeros(3).half(), "steps": torch.tensor(7)}, model)
    ''
    >>> describe_misfit({"a": torch.zeros(2), "steps": torch.tensor(7.0), "b": torch.zeros(1)}, model)
    '0 missing, 1 not expected (b), 1 of another shape (a), 1 of another type (steps)'
    """
    both = sorted(found.keys() & expected.keys())
    tensors = [name for name in both if isinstance(found[name], Tensor)]
    lists = {
        "missing": sorted(expected.keys() - found.keys()),
        "not expected": sorted(map(str, found.keys() - expected.keys())),
        "of another shape": [name for name in tensors if found[name].shape != expected[name].shape],
        "of another type": [name for name in both if not _suits(found[name], expected[name])],
    }
    described = (
        f"{len(names)} {what}" + (f" ({first_names(names)})" if names else "") for what, names in lists.items()
    )
    return ", ".join(described) if any(lists.values()) else ""


def shapes_of(build: Callable[[Architecture], nn.Module], architecture: Architecture) -> dict[str, Tensor]:
    """Return the weights of a model without their values, on the device "meta", where no size takes memory.

    Networks of the user's own need not know that device. Theirs are built where others are.
    """
    with torch.device(torch.get_default_device() if architecture.has_own_networks else "meta"):
        return build(architecture).state_dict()


def _suits(value: object, expected: Tensor) -> bool:
    """Tell whether a value is a tensor of a type that can stand for that of a weight."""
    if not is_plain(value):
        return False
    return value.dtype == expected.dtype or (expected.is_floating_point() and value.dtype in FLOATING_TYPES)
