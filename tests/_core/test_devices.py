import pytest
import torch
from torch import Tensor

from astseg._core.devices import to_device


def test_what_goes_to_a_gpu_is_locked_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the GPU: such memory needs one."""
    locked, sent, there = torch.arange(3.0), [], torch.zeros(3)

    def send(values: Tensor, device: torch.device, *, non_blocking: bool) -> Tensor:
        sent.append((values, device, non_blocking))
        return there

    monkeypatch.setattr(Tensor, "pin_memory", lambda _: locked)
    monkeypatch.setattr(Tensor, "to", send)
    gpu = torch.device("cuda", 1)
    assert to_device(torch.arange(3.0), gpu) is there
    [(values, device, non_blocking)] = sent
    assert values is locked
    assert device == gpu
    assert non_blocking


def test_nothing_is_copied_where_it_is_already() -> None:
    values = torch.arange(3.0)
    assert to_device(values, torch.device("cpu")) is values
