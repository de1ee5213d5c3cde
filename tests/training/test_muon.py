import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from astseg.training.muon import ITERATIONS, LENGTH, Muon, is_matrix, orthogonalized

SHAPES = [(8, 8), (12, 40), (40, 12), (96, 768)]


def by_products(matrix: Tensor) -> Tensor:
    """The iteration as Jordan et al. write it, with the matrix itself."""
    found: Tensor = matrix / matrix.norm()
    for _ in range(ITERATIONS):
        gram = found @ found.T
        found = 3.4445 * found + (-4.7750 * gram + 2.0315 * gram @ gram) @ found
    return found


def random_matrix(shape: tuple[int, int], *, smallest: float = 0.05) -> Tensor:
    """A matrix whose singular values fall from 1."""
    left, _, right = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    falling = torch.logspace(0, math.log10(smallest), left.shape[1], dtype=torch.float64)
    matrix: Tensor = left @ falling.diag() @ right
    return matrix


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_polynomial_of_the_gram_matrix_is_that_of_the_matrix(shape: tuple[int, int]) -> None:
    matrix = random_matrix(shape)
    torch.testing.assert_close(orthogonalized(matrix), by_products(matrix), rtol=0, atol=1e-12)
    torch.testing.assert_close(orthogonalized(matrix.float()).double(), by_products(matrix), rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_directions_stay_and_their_lengths_become_alike(shape: tuple[int, int]) -> None:
    matrix = random_matrix(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    along = left.T @ orthogonalized(matrix) @ right.T
    lengths = along.diagonal()
    assert lengths.min() > 0.6
    assert lengths.max() < 1.3
    assert (along - lengths.diag()).abs().max() < 1e-9


def test_small_directions_do_not_blow_up_in_single_precision() -> None:
    matrix = random_matrix((64, 300), smallest=1e-12).float()
    assert torch.linalg.matrix_norm(orthogonalized(matrix), 2) < 1.3


def test_no_number_is_waited_for() -> None:
    assert orthogonalized(torch.empty(9, 8, device="meta")).shape == (9, 8)


def test_nothing_stays_nothing() -> None:
    assert (orthogonalized(torch.zeros(8, 9)) == 0).all()


@pytest.mark.parametrize("scale", [1e-36, 1e-25, 1e-10, 1e10, 1e30])
def test_gradients_of_any_size_are_made_of_one(scale: float) -> None:
    matrix = random_matrix((8, 12)).float()
    torch.testing.assert_close(orthogonalized(scale * matrix), orthogonalized(matrix), rtol=0, atol=1e-4)


def test_what_it_remembers_is_loaded_to_where_the_parameters_are() -> None:
    """As of a run that was begun or saved on another device."""
    model = Small()
    muon = Muon(model.parameters(), 1e-2)
    gradients(model)
    muon.step()
    elsewhere = Muon(deepcopy(model).to("meta").parameters(), 1e-2)
    elsewhere.load_state_dict(muon.state_dict())
    devices = {value.device.type for state in elsewhere.state.values() for value in state.values()}
    assert devices == {"meta"}


class Small(nn.Module):
    """A layer of each kind, in channels_last as the program has them."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16)
        self.upwards, self.linear = nn.ConvTranspose2d(16, 8, 2), nn.Linear(8, 10)
        self.positions = nn.Parameter(torch.rand(10, 2))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        features = self.upwards(self.norm(self.convolution(images)).relu())
        loss: Tensor = (self.linear(features.mean((2, 3))) @ self.positions).square().sum()
        return loss


def gradients(model: nn.Module, scale: float = 1.0) -> None:
    model.zero_grad()
    (scale * model(torch.rand(4, 3, 8, 8))).backward()


def test_all_but_matrices_move_as_by_adam() -> None:
    by_muon, by_adam = Small(), Small()
    by_adam.load_state_dict(by_muon.state_dict())
    muon = Muon(by_muon.parameters(), 1e-2, (0.9, 0.98), 1e-9)
    adam = torch.optim.Adam(by_adam.parameters(), 1e-2, (0.9, 0.98), eps=1e-9, fused=True)
    others = [not is_matrix(parameter) for parameter in by_muon.parameters()]
    assert True in others
    assert False in others
    for _ in range(3):
        gradients(by_muon)
        for own, other in zip(by_muon.parameters(), by_adam.parameters(), strict=True):
            other.grad = own.grad
        muon.step()
        adam.step()
    pairs = zip(by_muon.parameters(), by_adam.parameters(), strict=True)
    assert [torch.equal(own, other) for own, other in pairs] == others


def test_matrices_take_steps_of_one_length_whatever_the_loss_is_multiplied_by() -> None:
    steps = []
    for scale in (1.0, 1e-4):
        torch.manual_seed(1)
        model = Small()
        before = model.convolution.weight.detach().clone()
        optimizer = Muon(model.parameters(), 1e-2)
        gradients(model, scale)
        optimizer.step()
        steps.append((model.convolution.weight.detach() - before) / 1e-2)
    torch.testing.assert_close(*steps, rtol=1e-3, atol=1e-4)
    assert steps[0].square().mean().sqrt() == pytest.approx(LENGTH, rel=0.25)


def test_momentum_is_a_mean_of_the_gradients_and_a_step_ahead() -> None:
    weight = nn.Parameter(torch.zeros(8, 8))
    first, second = torch.randn(2, 8, 8)
    optimizer = Muon([weight], 1.0)
    for gradient in (first, second):
        weight.grad = gradient
        before = weight.detach().clone()
        optimizer.step()
    mean = 0.95 * 0.05 * first + 0.05 * second
    ahead = 0.95 * mean + 0.05 * second
    torch.testing.assert_close(weight.detach() - before, -LENGTH * 8**0.5 * by_products(ahead), rtol=0, atol=1e-4)


def test_groups_have_their_own_rates_and_what_has_no_gradient_stays() -> None:
    fast, slow, still = (
        nn.Parameter(torch.zeros(8, 8)),
        nn.Parameter(torch.zeros(8, 8)),
        nn.Parameter(torch.zeros(8, 8)),
    )
    fast.grad = slow.grad = torch.randn(8, 8)
    groups: list[dict[str, Any]] = [{"params": [fast, still], "lr": 1.0}, {"params": [slow]}]
    Muon(groups, 0.5).step()
    torch.testing.assert_close(fast.detach(), 2 * slow.detach())
    assert (still == 0).all()


def test_a_saved_optimizer_goes_on_as_if_it_had_never_stopped() -> None:
    model = Small()
    optimizer = Muon(model.parameters(), 1e-2)
    gradients(model)
    optimizer.step()
    other = Small()
    other.load_state_dict(model.state_dict())
    resumed = Muon(other.parameters(), 1e-2)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    for one, by in ((model, optimizer), (other, resumed)):
        torch.manual_seed(2)
        gradients(one)
        by.step()
    assert all(map(torch.equal, model.parameters(), other.parameters()))
