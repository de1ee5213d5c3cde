"""The states of random generators, with GPUs that a stand-in plays."""

from types import SimpleNamespace

import pytest
import torch

from astseg.training.random_states import check_random_states, random_states, restore_random_states


class Gpus(SimpleNamespace):
    """Plays torch's module of a kind of GPU."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.generators = [torch.Generator().manual_seed(index) for index in range(count)]

    def device_count(self) -> int:
        return len(self.generators)

    def get_rng_state(self, device: int) -> torch.Tensor:
        return self.generators[device].get_state()

    def set_rng_state(self, state: torch.Tensor, device: int) -> None:
        self.generators[device].set_state(state)

    def draw(self) -> list[float]:
        return [torch.rand(1, generator=generator).item() for generator in self.generators]


def install(monkeypatch: pytest.MonkeyPatch, kind: str, gpus: Gpus) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device(kind))
    monkeypatch.setattr(torch, "get_device_module", lambda device: gpus if device.type == kind else None)


def test_the_same_numbers_are_drawn_again() -> None:
    torch.manual_seed(3)
    states = random_states()
    drawn = torch.rand(3)
    restore_random_states(states)
    assert torch.equal(torch.rand(3), drawn)


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_gpus_of_every_kind(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    gpus = Gpus(2)
    install(monkeypatch, kind, gpus)
    states = random_states()
    check_random_states(states)
    drawn = gpus.draw()
    restore_random_states(states)
    assert gpus.draw() == drawn


def test_other_gpus_than_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another number, another kind, or none: those that were there before go on, the others keep their states."""
    install(monkeypatch, "cuda", before := Gpus(2))
    states = random_states()
    drawn = before.draw()
    install(monkeypatch, "cuda", more := Gpus(3))
    expected_of_third = Gpus(3).draw()[2]
    more.draw()
    more.generators[2].manual_seed(2)
    restore_random_states(states)
    assert more.draw() == [*drawn, expected_of_third]

    install(monkeypatch, "cuda", one := Gpus(1))
    restore_random_states(states)
    assert one.draw() == drawn[:1]

    install(monkeypatch, "xpu", other := Gpus(2))
    other.draw()
    second = Gpus(2)
    second.draw()
    restore_random_states(states)
    assert other.draw() == second.draw(), "states of other GPUs are left alone"


@pytest.mark.parametrize("value", [torch.zeros(3), torch.zeros((2, 2), dtype=torch.uint8), b"x"])
def test_impossible_states_of_gpus(value: object) -> None:
    with pytest.raises(ValueError, match="should be bytes"):
        check_random_states({"cpu": torch.get_rng_state(), "xpu": [value]})
