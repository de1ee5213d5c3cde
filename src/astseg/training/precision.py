"""In which precision the large networks are trained: float32, or fewer bits where the machine computes that faster.

Weights, gradients and the optimizer stay in float32. With bfloat16 so does what ``model.single_precision`` says;
``tf32`` concerns all products alike.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from astseg._core.errors import AstSegError
from astseg.model.architecture import Architecture

Precision: TypeAlias = Literal["fp32", "tf32", "bf16"]
"""``tf32``: products on NVIDIA GPUs use ten bits of each factor in place of 23. Convolutions do so there anyway."""
PrecisionRequest: TypeAlias = Literal["auto", "fp32", "tf32", "bf16"]
"""``auto``: bf16 for SegFormer and the U-net of Table 8 on a CPU that computes products clearly faster in it."""

PROBE_SIDE, PROBE_ROUNDS = 512, 5
WORTHWHILE = 1.5
"""The least speedup of a product in bfloat16. It is 2 or more on processors with units for it, and about 0.5 on
others."""


def precision_context(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which a loss is computed."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Compute products of float32, those of gradients too, as a precision says."""
    before = torch.get_float32_matmul_precision()
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def parse_precision(name: str) -> PrecisionRequest:
    """Parse the name of a precision, or ``auto``.

    Raises:
        AstSegError: it is none.
    """
    for request in get_args(PrecisionRequest):
        if name == request:
            return request  # type: ignore[no-any-return]
    raise AstSegError(f"The precision should be one of {', '.join(get_args(PrecisionRequest))}, not '{name}'.")


def choose_precision(request: PrecisionRequest, architecture: Architecture, device: torch.device) -> Precision:
    """Return the precision to train in. ``auto`` takes a tenth of a second to find out.

    Raises:
        AstSegError: the device does not know it.
    """
    if request == "tf32" and device.type != "cuda":
        raise AstSegError("The precision tf32 is for NVIDIA GPUs. Take fp32 or bf16 on other devices.")
    if request != "auto":
        return request
    large = architecture.feature_network.startswith("segformer") or architecture.feature_network == "unet"
    return "bf16" if large and device.type == "cpu" and has_fast_bfloat16() else "fp32"


def has_fast_bfloat16() -> bool:
    """Tell by a short measurement whether the processor computes products clearly faster in bfloat16.

    The time of the process is measured, so that other programs hardly influence it.
    """
    factors = [torch.ones(PROBE_SIDE, PROBE_SIDE, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    times = [[_product_seconds(factor) for factor in factors] for _ in range(PROBE_ROUNDS)]
    single, half = (min(column) for column in zip(*times, strict=True))
    return bool(single > WORTHWHILE * half)


def _product_seconds(factor: Tensor) -> float:
    started = time.process_time()
    factor @ factor
    return time.process_time() - started
